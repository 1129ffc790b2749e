"""Who may do what, through the running gateway, asked by the vendors' own clients."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import httpx2
import openai
import pytest

from e2e.traffic import running, settled
from gateways import GatewayProcess
from sallyport.audit.events import EventKind
from sallyport.lab.record import SeenRequest
from sallyport.lab.server import Lab

POLICY = """
version: 1
identity: {unknown: anonymous}
masking: {unlisted: allow}
access:
  attachments: {allow: [image/*, application/x-prompt-reference]}
  models: {forbid: ["acl-secret*", "acl-vault"]}
  tools:
    hosted: {allow: ["web_search*"]}
    mcp_servers: {allow: ["*.example.com"]}
  parameters:
    max_output_tokens: {max: 64, action: cap}
    store: {allow: [false], set: false}
    temperature: {max: 1}
  data_classes:
    - {name: contact, any: [{kind: pii, entities: [EMAIL_ADDRESS]}]}
  residency:
    rules: [{data_classes: [contact], regions: [eu]}]
"""

GUARDED = """
version: 1
identity: {unknown: anonymous}
access:
  purpose: {header: X-AI-Purpose, allow: [research, support]}
  default: deny
  rules:
    - {id: research, effect: permit, purposes: [research], models: ["acl-*"], message: m}
    - {id: no_shell, effect: forbid, tools: [shell], message: "The tool shell is not for this purpose."}
"""


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("access"), lab, policy=POLICY) as process:
        yield process


@pytest.fixture(scope="module")
def guarded(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("guarded"), lab, policy=GUARDED) as process:
        yield process


def through(gateway: GatewayProcess) -> httpx.Client:
    return httpx.Client(proxy=f"http://127.0.0.1:{gateway.port}", verify=trust(gateway))


def trust(gateway: GatewayProcess) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(gateway.confdir / "ca-cert.pem"))


def gpt(gateway: GatewayProcess, host: str = "api.openai.com", **headers: str) -> openai.OpenAI:
    return openai.OpenAI(
        api_key="sk-test",
        base_url=f"https://{host}/v1",
        http_client=through(gateway),
        default_headers=headers,
    )


def claude(gateway: GatewayProcess) -> anthropic.Anthropic:
    client = httpx2.Client(proxy=f"http://127.0.0.1:{gateway.port}", verify=trust(gateway))
    return anthropic.Anthropic(api_key="test", http_client=client)


def seen(lab: Lab, model: str) -> list[SeenRequest]:
    return [r for r in lab.requests if model.encode() in r.decoded]


def user(text: str = "hello") -> list:
    return [{"role": "user", "content": text}]


def refused(error: pytest.ExceptionInfo[openai.APIStatusError]) -> str:
    assert error.value.status_code == 403
    return str(error.value.code)


@pytest.mark.parametrize(
    "model",
    [
        *(
            "acl-secret-one",
            "ACL-Secret-two",
            "ft:acl-secret-one:acme::x",
            "acl-vault-0613",
            "m/acl-vault:a-b",
        ),
        *("acl-vault:free:online", "m/acl-vault@preset/x"),
    ],
)
def test_a_forbidden_model_is_refused_under_every_name(gateway: GatewayProcess, lab: Lab, model: str) -> None:
    with pytest.raises(openai.PermissionDeniedError) as error:
        gpt(gateway).chat.completions.create(model=model, messages=user())
    assert refused(error) == "access.model"
    assert model not in str(error.value)
    with pytest.raises(anthropic.PermissionDeniedError):
        claude(gateway).messages.create(model=model, max_tokens=5, messages=user())
    assert seen(lab, model) == []


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"model": "acl-open", "tools": [{"type": "web_search", "model": "acl-secret-one"}]}, "access.model"),
        ({"prompt": {"id": "pmpt_1"}}, "access.model"),
        ({"model": "acl-open:online"}, "access.hosted_tool"),
        ({"model": "acl-open", "tools": [{"google_search": {}}]}, "access.hosted_tool"),
    ],
    ids=["behind_a_tool", "in_a_stored_prompt", "search_by_name", "tool_without_a_type"],
)
def test_a_model_or_a_tool_that_hides_is_refused(
    gateway: GatewayProcess, lab: Lab, more: dict, code: str
) -> None:
    answer = through(gateway).post(
        "https://api.openai.com/v1/responses",
        json={"input": "acl-hidden", **more},
        headers={"authorization": "Bearer sk-test"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, code)
    assert seen(lab, "acl-hidden") == []


def test_a_hosted_tool_that_is_not_allowed_is_refused(gateway: GatewayProcess, lab: Lab) -> None:
    with pytest.raises(openai.PermissionDeniedError) as error:
        gpt(gateway).responses.create(
            model="acl-hosted",
            input="hi",
            tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
        )
    assert refused(error) == "access.hosted_tool"
    with pytest.raises(anthropic.PermissionDeniedError):
        claude(gateway).messages.create(
            model="acl-hosted",
            max_tokens=5,
            messages=user(),
            tools=[{"type": "code_execution_20250825", "name": "code_execution"}],
        )
    assert seen(lab, "acl-hosted") == []
    tools = [{"type": "web_search_preview"}]
    assert gpt(gateway).responses.create(model="acl-search", input="hi", tools=tools).output_text  # type: ignore[arg-type]


def test_a_tool_of_an_unknown_type_cannot_pass_for_a_function(gateway: GatewayProcess, lab: Lab) -> None:
    with pytest.raises(openai.PermissionDeniedError) as error:
        gpt(gateway).responses.create(
            model="acl-unheard",
            input="hi",
            tools=[{"type": "tomorrows_tool", "name": "web_search", "parameters": {}}],  # type: ignore[list-item]
        )
    assert refused(error) == "access.hosted_tool"
    assert seen(lab, "acl-unheard") == []


@pytest.mark.parametrize("url", ["https://mcp.example.net/sse", "https://mcp.example.com@mcp.example.net/"])
def test_an_mcp_server_that_is_not_allowed_is_refused(gateway: GatewayProcess, lab: Lab, url: str) -> None:
    with pytest.raises(openai.PermissionDeniedError) as error:
        gpt(gateway).responses.create(
            model="acl-mcp",
            input="hi",
            tools=[{"type": "mcp", "server_label": "docs", "server_url": url, "require_approval": "never"}],
        )
    assert refused(error) == "access.mcp_server"
    assert seen(lab, "acl-mcp") == []


def test_a_setting_is_capped_and_the_other_bytes_are_the_clients(gateway: GatewayProcess, lab: Lab) -> None:
    body = (
        b'{ "model":"acl-capped" ,"messages":[{"role":"user","content":"caf\\u00e9 {\\"max_tokens\\": 9000}"}],'
        b'\n  "max_tokens" : 9000, "store":false,"temperature":1e0}'
    )
    with through(gateway) as client:
        answer = client.post(
            "https://api.openai.com/v1/chat/completions",
            content=body,
            headers={"content-type": "application/json", "authorization": "Bearer sk-test"},
        )
    assert answer.status_code == 200, answer.text
    (request,) = seen(lab, "acl-capped")
    assert request.body == body.replace(b'"max_tokens" : 9000', b'"max_tokens" : 64')
    assert request.header("content-length") == str(len(request.body))


def test_every_spelling_of_a_setting_is_capped_and_a_streamed_call_as_well(
    gateway: GatewayProcess, lab: Lab
) -> None:
    stream = gpt(gateway).chat.completions.create(
        model="acl-both", messages=user(), max_tokens=500, max_completion_tokens=900, stream=True
    )
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    answered = claude(gateway).messages.create(model="acl-claude", max_tokens=5000, messages=user())
    assert answered.content
    both, other = seen(lab, "acl-both")[0].json(), seen(lab, "acl-claude")[0].json()
    assert isinstance(both, dict)
    assert (both["max_tokens"], both["max_completion_tokens"], both["store"]) == (64, 64, False)
    assert isinstance(other, dict)
    assert other["max_tokens"] == 64
    assert "store" not in other


def test_keeping_at_the_provider_is_refused_and_put_off_where_the_client_says_nothing(
    gateway: GatewayProcess, lab: Lab
) -> None:
    with pytest.raises(openai.PermissionDeniedError) as error:
        gpt(gateway).responses.create(model="acl-store", input="hi", store=True)
    assert refused(error) == "access.parameter.store"
    assert seen(lab, "acl-store") == []
    gpt(gateway).responses.create(model="acl-unsaid", input="hi")
    sent = seen(lab, "acl-unsaid")[0].json()
    assert isinstance(sent, dict)
    assert sent["store"] is False
    with pytest.raises(openai.PermissionDeniedError) as error:
        gpt(gateway).responses.create(model="acl-hot", input="hi", temperature=1.5, store=False)
    assert refused(error) == "access.parameter.temperature"


def test_data_of_a_class_leaves_only_for_its_regions(gateway: GatewayProcess, lab: Lab) -> None:
    mail = "write to marta.quill@example.com"
    with pytest.raises(openai.PermissionDeniedError) as error:
        gpt(gateway).chat.completions.create(model="acl-region", messages=user(mail))
    assert refused(error) == "access.residency"
    assert seen(lab, "acl-region") == []
    assert gpt(gateway).chat.completions.create(model="acl-plain", messages=user()).choices


def test_a_call_for_the_host_of_its_region_passes(lab: Lab, tmp_path: Path) -> None:
    with running(tmp_path, lab, policy=POLICY, to={"eu.api.openai.com": lab.port}) as gateway:
        client = gpt(gateway, "eu.api.openai.com")
        assert client.chat.completions.create(
            model="acl-europe", messages=user("write to marta.quill@example.com")
        ).choices
    assert len(seen(lab, "acl-europe")) == 1


def test_a_purpose_is_required_recorded_and_never_sent(guarded: GatewayProcess, lab: Lab) -> None:
    for headers in ({}, {"X-AI-Purpose": "lunch"}):
        with pytest.raises(openai.PermissionDeniedError) as error:
            gpt(guarded, **headers).chat.completions.create(model="acl-aimless", messages=user())
        assert refused(error) == "access.purpose"
    assert seen(lab, "acl-aimless") == []
    client = gpt(guarded, **{"X-AI-Purpose": "research"})
    assert client.chat.completions.create(model="acl-aimed", messages=user()).choices
    (request,) = seen(lab, "acl-aimed")
    assert request.header("x-ai-purpose") is None
    assert b"research" not in request.body
    (admitted,) = [
        e for e in settled(guarded.confdir) if e.model == "acl-aimed" and e.kind is EventKind.ADMITTED
    ]
    assert "access.research:research" in [d.reason for d in admitted.decisions]


def test_a_purpose_given_twice_is_none(guarded: GatewayProcess, lab: Lab) -> None:
    with through(guarded) as client:
        answer = client.post(
            "https://api.openai.com/v1/chat/completions",
            content=json.dumps({"model": "acl-twice", "messages": user()}),
            headers=[
                ("content-type", "application/json"),
                ("authorization", "Bearer sk-test"),
                ("x-ai-purpose", "research"),
                ("X-AI-Purpose", "support"),
            ],
        )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "access.purpose")
    assert seen(lab, "acl-twice") == []


def test_what_no_rule_permits_is_refused_and_a_forbid_wins(guarded: GatewayProcess, lab: Lab) -> None:
    with pytest.raises(openai.PermissionDeniedError) as error:
        gpt(guarded, **{"X-AI-Purpose": "support"}).chat.completions.create(
            model="acl-other", messages=user()
        )
    assert refused(error) == "access.default"
    shell = {
        "type": "function",
        "function": {"name": "shell", "parameters": {"type": "object", "properties": {}}},
    }
    with pytest.raises(openai.PermissionDeniedError) as error:
        gpt(guarded, **{"X-AI-Purpose": "research"}).chat.completions.create(
            model="acl-shell",
            messages=user(),
            tools=[shell],  # type: ignore[list-item]
        )
    assert refused(error) == "access.no_shell"
    assert "not for this purpose" in str(error.value)
    assert seen(lab, "acl-other") == seen(lab, "acl-shell") == []


def test_a_signed_body_whose_setting_had_to_change_is_refused(lab: Lab, tmp_path: Path) -> None:
    host = "bedrock-runtime.eu-central-1.amazonaws.com"
    signature = (
        "AWS4-HMAC-SHA256 Credential=AKID/20261121/eu-central-1/bedrock/aws4_request, "
        f"SignedHeaders=content-type;host;x-amz-date, Signature={'0' * 64}"
    )
    policy = "version: 1\nidentity: {unknown: anonymous}\naccess: {parameters: {max_output_tokens: {max: 64, action: cap}}}"
    with running(tmp_path, lab, policy=policy, to={host: lab.port}) as gateway, through(gateway) as client:
        answers = [
            client.post(
                f"https://{host}/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse",
                content=json.dumps(
                    {
                        "messages": [{"role": "user", "content": [{"text": "acl-signed"}]}],
                        "inferenceConfig": {"maxTokens": tokens},
                    }
                ),
                headers={"content-type": "application/json", "authorization": signature},
            )
            for tokens in (9000, 60)
        ]
    assert answers[0].status_code == 403
    sent = [r.json() for r in seen(lab, "acl-signed")]
    assert [s["inferenceConfig"] for s in sent if isinstance(s, dict)] == [{"maxTokens": 60}]
