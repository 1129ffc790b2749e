"""Declared tools and settings of every dialect, and the law of a change: what it names is set, all else stays."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sallyport.decision import Change
from sallyport.exchange import Operation, Parameter, Tool, ToolKind
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError
from sallyport.wire.jsonset import change
from sallyport.wire.jsontext import parse, untoken
from sallyport.wire.settings import UNREADABLE
from wire.samples import Sample, call, samples

F, H, M = ToolKind.FUNCTION, ToolKind.HOSTED, ToolKind.MCP
HI = [{"role": "user", "content": "hi"}]


def read(
    dialect: str,
    body: dict,
    *,
    provider: str = "openai",
    operation: Operation = Operation.CHAT,
    model: str | None = None,
):
    return DIALECTS[dialect].read_request(json.dumps(body).encode(), Call(provider, operation, model))


DECLARED = [
    ("openai_chat", {"messages": HI, "tools": [{"type": "function", "name": "nice", "function": {"name": "shell"}}]}, [("nice", F, ""), ("shell", F, "")]),
    ("openai_responses", {"input": "hi", "tools": [{"type": "mcp", "server_label": "a", "server_url": "https://mcp.example.com", "connector_id": "connector_x"}]},
     [("a", M, "mcp.example.com"), ("a", M, "connector_x")]),
    ("openai_chat", {"messages": HI, "tools": [{"type": "function", "function": {"name": "f"}}]}, [("f", F, "")]),
    ("openai_chat", {"messages": HI, "tools": [{"type": "custom", "custom": {"name": "g"}}]}, [("g", F, "")]),
    ("openai_chat", {"messages": HI, "functions": [{"name": "old"}]}, [("old", F, "")]),
    ("openai_chat", {"messages": HI, "web_search_options": {}}, [("web_search_options", H, "")]),
    ("openai_chat", {"messages": HI, "search_parameters": {"mode": "on"}}, [("search_parameters", H, "")]),
    ("openai_chat", {"messages": HI, "plugins": [{"id": "web"}]}, [("web", H, "")]),
    ("openai_chat", {"messages": HI, "data_sources": [{"type": "azure_search"}]}, [("azure_search", H, "")]),
    ("openai_chat", {"messages": HI, "tools": [{"type": "browser_of_2031"}]}, [("browser_of_2031", H, "")]),
    ("openai_chat", {"messages": HI, "tools": [{"type": ["web"]}, "web", 7, {}]},
     [("(unreadable)", H, ""), ("(unreadable)", H, ""), ("(unreadable)", H, ""), ("(unreadable)", H, "")]),
    ("openai_chat", {"messages": HI, "tools": [{"google_search": {}}, {"type": "function", "google_search": {}}]},
     [("(unreadable)", H, ""), ("(unreadable)", F, "")]),
    ("openai_chat", {"messages": HI, "model": "openai/gpt-4o:online"}, [("web", H, "")]),
    ("openai_chat", {"messages": HI, "model": "a/b", "models": ["a/b:free", "c/d:Online:nitro"]}, [("web", H, "")]),
    ("openai_chat", {"messages": HI, "model": "groq/compound", "compound_custom": {"tools": {"enabled_tools": ["web_search"]}}},
     [("compound_custom", H, "")]),
    ("openai_chat", {"messages": HI, "tools": {"type": "web_search"}}, [("web_search", H, "")]),
    ("openai_responses", {"input": "hi", "tools": [{"type": "web_search_preview", "name": "harmless"}]},
     [("web_search_preview", H, "")]),
    ("openai_responses", {"input": "hi", "tools": [{"type": "mcp", "server_label": "a", "server_url": "https://MCP.example.com:8443/x?y"}]},
     [("a", M, "mcp.example.com")]),
    ("openai_responses", {"input": "hi", "tools": [{"type": "mcp", "server_label": "a", "connector_id": "connector_Gmail"}]},
     [("a", M, "connector_gmail")]),
    ("openai_responses", {"input": "hi", "tools": [{"type": "mcp", "server_url": "https://good.example.com@evil.example.net/"}]},
     [("(unreadable)", M, "")]),
    ("openai_responses", {"input": "hi", "tools": [{"type": "mcp", "server_label": "a", "server_url": "https://good.example.com\\@evil.example.net/"}]},
     [("a", M, "")]),
    ("openai_responses", {"input": "hi", "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}, {"type": "shell"}]}]},
     [("f", F, ""), ("shell", H, "")]),
    ("openai_responses", {"input": [{"type": "additional_tools", "tools": [{"type": "computer_use_preview"}, {"type": "code_interpreter"}]}]},
     [("computer_use_preview", F, ""), ("code_interpreter", H, "")]),
    ("anthropic_messages", {"messages": HI, "tools": [{"name": "f", "input_schema": {}}, {"type": "custom", "name": "g"}]},
     [("f", F, ""), ("g", F, "")]),
    ("anthropic_messages", {"messages": HI, "tools": [{"type": "web_search_20250305", "name": "web_search"}, {"type": "bash_20250124", "name": "bash"}]},
     [("web_search_20250305", H, ""), ("bash_20250124", F, "")]),
    ("anthropic_messages", {"messages": HI, "mcp_servers": [{"type": "url", "url": "https://mcp.example.com/sse", "name": "a"}],
                            "tools": [{"type": "mcp_toolset", "mcp_server_name": "a"}, {"type": "mcp_toolset", "mcp_server_name": "b"}]},
     [("a", M, "mcp.example.com"), ("a", M, "mcp.example.com"), ("b", M, "")]),
    ("anthropic_messages", {"messages": HI, "container": {"skills": [{"type": "anthropic", "skill_id": "xlsx"}]}}, [("skills", H, "")]),
    ("gemini_generate", {"contents": [], "tools": [{"function_declarations": [{"name": "f"}]}, {"googleSearch": {}, "code_execution": {}}]},
     [("f", F, ""), ("google_search", H, ""), ("code_execution", H, "")]),
    ("gemini_generate", {"contents": [], "tools": [{"mcpServers": [{"name": "a", "streamableHttpTransport": {"url": "https://mcp.example.com/"}}]}]},
     [("a", M, "mcp.example.com")]),
    ("bedrock_converse", {"messages": [], "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}, {"systemTool": {"name": "nova_grounding"}}, {"cachePoint": {}}, {"newTool": {}}]}},
     [("f", F, ""), ("nova_grounding", H, ""), ("newTool", H, "")]),
    ("bedrock_converse", {"messages": [], "additionalModelRequestFields": {"tools": [{"type": "web_search_20250305"}]}},
     [("web_search_20250305", H, "")]),
    ("bedrock_invoke", {"anthropic_version": "bedrock-2023-05-31", "messages": [], "tools": [{"type": "code_execution_20250825"}]},
     [("code_execution_20250825", H, "")]),
    ("cohere_v2", {"messages": HI, "connectors": [{"id": "web-search"}]}, [("web-search", H, "")]),
    ("ollama_chat", {"messages": HI, "tools": [{"type": "function", "function": {"name": "f"}}]}, [("f", F, "")]),
    ("openai_realtime", {"type": "session.update", "session": {"tools": [{"type": "mcp", "server_label": "a", "server_url": "https://mcp.example.com"}]}},
     [("a", M, "mcp.example.com")]),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "body", "tools"), DECLARED)
def test_every_declared_tool_is_told_with_who_runs_it(dialect: str, body: dict, tools: list) -> None:
    assert read(dialect, body).declared == tuple(Tool(*tool) for tool in tools)


PARAMETERS = [
    ("openai_chat", {"messages": HI, "max_tokens": 5, "max_completion_tokens": 6, "temperature": 0.5, "n": 2, "store": True},
     [("max_output_tokens", 5, "/max_tokens"), ("max_output_tokens", 6, "/max_completion_tokens"), ("temperature", 0.5, "/temperature"), ("n", 2, "/n"), ("store", True, "/store")]),
    ("openai_chat", {"messages": HI, "user": "ada", "metadata": {"n": 1}, "service_tier": "flex", "seed": 7, "stop": "x"},
     [("service_tier", "flex", "/service_tier"), ("seed", 7, "/seed")]),
    ("openai_chat", {"messages": HI, "temperature": None, "novel_knob": 3, "Novel": True, "store": "yes", "top_p": [1]},
     [("novel_knob", 3, "/novel_knob"), ("store", "yes", "/store"), ("top_p", UNREADABLE, "/top_p")]),
    ("openai_chat", {"messages": HI, "models": ["a/b", 7, "c"]},
     [("fallback_model", "a/b", "/models/0"), ("fallback_model", "c", "/models/2")]),
    ("openai_chat", {"messages": HI, "thinking": {"type": "enabled", "budget_tokens": 9}, "reasoning": {"max_tokens": 8}},
     [("thinking", "enabled", "/thinking/type"), ("thinking_budget", 9, "/thinking/budget_tokens"), ("thinking_budget", 8, "/reasoning/max_tokens")]),
    ("openai_chat", {"messages": HI, "extra_body": {"google": {"thinking_config": {"thinking_budget": 7}}}},
     [("thinking_budget", 7, "/extra_body/google/thinking_config/thinking_budget")]),
    ("openai_chat", {"messages": HI, "novel": "9", "other": " -1e3 ", "flag": "True", "user": "ada", "note": "9 apples"},
     [("novel", UNREADABLE, "/novel"), ("other", UNREADABLE, "/other"), ("flag", UNREADABLE, "/flag")]),
    ("anthropic_messages", {"messages": HI, "tools": [{"type": "advisor_20260301", "name": "advisor", "model": "big"}, {"name": "f"}]},
     [("fallback_model", "big", "/tools/0/model")]),
    ("openai_chat", {"messages": HI, "tools": [{"type": "openrouter:advisor", "parameters": {"model": "big"}}], "plugins": [{"id": "x", "model": "bigger"}]},
     [("fallback_model", "big", "/tools/0/parameters/model"), ("fallback_model", "bigger", "/plugins/0/model")]),
    ("openai_chat", {"messages": HI, "tools": [{"type": "function", "name": "f", "parameters": {"model": {"type": "string"}}}]}, []),
    ("openai_responses", {"input": "hi", "reasoning": {"effort": "high"}, "background": True, "text": {"verbosity": "low"}},
     [("background", True, "/background"), ("reasoning_effort", "high", "/reasoning/effort"), ("verbosity", "low", "/text/verbosity")]),
    ("anthropic_messages", {"messages": HI, "max_tokens": 9, "thinking": {"type": "enabled", "budget_tokens": 4}, "inference_geo": "us", "fallbacks": [{"model": "m"}]},
     [("max_output_tokens", 9, "/max_tokens"), ("inference_geo", "us", "/inference_geo"), ("thinking", "enabled", "/thinking/type"), ("thinking_budget", 4, "/thinking/budget_tokens"), ("fallback_model", "m", "/fallbacks/0/model")]),
    ("gemini_generate", {"contents": [], "generationConfig": {"maxOutputTokens": "9000", "topP": 1}, "generation_config": {"candidate_count": 2, "thinking_config": {"thinkingBudget": 7}}},
     [("max_output_tokens", 9000, "/generationConfig/maxOutputTokens"), ("top_p", 1, "/generationConfig/topP"), ("n", 2, "/generation_config/candidate_count"), ("thinking_budget", 7, "/generation_config/thinking_config/thinkingBudget")]),
    ("bedrock_converse", {"messages": [], "inferenceConfig": {"maxTokens": 5}, "additionalModelRequestFields": {"top_k": 3, "max_tokens": 6}, "serviceTier": {"type": "priority"}},
     [("max_output_tokens", 5, "/inferenceConfig/maxTokens"), ("top_k", 3, "/additionalModelRequestFields/top_k"), ("max_output_tokens", 6, "/additionalModelRequestFields/max_tokens"), ("service_tier", "priority", "/serviceTier/type")]),
    ("bedrock_invoke", {"prompt": "hi", "max_gen_len": 7, "textGenerationConfig": {"maxTokenCount": 8}},
     [("max_output_tokens", 7, "/max_gen_len"), ("max_output_tokens", 8, "/textGenerationConfig/maxTokenCount")]),
    ("cohere_v2", {"messages": HI, "p": 0.5, "k": 3}, [("top_p", 0.5, "/p"), ("top_k", 3, "/k")]),
    ("ollama_chat", {"messages": HI, "options": {"num_predict": -1, "temperature": 2}, "think": True},
     [("think", True, "/think"), ("max_output_tokens", -1, "/options/num_predict"), ("temperature", 2, "/options/temperature")]),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "body", "parameters"), PARAMETERS)
def test_settings_go_by_one_name_in_every_dialect(dialect: str, body: dict, parameters: list) -> None:
    assert read(dialect, body).parameters == tuple(Parameter(*p) for p in parameters)


@pytest.mark.parametrize(
    ("dialect", "provider", "body", "name", "at"),
    [
        ("openai_chat", "openai", {"messages": HI}, "max_output_tokens", "/max_completion_tokens"),
        ("openai_chat", "groq", {"messages": HI}, "max_output_tokens", "/max_tokens"),
        ("openai_chat", "groq", {"messages": HI}, "store", None),
        ("openai_chat", "openai", {"messages": HI, "store": False}, "store", None),
        ("openai_responses", "openai", {"input": "hi"}, "store", "/store"),
        ("gemini_generate", "gemini", {"contents": []}, "n", "/generationConfig/candidateCount"),
        (
            "gemini_generate",
            "gemini",
            {"contents": [], "generation_config": {}},
            "n",
            "/generation_config/candidate_count",
        ),
        ("bedrock_invoke", "bedrock", {"prompt": "hi"}, "max_output_tokens", None),
    ],
)
def test_what_a_body_leaves_out_has_its_place(
    dialect: str, provider: str, body: dict, name: str, at: str | None
) -> None:
    assert dict(read(dialect, body, provider=provider).unset).get(name) == at


REQUESTS = [s for s in samples("request", every=True) if s.dialect.name != "opaque"]


@pytest.mark.parametrize("sample", REQUESTS, ids=str)
def test_a_change_of_a_cassette_sets_what_it_names_and_nothing_else(sample: Sample) -> None:
    request = sample.dialect.read_request(sample.body, call(sample))
    assert sample.dialect.change(sample.body, []) == sample.body
    places = [p.at for p in request.parameters if p.value != UNREADABLE] + [at for _, at in request.unset]
    for at in places:
        for value in (77, 0.25, True, "low"):
            changed = sample.dialect.change(sample.body, [Change(at, value)])
            assert json.loads(changed) == put(json.loads(sample.body), at, value)
            again = sample.dialect.change(changed, [Change(at, value)])
            assert again == changed


def put(payload, at: str, value):
    """Set a value in parsed JSON: the law written a second time, without bytes."""
    *path, last = [untoken(part) for part in at.split("/")[1:]]
    here = payload
    for part in path:
        if isinstance(here, dict) and here.get(part) is None:
            here[part] = {}  # null is how SDKs write that a member is missing
        here = here[int(part)] if isinstance(here, list) else here[part]
    here[int(last) if isinstance(here, list) else last] = value
    return payload


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (b'{"reasoning": null, "a": 1}', b'{"reasoning": {"effort":"low"}, "a": 1}'),
        (b'{"reasoning": {"effort": null}}', b'{"reasoning": {"effort": "low"}}'),
        (b'{"reasoning" :\tnull}', b'{"reasoning" :\t{"effort":"low"}}'),
    ],
    ids=["object", "value", "white space"],
)
def test_a_setting_is_put_where_null_stands(body: bytes, changed: bytes) -> None:
    assert change(body, [Change("/reasoning/effort", "low")]) == changed


NAMES = st.sampled_from(("a", "b/c", "d~e", "ä", 'q"', ""))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
BODIES = st.dictionaries(
    NAMES, SCALARS | st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=2), max_size=3), max_size=4
)
POINTERS = st.lists(NAMES, min_size=1, max_size=3).map(
    lambda path: "".join(f"/{p.replace('~', '~0').replace('/', '~1')}" for p in path)
)


@given(
    BODIES,
    POINTERS,
    SCALARS.filter(lambda v: v is not None),
    st.sampled_from((None, 1)),
    st.booleans(),
    st.sampled_from((b"", b"\xef\xbb\xbf")),
)
def test_any_member_of_an_object_can_be_set(
    body: dict, at: str, value, indent: int | None, plain: bool, mark: bytes
) -> None:
    raw = mark + json.dumps(body, indent=indent, ensure_ascii=plain).encode()
    try:
        parse(raw)
    except WireError:
        assume(False)
    refused = None
    try:
        changed = change(raw, [Change(at, value)])
    except WireError as error:
        refused = error.reason
    if refused is not None:
        assert refused in ("change.pointer", "change.not_scalar")
        return
    assert parse(changed) == put(body, at, value)
    # The bytes before and behind the one place are those that came.
    start = next(
        (n for n, (a, b) in enumerate(zip(raw, changed, strict=False)) if a != b), min(len(raw), len(changed))
    )
    tail = next(
        (n for n, (a, b) in enumerate(zip(raw[::-1], changed[::-1], strict=False)) if a != b), len(raw)
    )
    assert len(changed) - start - tail <= len(json.dumps(value, ensure_ascii=True)) + 8 * len(at) + 16


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        (b'{"a": {}}', [Change("/a", 1)], "change.not_scalar"),
        (b'{"a": [1]}', [Change("/a/b", 1)], "change.pointer"),
        (b'{"a": "x"}', [Change("/a/b", 1)], "change.pointer"),
        (b"[1]", [Change("/0", 1)], "change.pointer"),
        (b"{}", [Change("a", 1)], "change.pointer"),
        (b"{}", [Change("/a", 1), Change("/a", 2)], "change.twice"),
        (b"{}", [Change("/a", float("inf"))], "change.value"),
        (b'{"a": 1, "a": 2}', [Change("/a", 1)], "json.duplicate_key"),
    ],
)
def test_what_cannot_be_set_is_refused(body: bytes, changes: list[Change], reason: str) -> None:
    with pytest.raises(WireError) as refused:
        change(body, changes)
    assert refused.value.reason == reason


def test_lines_of_a_batch_and_fields_of_a_form_are_settings_too() -> None:
    line = {
        "custom_id": "a",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": HI, "store": True, "tools": [{"type": "web_search"}]},
    }
    body = b"\n".join(json.dumps({**line, "custom_id": f"c{n}"}).encode() for n in range(2)) + b"\n"
    request = DIALECTS["openai_batch"].read_request(body, Call("openai", Operation.BATCH))
    assert [(p.name, p.at) for p in request.parameters] == [
        ("store", "/0/body/store"),
        ("store", "/1/body/store"),
    ]
    assert request.declared == (Tool("web_search", H),)
    changed = DIALECTS["openai_batch"].change(body, [Change("/1/body/store", False)])
    assert changed == body[: body.rindex(b"true")] + b"false" + body[body.rindex(b"true") + 4 :]

    form = b'--x\r\nContent-Disposition: form-data; name="temperature"\r\n\r\n0.9\r\n--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n--x--\r\n'
    asked = Call("openai", Operation.CHAT, content_type="multipart/form-data; boundary=x")
    dialect = DIALECTS["openai_form"]
    assert dialect.read_request(form, asked).parameters == (
        Parameter("temperature", 0.9, "/0/content"),
        Parameter("stream", True, "/1/content"),
    )
    assert dialect.change(form, [Change("/0/content", 0.5)]) == form.replace(b"0.9", b"0.5")


def test_an_opaque_body_takes_no_change() -> None:
    with pytest.raises(WireError):
        DIALECTS["opaque"].change(b"x", [Change("/a", 1)])
