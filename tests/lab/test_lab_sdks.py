"""The official SDKs, unmodified, against the stand-ins."""

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from sallyport.lab import Lab

MAIL = "Write to marta.quill@example.com about Übergröße 🚚, please."
PARAMETERS = {"type": "object", "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}}}


@pytest.fixture
def gpt(reachable: Lab) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-lab", max_retries=0, timeout=20)


@pytest.fixture
def claude(reachable: Lab) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="sk-ant-lab", max_retries=0, timeout=20)


@pytest.fixture
def gemini(reachable: Lab) -> genai.Client:
    return genai.Client(api_key="AIza-lab")


def ask(text: str) -> list:  # type: ignore[type-arg]
    return [{"role": "user", "content": text}]


# OpenAI


def test_openai_chat_repeats_what_it_saw(gpt: openai.OpenAI, lab: Lab) -> None:
    answer = gpt.chat.completions.create(model="gpt-lab", messages=ask(MAIL))
    assert answer.choices[0].message.content == f"You wrote: {MAIL}"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens > 10
    seen = lab.requests[-1]
    assert (seen.sni, seen.host, seen.method, seen.path) == (
        "api.openai.com",
        "api.openai.com",
        "POST",
        "/v1/chat/completions",
    )
    assert MAIL in seen.text
    assert seen.header("Authorization") == "Bearer sk-lab"


@pytest.mark.parametrize("model", ["gpt-lab", "gpt-lab-ragged", "gpt-lab-gzip", "gpt-lab-ragged-gzip"])
def test_openai_chat_streams_in_small_pieces(gpt: openai.OpenAI, model: str) -> None:
    chunks = list(
        gpt.chat.completions.create(
            model=model, messages=ask(MAIL), stream=True, stream_options={"include_usage": True}
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == f"You wrote: {MAIL}"
    assert max(map(len, pieces)) <= 7
    assert chunks[-1].usage is not None


def test_openai_chat_streams_tool_arguments_in_pieces_and_reads_the_result(gpt: openai.OpenAI) -> None:
    tools: list = [{"type": "function", "function": {"name": "look_up", "parameters": PARAMETERS}}]  # type: ignore[type-arg]
    with gpt.chat.completions.stream(model="gpt-lab", messages=ask(MAIL), tools=tools) as stream:
        pieces = [
            event.arguments_delta for event in stream if event.type == "tool_calls.function.arguments.delta"
        ]
        message = stream.get_final_completion().choices[0].message
    assert len(pieces) > 5
    call = message.tool_calls[0]  # type: ignore[index]
    assert call.function.name == "look_up"
    assert MAIL in call.function.arguments
    whole = gpt.chat.completions.create(model="gpt-lab", messages=ask(MAIL), tools=tools)
    assert whole.choices[0].finish_reason == "tool_calls"
    turns = [*ask(MAIL), whole.choices[0].message.model_dump(exclude_none=True)]
    turns.append({"role": "tool", "tool_call_id": call.id, "content": "left the hub"})
    last = gpt.chat.completions.create(model="gpt-lab", messages=turns, tools=tools)
    assert last.choices[0].message.content == "The tool said: left the hub"


def test_openai_responses_whole_and_streamed_are_the_same(gpt: openai.OpenAI) -> None:
    whole = gpt.responses.create(model="gpt-lab-think", input=MAIL, instructions="Be brief.")
    assert whole.output_text == f"You wrote: {MAIL}"
    with gpt.responses.stream(model="gpt-lab-think", input=ask(MAIL), instructions="Be brief.") as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(pieces) == final.output_text == whole.output_text
    assert [item.type for item in final.output] == ["reasoning", "message"]


def test_openai_responses_call_a_tool_and_read_its_result(gpt: openai.OpenAI) -> None:
    tools: list = [{"type": "function", "name": "look_up", "parameters": PARAMETERS, "strict": False}]  # type: ignore[type-arg]
    with gpt.responses.stream(model="gpt-lab", input=MAIL, tools=tools) as stream:
        assert sum(event.type == "response.function_call_arguments.delta" for event in stream) > 5
        call = stream.get_final_response().output[0]
    assert call.type == "function_call"
    assert MAIL in call.arguments
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "left the hub"}
    turns: list = [*ask(MAIL), call.model_dump(exclude={"parsed_arguments"}), output]  # type: ignore[type-arg]
    assert (
        gpt.responses.create(model="gpt-lab", input=turns, tools=tools).output_text
        == "The tool said: left the hub"
    )


def test_openai_embeddings_completions_and_models(gpt: openai.OpenAI) -> None:
    vectors = gpt.embeddings.create(model="text-embedding-lab", input=["a", "b", "a"]).data
    assert vectors[0].embedding == vectors[2].embedding != vectors[1].embedding
    assert gpt.embeddings.create(model="e", input="a", encoding_format="float").data[0].embedding
    assert gpt.completions.create(model="gpt-lab", prompt=MAIL).choices[0].text == f"You wrote: {MAIL}"
    streamed = gpt.completions.create(model="gpt-lab", prompt=MAIL, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == f"You wrote: {MAIL}"
    assert "gpt-lab" in [model.id for model in gpt.models.list()]
    assert gpt.models.retrieve("gpt-lab").id == "gpt-lab"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (529, openai.InternalServerError),
    ],
)
def test_openai_errors_on_demand(gpt: openai.OpenAI, status: int, error: type[openai.APIStatusError]) -> None:
    with pytest.raises(error) as caught:
        gpt.chat.completions.create(model=f"gpt-error-{status}", messages=ask("x"), stream=True)
    assert caught.value.status_code == status
    assert caught.value.type


def test_openai_refuses_an_invalid_key(reachable: Lab) -> None:
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(api_key="invalid", max_retries=0).models.list()


def test_azure_paths_take_the_deployment_as_the_model(reachable: Lab) -> None:
    azure = openai.AzureOpenAI(
        api_key="azure-lab",
        azure_endpoint="https://lab.openai.azure.com",
        api_version="2026-01-01",
        max_retries=0,
    )
    assert azure.chat.completions.create(model="my-gpt", messages=ask("hi")).model == "my-gpt"
    assert reachable.requests[-1].path.startswith("/openai/deployments/my-gpt/chat/completions?api-version=")
    with pytest.raises(openai.RateLimitError):
        azure.chat.completions.create(model="error-429", messages=ask("hi"))
    assert azure.responses.create(model="my-gpt", input="hi").output_text == "You wrote: hi"


# Anthropic


@pytest.mark.parametrize("model", ["claude-lab", "claude-lab-ragged", "claude-lab-gzip"])
def test_anthropic_whole_and_streamed_are_the_same(claude: anthropic.Anthropic, model: str) -> None:
    whole = claude.messages.create(model=model, max_tokens=100, system="Be brief.", messages=ask(MAIL))
    assert whole.content[0].text == f"You wrote: {MAIL}"  # type: ignore[union-attr]
    with claude.messages.stream(
        model=model, max_tokens=100, system="Be brief.", messages=ask(MAIL)
    ) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == f"You wrote: {MAIL}"
    assert max(map(len, pieces)) <= 7
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.stop_reason == whole.stop_reason == "end_turn"


def test_anthropic_thinks_with_a_signature_that_survives(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model="claude-think", max_tokens=100, messages=ask(MAIL)) as stream:
        block = stream.get_final_message().content[0]
    assert block.type == "thinking"
    assert block.thinking == f"The user wrote: {MAIL}"
    assert block.signature.startswith("SIGNED+")


def test_anthropic_streams_tool_input_in_pieces_and_reads_the_result(claude: anthropic.Anthropic) -> None:
    tools: list = [{"name": "look_up", "input_schema": PARAMETERS}]  # type: ignore[type-arg]
    with claude.messages.stream(
        model="claude-lab", max_tokens=100, messages=ask(MAIL), tools=tools
    ) as stream:
        assert sum(event.type == "input_json" for event in stream) > 5
        call = stream.get_final_message().content[0]
    assert call.type == "tool_use"
    assert call.input == {"query": MAIL}
    result = {
        "type": "tool_result",
        "tool_use_id": call.id,
        "content": [{"type": "text", "text": "left the hub"}],
    }
    turns: list = [  # type: ignore[type-arg]
        *ask(MAIL),
        {"role": "assistant", "content": [call.model_dump(exclude_none=True)]},
        {"role": "user", "content": [result]},
    ]
    last = claude.messages.create(model="claude-lab", max_tokens=100, messages=turns, tools=tools)
    assert last.content[0].text == "The tool said: left the hub"  # type: ignore[union-attr]


def test_anthropic_counts_tokens_and_lists_models(claude: anthropic.Anthropic) -> None:
    assert claude.messages.count_tokens(model="claude-lab", messages=ask(MAIL)).input_tokens > 5
    assert "claude-lab" in [model.id for model in claude.models.list()]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropic_errors_on_demand(claude: anthropic.Anthropic, status: int, kind: str) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        claude.messages.create(model=f"claude-error-{status}", max_tokens=9, messages=ask("x"))
    assert (caught.value.status_code, caught.value.type) == (status, kind)


def test_anthropic_error_in_the_middle_of_a_stream_is_raised(claude: anthropic.Anthropic) -> None:
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        claude.messages.stream(model="claude-stream-error", max_tokens=9, messages=ask(MAIL)) as stream,
    ):
        stream.until_done()
    assert caught.value.type == "overloaded_error"


# Google


@pytest.mark.parametrize("model", ["gemini-lab", "gemini-lab-ragged"])
def test_gemini_whole_and_streamed_are_the_same(gemini: genai.Client, model: str) -> None:
    config = types.GenerateContentConfig(system_instruction="Be brief.")
    whole = gemini.models.generate_content(model=model, contents=MAIL, config=config)
    assert whole.text == f"You wrote: {MAIL}"
    chunks = list(gemini.models.generate_content_stream(model=model, contents=MAIL, config=config))
    assert "".join(chunk.text or "" for chunk in chunks) == f"You wrote: {MAIL}"
    assert len(chunks) > 5
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP  # type: ignore[index]


def test_gemini_calls_a_function_and_reads_its_response(gemini: genai.Client) -> None:
    declaration = types.FunctionDeclaration(
        name="look_up",
        parameters=types.Schema(
            type=types.Type.OBJECT, properties={"query": types.Schema(type=types.Type.STRING)}
        ),
    )
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declaration])])
    answer = gemini.models.generate_content(model="gemini-lab", contents=MAIL, config=config)
    call = answer.function_calls[0]  # type: ignore[index]
    assert (call.name, call.args) == ("look_up", {"query": MAIL})
    turns: list = [  # type: ignore[type-arg]
        types.Content(role="user", parts=[types.Part(text=MAIL)]),
        answer.candidates[0].content,  # type: ignore[index]
        types.Content(
            role="user",
            parts=[types.Part.from_function_response(name="look_up", response={"result": "left the hub"})],
        ),
    ]
    last = gemini.models.generate_content(model="gemini-lab", contents=turns, config=config)
    assert last.text == "The tool said: left the hub"


def test_gemini_counts_embeds_lists_and_thinks(gemini: genai.Client) -> None:
    assert gemini.models.count_tokens(model="gemini-lab", contents=MAIL).total_tokens
    assert gemini.models.embed_content(model="gemini-lab", contents=MAIL).embeddings
    assert "models/gemini-lab" in [model.name for model in gemini.models.list()]
    thought = gemini.models.generate_content(model="gemini-think", contents=MAIL)
    assert thought.candidates[0].content.parts[0].thought  # type: ignore[index, union-attr]
    assert thought.text == f"You wrote: {MAIL}"


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
def test_gemini_errors_on_demand(gemini: genai.Client, status: int) -> None:
    with pytest.raises(genai.errors.APIError) as caught:
        gemini.models.generate_content(model=f"gemini-error-{status}", contents="x")
    assert caught.value.code == status


# All


def test_a_hostile_answer_repeats_placeholders_where_they_must_not_be_restored(gpt: openai.OpenAI) -> None:
    answer = gpt.chat.completions.create(
        model="hostile-restore",
        messages=ask("From <EMAIL_ADDRESS_1f3a> to [PERSON-9c2e] and <EMAIL_ADDRESS_1f3a>"),
    )
    text = answer.choices[0].message.content or ""
    assert "I saw 2 placeholders." in text
    for mark in ("<EMAIL_ADDRESS_1f3a>", "[PERSON-9c2e]"):
        assert f"In plain text: {mark}." in text
        assert f"/image?q={mark})" in text
        assert f"/link/{mark})" in text
        assert f'alt="{mark}"' in text


@pytest.mark.parametrize("model", ["gpt-cut", "gpt-cut-3"])
def test_a_cut_stream_is_a_transport_error(gpt: openai.OpenAI, model: str) -> None:
    seen = []
    with pytest.raises(openai.APIConnectionError) as caught:  # noqa: PT012
        for chunk in gpt.chat.completions.create(model=model, messages=ask(MAIL), stream=True):
            seen.append(chunk)
    assert len(seen) >= 2
    assert caught.value
