"""Settings that the policy puts into requests: beside null, and where the request has no place for them."""

import json
from collections.abc import Iterator

import pytest

from e2e.traffic import CHAT, OPENAI, eventually, model_of, recorded, running
from gateways import OPEN_POLICY, GatewayProcess
from rawclient import Talk, ask, post
from sallyport.audit.events import EventKind
from sallyport.lab.server import Lab

POLICY = """access:
  parameters:
    store: {allow: [false], set: false}
    reasoning_effort: {set: low}
"""


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("settings"), lab, policy=OPEN_POLICY + POLICY) as up:
        yield up


def sent(gateway: GatewayProcess, path: str, **body: object) -> Talk:
    request = post(path, json.dumps(body).encode(), OPENAI)
    return ask(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, request)


def test_null_is_a_setting_that_is_left_out(gateway: GatewayProcess, lab: Lab) -> None:
    talk = sent(gateway, "/v1/responses", model="put-null", input="Hello", reasoning=None, store=None)
    assert talk.status == 200
    (seen,) = [r.json() for r in lab.requests if model_of(r) == "put-null"]
    assert (seen["reasoning"], seen["store"]) == ({"effort": "low"}, False)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/responses", {"input": "Hello", "reasoning": []}),
        (CHAT, {"messages": [{"role": "user", "content": "Hello"}], "Store": True}),
    ],
    ids=["a list in its way", "the name in another case"],
)
def test_a_request_without_a_place_for_a_setting_is_refused_and_told_why(
    gateway: GatewayProcess, lab: Lab, path: str, more: dict[str, object]
) -> None:
    model = f"put-nowhere-{len(path)}"
    talk = sent(gateway, path, model=model, **more)
    assert talk.status == 400
    assert b"The policy sets a setting of this request" in talk.body
    assert not [r for r in lab.requests if model_of(r) == model]

    def is_told() -> bool:
        told = [e for e in recorded(gateway.confdir) if e.model == model]
        return [(e.kind, e.reason) for e in told] == [(EventKind.REFUSED, "access.parameter.no_place")]

    eventually(is_told, 5, "the refusal is recorded")
    assert "raised WireError" not in gateway.log.read_text()
