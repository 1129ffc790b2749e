"""Two tenants behind one gateway, one with a file of its own: what it tightens holds for it, and for it alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.traffic import CHAT, OPENAI, assert_clean, chat, model_of, of_kind, recorded, running, settled
from gateways import GatewayProcess
from rawclient import Talk, post
from rawclient import ask as ask_raw
from sallyport.audit.events import EventKind
from sallyport.lab.server import Lab

POLICY = """
version: 1
mode: enforce
identity:
  header: {name: X-User, tenant_header: X-Tenant, trusted_peers: [127.0.0.0/8]}
tenants: {files: {acme: acme.yaml}}
access: {rules: [{id: no-ft, effect: forbid, when: "request.model.startsWith('ft-')", message: No fine-tunes.}]}
masking: {entities: {URL: allow, EMAIL_ADDRESS: placeholder}}
limits: {rules: [{id: calls, limit: 1000, per: hour}]}
"""
ACME = """
version: 1
access:
  default: deny
  rules:
    - {id: lab-models, effect: permit, when: "request.model.startsWith('tenants-')", message: Lab models only.}
    - {id: fine-tunes, effect: permit, when: "request.model.startsWith('ft-')", message: Ours.}
masking: {entities: {EMAIL_ADDRESS: deny}}
limits: {rules: [{id: few, limit: 2, per: hour, by: []}]}
"""


@pytest.fixture
def gateway(lab: Lab, tmp_path: Path) -> Iterator[GatewayProcess]:
    (tmp_path / "acme.yaml").write_text(ACME)
    with running(tmp_path, lab, policy=POLICY) as up:
        yield up
    assert_clean(up)


def ask(gateway: GatewayProcess, tenant: str, model: str, text: str = "Hello.") -> Talk:
    asked = post(CHAT, chat(model, text), OPENAI, f"X-User: ann\r\nX-Tenant: {tenant}")
    return ask_raw(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, asked)


def reasons(gateway: GatewayProcess, tenant: str) -> list[str]:
    refused = of_kind(settled(gateway.confdir), EventKind.REFUSED)
    return [e.reason for e in sorted(refused, key=lambda e: e.at) if e.tenant == tenant]


def test_each_tenant_gets_its_own_answer(gateway: GatewayProcess, lab: Lab) -> None:
    mail = "Write to ann.example@acme-corp.com please."
    assert ask(gateway, "other", "gpt-whatever").status == 200
    assert ask(gateway, "other", "tenants-mail", mail).status == 200
    assert ask(gateway, "acme", "gpt-whatever").status == 403
    assert ask(gateway, "acme", "ft-mine").status == 403, "its own permit does not undo the company's forbid"
    assert ask(gateway, "acme", "tenants-first").status == 200
    assert ask(gateway, "acme", "tenants-mail", mail).status == 400
    assert ask(gateway, "acme", "tenants-third").status == 200, "what was refused later counts for nothing"
    assert ask(gateway, "acme", "tenants-fourth").status == 429
    assert ask(gateway, "other", "tenants-fifth").status == 200
    assert reasons(gateway, "acme") == [
        "access.default",
        "access.no-ft",
        "masking.denied",
        "limits.acme.few",
    ]
    assert reasons(gateway, "other") == []
    sent = [r.text for r in lab.requests if model_of(r) == "tenants-mail"]
    assert len(sent) == 1
    assert "ann.example@" not in sent[0]
    assert {e.tenant for e in recorded(gateway.confdir) if e.exchange} == {"acme", "other"}
