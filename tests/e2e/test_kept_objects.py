"""What lies at the provider under one credential is of the caller who made it, where the policy asks for that."""

from collections.abc import Iterator

import openai
import pytest

from e2e.traffic import running
from gateways import GatewayProcess
from sallyport.lab.server import Lab

HEADER = "X-User"
POLICY = """version: 1
identity:
  unknown: anonymous
  header: {name: X-User, trusted_peers: [127.0.0.1/32]}
access:
  operations: [chat, file]
  kept: KEPT
  attachments: {allow: [application/x-file-reference, text/plain, application/octet-stream]}
"""


@pytest.fixture(params=["any", "not_others", "own"])
def kept(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def gateway(
    kept: str, lab: Lab, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GatewayProcess]:
    policy = POLICY.replace("KEPT", kept)
    with running(tmp_path_factory.mktemp("kept"), lab, policy=policy) as up:
        for name, value in up.env.items():
            monkeypatch.setenv(name, value)
        yield up


def client(user: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-test-EXAMPLE", max_retries=0, default_headers={HEADER: user})


def test_whoever_has_not_made_it_is_refused_as_the_policy_says(gateway: GatewayProcess, kept: str) -> None:
    ann, bob = client("ann"), client("bob")
    file = ann.files.create(file=("notes.txt", b"The tide turns at nine."), purpose="user_data")
    answer = ann.responses.create(model="lab-gpt", input="Hello")
    assert ann.files.retrieve(file.id).id == file.id
    ann.responses.create(model="lab-gpt", input="Go on", previous_response_id=answer.id)
    part = {"type": "input_file", "file_id": file.id}
    names_it = [{"role": "user", "content": [part]}]
    ann.responses.create(model="lab-gpt", input=names_it)  # type: ignore[arg-type]

    def asked() -> list[str]:
        reasons = []
        for ask in (
            lambda: bob.files.retrieve(file.id),
            lambda: bob.files.content(file.id),
            lambda: bob.files.delete(file.id),
            lambda: bob.responses.create(model="lab-gpt", input="Go on", previous_response_id=answer.id),
            lambda: bob.responses.create(model="lab-gpt", input=names_it),  # type: ignore[arg-type]
        ):
            try:
                ask()
            except openai.PermissionDeniedError as error:
                reasons.append(str(error.code))
            except openai.APIStatusError as error:
                reasons.append(str(error.status_code))
            else:
                reasons.append("")
        return reasons

    if kept == "any":
        assert "access.kept" not in asked()
    else:
        assert asked() == ["access.kept"] * 5
    unknown = [
        lambda: ann.responses.create(model="lab-gpt", input="Hi", previous_response_id="resp_elsewhere")
    ]
    for ask in unknown:
        if kept == "own":
            with pytest.raises(openai.PermissionDeniedError):
                ask()
        else:
            ask()
