"""Gateway keys through the running gateway: exchanged for the real credential, and worth nothing anywhere else."""

import sqlite3
import ssl
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import httpx2
import openai
import pytest

from e2e.identity.keyring import (
    Office,
    Said,
    arrived,
    ask_with,
    bearer,
    everything_in,
    files_of,
    invented,
    private,
    until,
)
from e2e.traffic import (
    ANTHROPIC,
    GEMINI,
    OPENAI,
    Villain,
    chat,
    cut,
    eventually,
    recorded,
    running,
    say,
    settled,
    villain,
)
from gateways import GatewayProcess
from sallyport.audit.events import EventKind
from sallyport.errors import OperatorError
from sallyport.lab.server import Lab

POLICY = """
version: 1
identity:
  unknown: anonymous
  conflicts: strongest
  header: {name: X-User, tenant_header: X-Tenant, trusted_peers: [127.0.0.1/32, "::1/128"]}
"""
PLAIN = "version: 1\nidentity: {unknown: anonymous}\n"


class Bank:
    """A gateway, its operator, and the real credentials it holds."""

    def __init__(self, gateway: GatewayProcess, office: Office, real: dict[str, str], folder: Path) -> None:
        self.gateway, self.office, self.real, self.folder = gateway, office, real, folder
        self.keys: dict[str, str] = {}

    def key(self, name: str, provider: str = "openai", owner: str = "ada", *words: str) -> str:
        """Return a gateway key of its own for a test, made once."""
        if name not in self.keys:
            self.keys[name] = self.issue(provider, owner, "--label", name, *words)[0]
        return self.keys[name]

    def issue(self, provider: str, owner: str, *words: str) -> tuple[str, str]:
        return self.office.issue(provider, owner, "--credential", f"work-{provider}", *words)

    def ask(self, name: str, model: str, *words: str) -> Said:
        """Ask with a fresh key until the gateway knows it."""
        key = self.key(name, "openai", "ada", *words)
        return until(
            lambda: ask_with(self.gateway, model, bearer(key)), lambda said: "key_unknown" not in said.code
        )


@pytest.fixture(scope="module")
def bank(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder = tmp_path_factory.mktemp("keys")
    real = {
        "openai": invented("sk-proj-", 156),
        "anthropic": invented("sk-ant-api03-", 93, "AA"),
        "gemini": invented("AIza", 35),
    }
    env = {"REAL_ANTHROPIC": real["anthropic"]}
    with running(folder, lab, policy=POLICY, env=env) as gateway:
        office = Office(gateway.confdir)
        file = private(folder / "openai.key", real["openai"] + "\n")
        office.run("credentials", "add", "work-openai", "--provider", "openai", "--from-file", str(file))
        office.run(
            "credentials", "add", "work-anthropic", "--provider", "anthropic", "--from-env", "REAL_ANTHROPIC"
        )
        sealed = ("credentials", "add", "work-gemini", "--provider", "gemini", "--sealed")
        office.run(*sealed, typed=real["gemini"] + "\n")
        yield Bank(gateway, office, real, folder)


def known_everywhere(bank: Bank) -> None:
    """Wait until the gateway has read every key that was issued."""
    key, _ = bank.issue("openai", "ada")
    until(lambda: ask_with(bank.gateway, "key-probe", bearer(key)), lambda said: said.status == 200)


def trust(gateway: GatewayProcess) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(gateway.confdir / "ca-cert.pem"))


def gpt(bank: Bank, key: str) -> openai.OpenAI:
    through = httpx.Client(proxy=f"http://127.0.0.1:{bank.gateway.port}", verify=trust(bank.gateway))
    return openai.OpenAI(api_key=key, http_client=through, max_retries=0)


def claude(bank: Bank, key: str) -> anthropic.Anthropic:
    through = httpx2.Client(proxy=f"http://127.0.0.1:{bank.gateway.port}", verify=trust(bank.gateway))
    return anthropic.Anthropic(api_key=key, http_client=through, max_retries=0)


USER = [{"role": "user", "content": "hello"}]


# -- the real credential takes its place ---------------------------------------------------------------


def test_the_openai_sdk_speaks_with_a_gateway_key_and_the_provider_sees_the_real_one(
    bank: Bank, lab: Lab
) -> None:
    key = bank.key("sdk-openai")
    known_everywhere(bank)
    answer = gpt(bank, key).chat.completions.create(model="keyo-one", messages=USER)  # type: ignore[arg-type]
    assert answer.choices[0].message.content
    streamed = gpt(bank, key).chat.completions.create(model="keyo-two", messages=USER, stream=True)  # type: ignore[call-overload]
    assert "".join(c.choices[0].delta.content or "" for c in streamed if c.choices)
    for model in ("keyo-one", "keyo-two"):
        (request,) = arrived(lab, model)
        assert request.header("authorization") == f"Bearer {bank.real['openai']}"
        assert key.encode() not in everything_in(request)
    events = [e for e in settled(bank.gateway.confdir) if e.model == "keyo-one"]
    assert {(e.principal, e.tenant, e.source, e.confidence) for e in events} == {
        ("ada", "default", "gateway_key", 0.8)
    }
    assert [e.kind for e in events] == [EventKind.ADMITTED, EventKind.COMPLETED]


def test_the_anthropic_sdk_speaks_with_a_gateway_key_and_the_provider_sees_the_real_one(
    bank: Bank, lab: Lab
) -> None:
    key = bank.key("sdk-anthropic", "anthropic", "grace")
    known_everywhere(bank)
    answer = claude(bank, key).messages.create(model="keya-one", max_tokens=5, messages=USER)  # type: ignore[arg-type]
    assert answer.content
    with claude(bank, key).messages.stream(model="keya-two", max_tokens=5, messages=USER) as stream:  # type: ignore[arg-type]
        assert "".join(stream.text_stream)
    for model in ("keya-one", "keya-two"):
        (request,) = arrived(lab, model)
        said = request.header("x-api-key") or (request.header("authorization") or "").removeprefix("Bearer ")
        assert said == bank.real["anthropic"]
        assert key.encode() not in everything_in(request)


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("place", ["header", "query"])
def test_a_gateway_key_is_replaced_where_it_stands(bank: Bank, lab: Lab, place: str, http2: bool) -> None:
    key = bank.key("places", "gemini")
    known_everywhere(bank)
    model = f"keyg-{place}-{'two' if http2 else 'one'}"
    path = f"/v1beta/models/{model}:generateContent" + (f"?key={key}" if place == "query" else "")
    headers = {"x-goog-api-key": key} if place == "header" else {}
    body = b'{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}'
    said = ask_with(bank.gateway, model, headers, host=GEMINI, path=path, http2=http2, body=body)
    assert said.status == 200, said.body
    (request,) = arrived(lab, model)
    assert key.encode() not in everything_in(request)
    if place == "header":
        assert request.header("x-goog-api-key") == bank.real["gemini"]
    else:
        assert request.path.endswith(f"?key={bank.real['gemini']}")


def test_a_gateway_key_is_replaced_over_http2_for_openai(bank: Bank, lab: Lab) -> None:
    key = bank.key("any")
    known_everywhere(bank)
    assert ask_with(bank.gateway, "keyh-two", bearer(key), http2=True).status == 200
    (request,) = arrived(lab, "keyh-two")
    assert request.header("authorization") == f"Bearer {bank.real['openai']}"


# -- a gateway key is worth nothing elsewhere ----------------------------------------------------------


def test_a_gateway_key_for_another_provider_is_refused(bank: Bank, lab: Lab) -> None:
    key = bank.key("other-provider", "anthropic")
    known_everywhere(bank)
    assert ask_with(bank.gateway, "keyx-provider", bearer(key)).code == "identity.key_provider"
    assert arrived(lab, "keyx-provider") == []


def test_a_gateway_key_for_another_model_is_refused(bank: Bank, lab: Lab) -> None:
    said = bank.ask("one-model", "keyx-large", "--models", "keyx-small*")
    assert said.code == "identity.key_model"
    assert bank.ask("one-model", "keyx-small-two").status == 200
    assert arrived(lab, "keyx-large") == []


@pytest.mark.parametrize("where", ["models", "fallbacks", "advisor"])
def test_a_gateway_key_is_for_every_model_that_may_answer(bank: Bank, lab: Lab, where: str) -> None:
    scope = ("--models", "keyx-small*")
    assert bank.ask("one-model", "keyx-small-one", *scope).status == 200
    body: dict[str, object] = {
        "models": {"models": ["keyx-small-two", "keyx-behind"]},
        "fallbacks": {"fallbacks": [{"model": "keyx-behind"}]},
        "advisor": {"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "keyx-behind"}]},
    }[where]
    key = bank.key("one-model")
    said = ask_with(bank.gateway, "keyx-small-three", bearer(key), **body)  # type: ignore[arg-type]
    assert said.code == "identity.key_model"
    assert arrived(lab, "keyx-behind") == []


def test_a_credential_whose_hosts_were_changed_in_the_store_goes_to_nobody(bank: Bank, lab: Lab) -> None:
    """Who can write to the database, and has no master key, names his own host."""
    name = "sealed-azure"
    add = ("credentials", "add", name, "--provider", "azure_openai", "--sealed")
    bank.office.run(*add, "--host", "acme.openai.azure.com", typed=invented("", 84))
    key, _ = bank.office.issue("azure_openai", "ada", "--credential", name)
    store = sqlite3.connect(bank.gateway.confdir / "audit.db", timeout=10)
    with store:
        changed = store.execute(
            "UPDATE directory_credentials SET hosts = ? WHERE name = ?", ('["evil.openai.azure.com"]', name)
        )
        assert changed.rowcount == 1
    store.close()
    after = ("credentials", "add", "added-after", "--provider", "azure_openai", "--sealed")
    bank.office.run(
        *after, "--host", "acme.openai.azure.com", typed=invented("", 84)
    )  # so that all are read again
    known_everywhere(bank)
    path = "/openai/v1/chat/completions"
    said = until(
        lambda: ask_with(
            bank.gateway, "keyx-moved", {"api-key": key}, host="evil.openai.azure.com", path=path
        ),
        lambda said: said.code not in ("identity.key_unknown", "identity.key_host"),
        within_s=20,
    )
    bank.office.run("credentials", "remove", name, "--force")
    bank.office.run("credentials", "remove", "added-after")
    assert (said.status, said.code) == (503, "credentials.not_opened")
    assert arrived(lab, "keyx-moved") == []


def test_a_gateway_key_opens_no_endpoint_that_nobody_reads(lab: Lab, tmp_path: Path) -> None:
    """There a provider might make keys of its own for whoever asks with the real one."""
    real = invented("sk-proj-", 156)
    policy = PLAIN + "access: {unknown_endpoint: opaque}\n"
    with running(tmp_path, lab, policy=policy, env={"REAL": real}) as gateway:
        office = Office(gateway.confdir)
        office.run("credentials", "add", "c", "--provider", "openai", "--from-env", "REAL")
        key, _ = office.issue("openai", "ada")
        told, _ = office.issue("openai", "ada", "--operations", "opaque")
        until(lambda: ask_with(gateway, "keyo-chat", bearer(key)), lambda said: said.status == 200)
        path = "/v1/organization/admin_api_keys"
        said = ask_with(gateway, "keyo-admin", bearer(key), path=path)
        assert said.code == "identity.key_operation"
        assert arrived(lab, "keyo-admin") == []
        until(
            lambda: ask_with(gateway, "keyo-told", bearer(told), path=path),
            lambda said: not said.code.startswith("identity."),
        )
        assert arrived(lab, "keyo-told")[-1].header("authorization") == f"Bearer {real}"


def test_a_gateway_key_for_another_operation_is_refused(bank: Bank, lab: Lab) -> None:
    assert (
        bank.ask("only-embedding", "keyx-chat", "--operations", "embedding").code == "identity.key_operation"
    )
    assert arrived(lab, "keyx-chat") == []


def test_a_gateway_key_from_another_network_is_refused(bank: Bank, lab: Lab) -> None:
    said = bank.ask("elsewhere", "keyx-network", "--network", "10.9.0.0/16", "--network", "2001:db8::/32")
    assert said.code == "identity.key_network"
    assert bank.ask("here", "keyx-here", "--network", "127.0.0.0/8").status == 200
    assert arrived(lab, "keyx-network") == []


def test_a_gateway_key_is_refused_after_its_expiry(bank: Bank, lab: Lab) -> None:
    key, _ = bank.issue("openai", "ada", "--expires", "3s")
    assert (
        until(
            lambda: ask_with(bank.gateway, "keyx-before", bearer(key)), lambda s: s.status == 200, 2.5
        ).status
        == 200
    )
    late = until(lambda: ask_with(bank.gateway, "keyx-after", bearer(key)), lambda s: s.status != 200, 8)
    assert late.code == "identity.key_expired"


def test_a_revoked_gateway_key_is_refused(bank: Bank, lab: Lab) -> None:
    key, id = bank.issue("openai", "ada")
    assert (
        until(lambda: ask_with(bank.gateway, "keyx-live", bearer(key)), lambda s: s.status == 200).status
        == 200
    )
    bank.office.run("keys", "revoke", id)
    gone = until(lambda: ask_with(bank.gateway, "keyx-live", bearer(key)), lambda s: s.status != 200)
    assert gone.code == "identity.key_retired"
    with pytest.raises(OperatorError):
        bank.office.run("keys", "unretire", id)


def test_a_gateway_key_from_another_tenant_is_refused_whatever_conflicts_says(bank: Bank, lab: Lab) -> None:
    key = bank.key("any")
    known_everywhere(bank)
    said = ask_with(bank.gateway, "keyx-tenant", {**bearer(key), "x-user": "eve", "x-tenant": "rivals"})
    assert said.code == "identity.key_tenant"
    assert arrived(lab, "keyx-tenant") == []


def test_a_gateway_key_of_another_gateway_is_refused_and_never_sent(
    bank: Bank, lab: Lab, tmp_path: Path
) -> None:
    foreign = Office(tmp_path / "conf")
    foreign.run("credentials", "add", "x", "--provider", "openai", "--from-env", "REAL_ANTHROPIC")
    key, _ = foreign.issue("openai", "ada")
    assert ask_with(bank.gateway, "keyx-foreign", bearer(key)).code == "identity.key_forged"
    assert arrived(lab, "keyx-foreign") == []


@pytest.mark.parametrize("slip", ["letter", "missing", "cut", "lower", "mark"])
def test_a_mistyped_gateway_key_is_refused_and_never_sent(bank: Bank, lab: Lab, slip: str) -> None:
    key = bank.key("any")
    wrong = {
        "letter": key[:90] + ("a" if key[90] != "a" else "b") + key[91:],
        "missing": key[:60] + key[61:],
        "cut": key[:-5],
        "lower": key.lower(),
        "mark": key.replace("sallyport", "salyport"),
    }[slip]
    assert ask_with(bank.gateway, f"keyx-slip-{slip}", bearer(wrong)).code == "identity.key_forged"
    assert arrived(lab, f"keyx-slip-{slip}") == []


def test_a_gateway_key_that_was_never_stored_is_refused(bank: Bank, lab: Lab) -> None:
    from sallyport.state.gatewaykeys import new_gateway_key

    own = new_gateway_key((bank.gateway.confdir / "gateway.key").read_bytes(), "openai")
    assert ask_with(bank.gateway, "keyx-made-up", bearer(own)).code == "identity.key_unknown"
    assert arrived(lab, "keyx-made-up") == []


def test_a_gateway_key_beside_another_credential_is_refused(bank: Bank, lab: Lab) -> None:
    key = bank.key("beside", "anthropic")
    known_everywhere(bank)
    headers = {"x-api-key": key, "authorization": f"Bearer {invented('sk-ant-api03-', 95)}"}
    body = b'{"model":"keyx-beside","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}'
    said = ask_with(bank.gateway, "keyx-beside", headers, host=ANTHROPIC, path="/v1/messages", body=body)
    assert said.status == 403
    assert b"a gateway key and another credential" in said.body
    assert arrived(lab, "keyx-beside") == []


@pytest.mark.parametrize("place", ["other_header", "any_header", "body", "basic"])
def test_a_gateway_key_in_the_wrong_place_never_leaves(bank: Bank, lab: Lab, place: str) -> None:
    import base64

    key, model = bank.key("any"), f"keyx-in-{place.replace('_', '-')}"
    known_everywhere(bank)
    basic = base64.b64encode(f"ada:{key}".encode()).decode()
    headers = {
        "other_header": {"x-api-key": key},
        "any_header": {**bearer(key), "x-note": f"mine is {key}"},
        "body": bearer(key),
        "basic": {"authorization": f"Basic {basic}"},
    }[place]
    body = chat(model, f"keep {key} safe" if place == "body" else "")
    said = ask_with(bank.gateway, model, headers, body=body)
    for request in arrived(lab, model):
        assert key.encode() not in everything_in(request)
    if place != "body":
        assert said.status in (400, 403)


def test_a_wildcard_host_of_somebody_else_never_gets_the_credential(bank: Bank) -> None:
    with pytest.raises(OperatorError, match="anybody can have a host"):
        bank.office.run(
            "credentials",
            "add",
            "work-azure_openai",
            "--provider",
            "azure_openai",
            "--from-env",
            "REAL_ANTHROPIC",
        )
    add = (
        "credentials",
        "add",
        "work-azure_openai",
        "--provider",
        "azure_openai",
        "--from-env",
        "REAL_ANTHROPIC",
    )
    bank.office.run(*add, "--host", "acme.openai.azure.com")
    key, _ = bank.issue("azure_openai", "ada")
    known_everywhere(bank)
    ask = "/openai/v1/chat/completions"
    said = ask_with(bank.gateway, "keyx-host", {"api-key": key}, host="evil.openai.azure.com", path=ask)
    assert said.code == "identity.key_host"


# -- credentials that change, or are gone --------------------------------------------------------------


def test_a_credential_rotated_in_its_file_is_used_without_a_restart(bank: Bank, lab: Lab) -> None:
    assert bank.ask("turning", "keyr-old").status == 200
    fresh = invented("sk-proj-", 156)
    private(bank.folder / "openai.key", fresh)
    key = bank.key("turning")

    def seen() -> bool:
        ask_with(bank.gateway, "keyr-new", bearer(key))
        return arrived(lab, "keyr-new")[-1].header("authorization") == f"Bearer {fresh}"

    eventually(seen, 5, "the new credential is used")
    bank.real["openai"] = fresh


def test_a_sealed_credential_is_rotated_and_resealed_without_a_restart(bank: Bank, lab: Lab) -> None:
    key = bank.key("places", "gemini")
    master = bank.gateway.confdir / "master.key"
    bank.real["gemini"] = invented("AIza", 35)
    bank.office.run("credentials", "rotate", "work-gemini", "--sealed", typed=bank.real["gemini"])
    import base64
    import os

    private(master, base64.b64encode(os.urandom(32)).decode() + "\n" + master.read_text())
    assert "1 sealed anew" in bank.office.run("credentials", "reseal")
    private(master, master.read_text().splitlines()[0] + "\n")
    body = b'{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}'

    def seen() -> bool:
        path = "/v1beta/models/keyr-sealed:generateContent"
        ask_with(bank.gateway, "keyr-sealed", {"x-goog-api-key": key}, host=GEMINI, path=path, body=body)
        requests = arrived(lab, "keyr-sealed")
        return bool(requests) and requests[-1].header("x-goog-api-key") == bank.real["gemini"]

    eventually(seen, 5, "the rotated credential is used")


def test_a_rotated_gateway_key_and_its_successor_both_hold_for_the_grace(bank: Bank, lab: Lab) -> None:
    import json

    key, id = bank.issue("openai", "ada", "--models", "keyr-*")
    made = json.loads(bank.office.run("keys", "rotate", id, "--grace", "4s", "--json"))
    young = until(
        lambda: ask_with(bank.gateway, "keyr-young", bearer(made["key"])), lambda s: s.status == 200
    )
    assert young.status == 200
    assert ask_with(bank.gateway, "keyr-aged", bearer(key)).status == 200
    assert ask_with(bank.gateway, "other", bearer(made["key"])).code == "identity.key_model"
    over = until(lambda: ask_with(bank.gateway, "keyr-aged", bearer(key)), lambda s: s.status != 200, 8)
    assert over.code == "identity.key_expired"
    assert ask_with(bank.gateway, "keyr-young", bearer(made["key"])).status == 200


@pytest.mark.parametrize("why", ["file_gone", "file_open", "variable", "removed"])
def test_where_the_credential_cannot_be_had_nothing_leaves(bank: Bank, lab: Lab, why: str) -> None:
    name, model = f"lost-{why.replace('_', '-')}", f"keyl-{why.replace('_', '-')}"
    file = private(bank.folder / f"{why}.key", invented("sk-proj-", 156))
    source = ("--from-env", "NEVER_SET_ANYWHERE") if why == "variable" else ("--from-file", str(file))
    bank.office.run("credentials", "add", name, "--provider", "openai", *source)
    key, _ = bank.office.issue("openai", "ada", "--credential", name)
    if why == "file_gone":
        file.unlink()
    elif why == "file_open":
        file.chmod(0o644)
    elif why == "removed":
        bank.office.run("credentials", "remove", name, "--force")
    said = until(
        lambda: ask_with(bank.gateway, model, bearer(key)),
        lambda s: s.code.startswith("credentials."),
    )
    assert (said.status, said.code) == (
        503,
        {"variable": "credentials.variable_missing", "removed": "credentials.missing"}.get(
            why, "credentials.unreadable"
        ),
    )
    # Until the gateway has read that the credential was removed, it has it.
    assert why == "removed" or arrived(lab, model) == []
    gone = f"{model}-gone"
    assert ask_with(bank.gateway, gone, bearer(key)).code == said.code
    assert arrived(lab, gone) == []
    kinds = {EventKind.REFUSED}
    eventually(
        lambda: {e.kind for e in settled(bank.gateway.confdir) if e.model == gone} == kinds,
        5,
        "it is recorded",
    )
    assert {e.detail for e in recorded(bank.gateway.confdir) if e.model == gone} == {f"credentials.{name}"}


# -- what providers answer -----------------------------------------------------------------------------


def answer(status: str, body: bytes, *headers: bytes) -> bytes:
    head = b"\r\n".join([f"HTTP/1.1 {status}".encode(), *headers, b"content-length: %d" % len(body)])
    return head + b"\r\n\r\n" + body


@pytest.fixture
def echoing(bank: Bank, lab: Lab, tmp_path: Path) -> Iterator[tuple[GatewayProcess, str, str, Villain]]:
    """A gateway of its own whose OpenAI is a server that tells what it was sent."""
    real = invented("sk-proj-", 156)
    with villain(lab.ca, {}) as echo, running(tmp_path, lab, policy=PLAIN, to={OPENAI: echo.port}) as gateway:
        office = Office(gateway.confdir)
        file = private(tmp_path / "real.key", real)
        office.run("credentials", "add", "c", "--provider", "openai", "--from-file", str(file))
        key, _ = office.issue("openai", "ada")
        yield gateway, key, real, echo


def test_an_error_that_quotes_the_credential_is_masked(
    echoing: tuple[GatewayProcess, str, str, Villain],
) -> None:
    import gzip
    import json

    gateway, key, real, echo = echoing
    whole = json.dumps({"error": {"message": f"Incorrect API key provided: {real}.", "code": None}}).encode()
    part = json.dumps({"error": {"message": f"Bad key {real[:30]}...{real[-12:]}", "code": None}}).encode()
    kind, note = b"content-type: application/json", f"x-key: {real}".encode()
    echo.deeds["keye-whole"] = say(answer("401 Unauthorized", whole, kind, note))
    echo.deeds["keye-part"] = say(answer("401 Unauthorized", part, kind))
    echo.deeds["keye-gzip"] = say(answer("401 No", gzip.compress(whole), kind, b"content-encoding: gzip"))
    echo.deeds["keye-fine"] = say(answer("200 OK", whole, kind))
    until(lambda: ask_with(gateway, "keye-whole", bearer(key)), lambda s: s.status == 401)
    for model, status in (("keye-whole", 401), ("keye-part", 401), ("keye-gzip", 401), ("keye-fine", 200)):
        said = ask_with(gateway, model, bearer(key))
        assert said.status == status, (model, said.body)
        shown = said.body + str(said.headers).encode()
        assert real.encode() not in shown
        for start in range(8, len(real) - 12):
            assert status == 200 or real[start : start + 12].encode() not in shown, model
        assert b"****" in said.body


@pytest.mark.parametrize(("status", "source"), [("200 OK", "estimated"), ("401 Unauthorized", "")])
def test_an_answer_that_cannot_be_searched_for_the_credential_is_recorded_as_withheld(
    echoing: tuple[GatewayProcess, str, str, Villain], status: str, source: str
) -> None:
    gateway, key, real, echo = echoing
    echo.deeds["keye-odd"] = say(answer(status, real.encode(), b"content-encoding: odd"))
    said = until(lambda: ask_with(gateway, "keye-odd", bearer(key)), lambda s: s.status == 502)
    assert real.encode() not in said.body + str(said.headers).encode()
    eventually(lambda: recorded(gateway.confdir)[-1].is_end, 5, "it has ended")
    end = recorded(gateway.confdir)[-1]
    assert (end.kind, end.detail, end.unread) == (EventKind.BROKEN, "wire.coding.unknown", "answer.unread")
    assert (end.status, end.usage_source) == (int(status[:3]), source)


def test_a_stream_that_quotes_the_credential_is_masked_across_its_pieces(
    echoing: tuple[GatewayProcess, str, str, Villain],
) -> None:
    gateway, key, real, echo = echoing
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % real.encode()
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    pieces = [event[i : i + 17] for i in range(0, len(event), 17)]
    echo.deeds["keye-stream"] = say(head, *pieces, end, delay_s=0.01)
    echo.deeds["keye-cut"] = cut(head, event[: 60 + len(real) // 2])
    ask = {"stream": True}
    said = until(lambda: ask_with(gateway, "keye-stream", bearer(key), **ask), lambda s: s.status == 200)  # type: ignore[arg-type]
    assert said.status == 200
    assert b"*" * len(real) in said.body
    assert b"[DONE]" in said.body
    assert real.encode() not in said.body
    broken = ask_with(gateway, "keye-cut", bearer(key), **ask)  # type: ignore[arg-type]
    assert real[:40].encode() not in broken.body


# -- what is kept --------------------------------------------------------------------------------------


def test_in_observe_mode_a_gateway_key_is_exchanged_or_refused_but_never_sent(
    lab: Lab, tmp_path: Path
) -> None:
    real = invented("sk-proj-", 156)
    with running(tmp_path, lab, policy="version: 1\nmode: observe\n", env={"REAL": real}) as gateway:
        office = Office(gateway.confdir)
        office.run("credentials", "add", "c", "--provider", "openai", "--from-env", "REAL")
        key, _ = office.issue("openai", "ada", "--models", "keyw-good*")
        until(lambda: ask_with(gateway, "keyw-good", bearer(key)), lambda s: s.status == 200)
        assert arrived(lab, "keyw-good")[-1].header("authorization") == f"Bearer {real}"
        assert ask_with(gateway, "keyw-bad", bearer(key)).code == "identity.key_model"
        assert ask_with(gateway, "keyw-forged", bearer(key[:-1])).code == "identity.key_forged"
        noted = {**bearer(key), "x-note": f"mine is {key}"}
        assert ask_with(gateway, "keyw-good-note", noted).code == "identity.key_misplaced"
        told = chat("keyw-good-told", f"keep {key} safe")
        assert ask_with(gateway, "keyw-good-told", bearer(key), body=told).code == "identity.key_misplaced"
        for model in ("keyw-bad", "keyw-forged", "keyw-good-note", "keyw-good-told"):
            assert arrived(lab, model) == [], model


def test_neither_key_nor_credential_is_in_any_file_of_the_gateway(lab: Lab, tmp_path: Path) -> None:
    """Also not after refusals, errors and a crash of the client, as text, hex or base64."""
    import base64

    real = {
        "file": invented("sk-proj-", 156),
        "env": invented("sk-proj-", 156),
        "sealed": invented("sk-proj-", 156),
    }
    with running(tmp_path / "g", lab, policy=PLAIN, env={"REAL": real["env"]}) as gateway:
        office = Office(gateway.confdir)
        file = private(tmp_path / "real.key", real["file"])
        office.run("credentials", "add", "file", "--provider", "openai", "--from-file", str(file))
        office.run("credentials", "add", "env", "--provider", "openai", "--from-env", "REAL")
        office.run("credentials", "add", "sealed", "--provider", "openai", "--sealed", typed=real["sealed"])
        keys = [office.issue("openai", "ada", "--credential", name)[0] for name in real]
        for key in keys:
            until(lambda key=key: ask_with(gateway, "keyb-fine", bearer(key)), lambda s: s.status == 200)  # type: ignore[misc]
            ask_with(gateway, "keyb-error-429", bearer(key))
            ask_with(gateway, "keyb-reset", bearer(key))
            ask_with(gateway, "keyb-note", {**bearer(key), "x-note": key})
            ask_with(gateway, key, bearer(key))
            ask_with(gateway, "keyb-path", bearer(key), path=f"/v1/{key}")
            ask_with(gateway, "keyb-cut", bearer(key[:-1]))
        assert {r.header("authorization") for r in arrived(lab, "keyb-fine")} == {
            f"Bearer {v}" for v in real.values()
        }
        settled(gateway.confdir)
    looked_at = files_of(gateway)
    assert any(f.name == "audit.db" for f in looked_at)
    for secret in (*keys, *real.values()):
        spellings = [secret.encode(), secret[12:60].encode(), secret.encode().hex().encode()]
        spellings += [base64.b64encode(secret.encode()[i:])[4:60] for i in range(3)]
        for written in looked_at:
            data = written.read_bytes()
            for spelling in spellings:
                assert spelling not in data, written.name


def test_what_is_done_with_keys_is_in_the_audit(bank: Bank) -> None:
    _, id = bank.issue("openai", "ada")
    bank.office.run("keys", "revoke", id)
    changes = [e for e in recorded(bank.gateway.confdir) if e.kind is EventKind.DIRECTORY_CHANGED]
    (row,) = [row for row in bank.office.listed() if row.get("id") == id]
    assert [e.detail for e in changes if e.credential == row["fingerprint"]] == ["issued", "revoked"]
    assert any(e.reason == "credentials.work-openai" and e.detail == "added" for e in changes)


def test_nobody_can_ask_for_the_credential(bank: Bank) -> None:
    shown = bank.office.run("credentials", "list", "--json") + bank.office.run("keys", "list", "--json")
    for secret in (*bank.real.values(), *bank.keys.values()):
        assert secret not in shown
