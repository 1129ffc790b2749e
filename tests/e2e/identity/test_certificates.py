"""Mutual TLS through the running gateway: who is proved, who is refused where, and what the log says of it."""

import datetime
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h2.connection
import h2.events
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

import rawclient
from e2e.identity.badges import DAY, NOW, Authority, Badge, self_signed, stolen, write_badge
from e2e.identity.callers import (
    TLS12,
    TLS13,
    await_refusals,
    call,
    context,
    curl,
    end_of,
    hup,
    node,
    openai_sdk,
    refused,
    so_far,
)
from e2e.traffic import (
    CHAT,
    OPENAI,
    Wire,
    assert_clean,
    chat,
    eventually,
    hang,
    models_seen,
    recorded,
    settled,
    villain,
)
from e2e.traffic import running as started
from gateways import GatewayProcess
from rawclient import post
from sallyport.audit.events import EventKind
from sallyport.lab.authority import LabCa
from sallyport.lab.server import Lab
from sallyport.pki.clients import Fault

VERSIONS = (TLS12, TLS13)


def spiffe(path: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(f"spiffe://corp.example/{path}")


@dataclass
class House:
    """The authorities of a company, and a stranger of the same name."""

    folder: Path
    root: Authority
    office: Authority
    stranger: Authority

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def policy(self, more: str = "required: true", rest: str = "", mode: str = "enforce") -> str:
        return (
            f"version: 1\nmode: {mode}\nidentity:\n  unknown: anonymous\n"
            f"  certificate_owners: {{unlisted: allow}}\n"
            f"  certificates: {{ca: '{self.ca}', kinds: [spiffe, email, dns, cn], {more}}}\n{rest}"
        )


def build(folder: Path) -> House:
    root = Authority(folder / "ours", "company-root")
    office = Authority(folder / "ours", "company-office", root, pathlen=0)
    house = House(folder, root, office, Authority(folder / "theirs", "company-root"))
    house.ca.write_bytes(root.file.read_bytes() + office.file.read_bytes())
    root.crl(folder / "root.crl")
    office.crl(folder / "office.crl")
    return house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return build(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def badges(house: House) -> dict[str, Badge]:
    root, folder = house.root, house.folder
    anna = spiffe("anna")
    made = {
        "spiffe": root.badge("good-spiffe", anna),
        "email": house.office.badge("good-email", x509.RFC822Name("bert@corp.example")),
        "dns": root.badge("good-dns", x509.DNSName("Build-7.corp.example")),
        "cn": root.badge("carla"),
        "expired": root.badge("expired", anna, since=NOW - 5 * DAY, until=NOW - DAY),
        "not_yet_valid": root.badge("early", anna, since=NOW + DAY / 2),
        "foreign": house.stranger.badge("foreign", anna),
        "self_signed": self_signed(folder, "selfie"),
        "server_only": root.badge("server", anna, purposes=[ExtendedKeyUsageOID.SERVER_AUTH]),
        "any_purpose": root.badge("any", anna, purposes=None),
        "an_authority": root.badge("little-ca", anna, authority=True),
        "forged_signature": root.badge("forged", anna, signer=house.stranger.key),
        "revoked_by_list": root.badge("dismissed", anna),
        "revoked_by_fingerprint": root.badge("lost-laptop", anna),
        "wrong_trust_domain": root.badge(
            "elsewhere", x509.UniformResourceIdentifier("spiffe://other.example/anna")
        ),
        "two_spiffe_ids": root.badge("two", anna, spiffe("root")),
        "under_a_leaf": Authority(folder / "deep", "deep", house.office).badge("grandchild", anna),
    }
    root.crl(folder / "root.crl", made["revoked_by_list"])
    return made | {"stolen": stolen(made["spiffe"], folder / "stolen.pem")}


@pytest.fixture(scope="module")
def strict(
    lab: Lab, house: House, badges: dict[str, Badge], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that requires certificates, with every way of revoking in use."""
    more = (
        f"required: true, trust_domain: corp.example, crl: ['{house.folder}/root.crl', '{house.folder}/office.crl'], "
        f"revoked: ['{badges['revoked_by_fingerprint'].fingerprint}']"
    )
    folder = tmp_path_factory.mktemp("strict")
    with started(folder, lab, policy=house.policy(more), reverse=OPENAI) as running:
        yield running


# -- who is proved -------------------------------------------------------------------------------------

PROVED = {
    "spiffe": "spiffe://corp.example/anna",
    "email": "bert@corp.example",
    "dns": "build-7.corp.example",
    "cn": "carla",
}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
@pytest.mark.parametrize("kind", PROVED)
def test_a_certificate_proves_its_owner_by_each_kind_of_name(
    strict: GatewayProcess, badges: dict[str, Badge], kind: str, version: ssl.TLSVersion
) -> None:
    model = f"crt-{kind}-{version.name}".lower()
    assert call(strict, badges[kind], model, version).status == 200
    event = end_of(strict, model)
    assert (event.principal, event.source) == (PROVED[kind], "certificate")


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
def test_reverse_mode_asks_for_certificates_too(
    strict: GatewayProcess, badges: dict[str, Badge], version: ssl.TLSVersion
) -> None:
    model = f"crt-reverse-{version.name}".lower()
    assert call(strict, badges["spiffe"], model, version, reverse=True).status == 200
    assert call(strict, None, model, version, reverse=True).status == 0
    assert end_of(strict, model).principal == PROVED["spiffe"]


def test_each_request_of_an_http2_connection_is_proved_by_its_handshake(
    strict: GatewayProcess, badges: dict[str, Badge]
) -> None:
    file = str(badges["spiffe"].file)
    url = f"https://{OPENAI}{CHAT}"
    options = ("--http2", "--cert", file, "--key", file, "-w", "%{http_version}", "-o", "/dev/null", url)
    status, said = curl(strict, "crt-h-two", *options)
    assert (status, said.count("ALPN: server accepted h2"), "Re-using existing" in said) == (22, 1, True)
    events = [e for e in settled(strict.confdir) if e.model == "crt-h-two" and e.is_end]
    assert [e.principal for e in events] == [PROVED["spiffe"]] * 2


def test_curl_shows_its_certificate(strict: GatewayProcess, badges: dict[str, Badge]) -> None:
    badge = badges["email"]
    shown = ("--cert", str(badge.certificate_file), "--key", str(badge.key_file))
    assert curl(strict, "crt-curl", *shown)[0] == 200
    assert end_of(strict, "crt-curl").principal == PROVED["email"]
    status, said = curl(strict, "crt-curl-none")
    assert status == 0
    assert "certificate required" in said, "the alert tells the client what is wrong"


def test_a_client_that_goes_on_writing_still_reads_why_it_is_turned_away(strict: GatewayProcess) -> None:
    raw = rawclient.tunnel(strict.port, OPENAI)
    asked = context(strict, None, TLS13)
    with asked.wrap_socket(raw, server_hostname=OPENAI) as sock:
        for _ in range(2):
            # By now the gateway has refused. Were the socket closed, the first answer to this would be a reset.
            time.sleep(0.1)
            sock.sendall(post(CHAT, chat("crt-writes-on"), OPENAI))
        with pytest.raises(ssl.SSLError, match="certificate required"):
            sock.recv(100)


def test_the_openai_sdk_shows_its_certificate(strict: GatewayProcess, badges: dict[str, Badge]) -> None:
    assert "text" in openai_sdk(strict, "crt-sdk", badges["spiffe"])
    assert end_of(strict, "crt-sdk").principal == PROVED["spiffe"]
    assert openai_sdk(strict, "crt-sdk-none")["error"] == "APIConnectionError"


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_node_shows_its_certificate(strict: GatewayProcess, badges: dict[str, Badge]) -> None:
    assert node(strict, "crt-node", badges["dns"]) == "200"
    assert end_of(strict, "crt-node").principal == PROVED["dns"]
    assert node(strict, "crt-node-none", None) != "200"


# -- who is refused ------------------------------------------------------------------------------------

REFUSED = {
    "missing": "missing",
    "expired": "expired",
    "not_yet_valid": "not_yet_valid",
    "foreign": "foreign",
    "self_signed": "self_signed",
    "server_only": "wrong_purpose",
    "any_purpose": "wrong_purpose",
    "an_authority": "is_authority",
    "forged_signature": "bad_signature",
    "revoked_by_list": "revoked",
    "revoked_by_fingerprint": "revoked",
    "wrong_trust_domain": "wrong_trust_domain",
    "two_spiffe_ids": "malformed",
    "under_a_leaf": "bad_chain",
    "stolen": "without_its_key",
}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_certificate_is_refused_in_the_handshake(
    strict: GatewayProcess, badges: dict[str, Badge], lab: Lab, kind: str, version: ssl.TLSVersion
) -> None:
    since, model = so_far(strict), f"crt-bad-{kind}"
    talk = call(strict, badges.get(kind), model, version)
    assert (talk.status, "ALERT" in talk.error) == (0, True), talk.error
    await_refusals(strict, [f"certificate_{REFUSED[kind]}"], since)
    assert not models_seen(lab, model)


def test_what_was_refused_left_nothing_in_the_log(strict: GatewayProcess, badges: dict[str, Badge]) -> None:
    since = so_far(strict)
    call(strict, badges["foreign"], "crt-clean")
    await_refusals(strict, ["certificate_foreign"], since)
    assert_clean(strict, "spiffe://other.example", "dismissed", "lost-laptop")


@pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)
def test_no_session_is_resumed_past_the_certificate(
    strict: GatewayProcess, badges: dict[str, Badge], version: ssl.TLSVersion
) -> None:
    made, session = context(strict, badges["spiffe"], version), None
    for _ in range(3):
        raw = rawclient.tunnel(strict.ports["explicit"], OPENAI)
        with made.wrap_socket(raw, server_hostname=OPENAI, session=session) as sock:
            sock.sendall(post(CHAT, chat("crt-resumed"), OPENAI))
            assert rawclient.read_answer(sock).status == 200
            assert sock.session_reused is False
            session = sock.session or session


def s_client(gateway: GatewayProcess, *options: str) -> bytes:
    """Shake hands with OpenSSL's own client over the reverse port; what it says of it."""
    base = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.ports['reverse']}", "-servername", OPENAI]
    with subprocess.Popen([*base, *options], stdin=-1, stdout=-1, stderr=subprocess.STDOUT) as client:
        time.sleep(1)  # TLS 1.3 gives tickets after the handshake
        return client.communicate(b"", 20)[0]


def test_openssls_own_client_comes_through_the_explicit_proxy(
    strict: GatewayProcess, badges: dict[str, Badge]
) -> None:
    """It opens the tunnel with HTTP/1.0 and without a Host."""
    said = subprocess.run(
        ["openssl", "s_client", "-proxy", f"127.0.0.1:{strict.ports['explicit']}", "-connect", f"{OPENAI}:443",
         "-servername", OPENAI, "-CAfile", str(strict.confdir / "ca-cert.pem"), "-verify_return_error",
         "-quiet", "-cert", str(badges["spiffe"].file)],
        input=post(CHAT, chat("crt-s-client"), OPENAI, "Connection: close"), capture_output=True, timeout=20,
    )  # fmt: skip
    assert said.stdout.startswith(b"HTTP/1.1 200 "), said.stderr[-500:]
    assert end_of(strict, "crt-s-client").principal == PROVED["spiffe"]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_session_that_was_stolen_from_a_proved_client_proves_nothing(
    lab: Lab, strict: GatewayProcess, badges: dict[str, Badge], tmp_path: Path, version: str
) -> None:
    file, session = str(badges["spiffe"].file), tmp_path / "session.pem"
    with started(tmp_path / "open", lab, reverse=OPENAI) as running:
        s_client(running, version, "-sess_out", str(session))
        assert b"Reused, TLS" in s_client(running, version, "-sess_in", str(session)), "control: it resumes"
    session.unlink()
    said = s_client(strict, version, "-cert", file, "-key", file, "-sess_out", str(session))
    assert b"New, TLS" in said
    since = so_far(strict)
    again = ("-sess_in", str(session)) if session.exists() else ()
    said = s_client(strict, version, *again)
    assert b"Reused, TLS" not in said
    assert b"alert" in said
    await_refusals(strict, ["certificate_missing"], since)


# -- optional ------------------------------------------------------------------------------------------


def test_where_a_certificate_is_optional_nobody_is_proved_without_one_and_a_bad_one_is_refused(
    lab: Lab, house: House, badges: dict[str, Badge], tmp_path: Path
) -> None:
    with started(tmp_path, lab, policy=house.policy("required: false")) as running:
        assert call(running, None, "crt-opt-none").status == 200
        assert end_of(running, "crt-opt-none").principal == "anonymous"
        assert call(running, badges["spiffe"], "crt-opt-good").status == 200
        assert end_of(running, "crt-opt-good").principal == PROVED["spiffe"]
        assert call(running, badges["foreign"], "crt-opt-foreign").status == 0
        assert call(running, badges["stolen"], "crt-opt-stolen").status == 0
        await_refusals(running, ["certificate_foreign", "certificate_without_its_key"])


def test_a_certificate_is_required_of_the_networks_that_are_named(
    lab: Lab, house: House, tmp_path: Path
) -> None:
    for networks, status in (("10.0.0.0/8", 200), ("127.0.0.0/8", 0)):
        policy = house.policy(f"required: true, networks: [{networks}]")
        with started(tmp_path / str(status), lab, policy=policy) as running:
            assert call(running, None, "crt-networks").status == status


def test_observe_lets_everyone_in_and_proves_no_one_by_a_bad_certificate(
    lab: Lab, house: House, badges: dict[str, Badge], tmp_path: Path
) -> None:
    with started(tmp_path, lab, policy=house.policy(mode="observe")) as running:
        for kind in ("missing", "foreign", "expired", "any_purpose"):
            assert call(running, badges.get(kind), f"crt-seen-{kind}").status == 200
            assert end_of(running, f"crt-seen-{kind}").principal == "anonymous"
        assert call(running, badges["spiffe"], "crt-seen-good").status == 200
        assert end_of(running, "crt-seen-good").principal == PROVED["spiffe"]
        seen = ("missing", "foreign", "expired", "wrong_purpose")
        await_refusals(running, [f"observed_certificate_{what}" for what in seen])


# -- revocation while connected ------------------------------------------------------------------------


def rejections(gateway: GatewayProcess) -> list[str]:
    return [e.detail for e in recorded(gateway.confdir) if e.kind is EventKind.POLICY_REJECTED]


class Kept:
    """A connection of a proved client that stays open."""

    def __init__(self, gateway: GatewayProcess, badge: Badge) -> None:
        raw = rawclient.tunnel(gateway.ports["explicit"], OPENAI)
        self.sock = context(gateway, badge).wrap_socket(raw, server_hostname=OPENAI)

    def ask(self, model: str) -> rawclient.Talk:
        self.sock.sendall(post(CHAT, chat(model), OPENAI))
        return rawclient.read_answer(self.sock)


def test_a_certificate_on_a_new_list_ends_at_the_next_request_of_an_open_connection(
    lab: Lab, tmp_path: Path
) -> None:
    house = build(tmp_path / "house")
    badge = house.root.badge("soon-gone", spiffe("gone"))
    policy = house.policy(f"required: true, crl: ['{house.folder}/root.crl']")
    with started(tmp_path / "gw", lab, policy=policy) as running:
        kept = Kept(running, badge)
        assert kept.ask("crt-kept-before").status == 200
        house.root.crl(house.folder / "root.crl", badge)
        time.sleep(0.6)  # files are looked at twice a second
        talk = kept.ask("crt-kept-after")
        assert talk.status == 403
        assert b"identity.certificate_revoked" in talk.body
        assert b"connection: close" in talk.head.lower()
        assert kept.sock.recv(1) == b"", "nothing may follow on this connection"
        assert call(running, badge, "crt-kept-new").status == 0
        assert not models_seen(lab, "crt-kept-after")
        reason = "identity.certificate_revoked"
        eventually(
            lambda: reason in [e.reason for e in recorded(running.confdir)], 5, "the refusal is recorded"
        )


def test_an_http2_connection_whose_certificate_is_revoked_is_closed_after_its_answer(
    lab: Lab, tmp_path: Path
) -> None:
    house = build(tmp_path / "house")
    badge = house.root.badge("soon-gone", spiffe("gone"))
    policy = house.policy(f"required: true, crl: ['{house.folder}/root.crl']")
    with started(tmp_path / "gw", lab, policy=policy) as running:
        made = context(running, badge)
        made.set_alpn_protocols(["h2"])
        raw = rawclient.tunnel(running.port, OPENAI)
        with made.wrap_socket(raw, server_hostname=OPENAI) as sock:
            spoken = h2.connection.H2Connection()
            spoken.initiate_connection()

            def ask(model: str) -> list[h2.events.Event]:
                body, stream = chat(model), spoken.get_next_available_stream_id()
                head = [(":method", "POST"), (":scheme", "https"), (":authority", OPENAI), (":path", CHAT)]
                more = [("content-type", "application/json"), ("authorization", "Bearer sk-test-EXAMPLE")]
                spoken.send_headers(stream, head + more)
                spoken.send_data(stream, body, end_stream=True)
                sock.sendall(spoken.data_to_send())
                seen: list[h2.events.Event] = []
                while not any(isinstance(e, h2.events.StreamEnded) for e in seen):
                    data = sock.recv(65536)
                    assert data, "closed before the answer"
                    seen += spoken.receive_data(data)
                return seen

            ask("crt-goaway-before")
            house.root.crl(house.folder / "root.crl", badge)
            time.sleep(0.6)  # files are looked at twice a second
            seen = ask("crt-goaway-after")
            (answer,) = [e for e in seen if isinstance(e, h2.events.ResponseReceived)]
            assert dict(answer.headers)[b":status"] == b"403"
            while data := sock.recv(65536):
                seen += spoken.receive_data(data)
            assert any(isinstance(e, h2.events.ConnectionTerminated) for e in seen)
        assert not models_seen(lab, "crt-goaway-after")


def test_an_answer_under_way_ends_when_its_certificate_is_revoked_and_not_when_it_expires(
    tmp_path: Path,
) -> None:
    house, ca = build(tmp_path / "house"), LabCa(tmp_path / "ca")
    event = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [
        {"index": 0, "delta": {"content": "one"}, "finish_reason": None}]}  # fmt: skip
    piece = b"data: " + json.dumps(event).encode() + b"\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    deed = hang(head, b"%x\r\n%s\r\n" % (len(piece), piece))
    policy = house.policy(f"required: true, crl: ['{house.folder}/root.crl']")
    with villain(ca, dict.fromkeys(("crt-fly-gone", "crt-fly-brief"), deed)) as provider:
        extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: provider.port}
        with started(tmp_path / "gw", None, policy=policy, extra=extra, to=to) as running:
            until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=5)
            badges = {
                "crt-fly-gone": house.root.badge("gone", spiffe("gone")),
                "crt-fly-brief": house.root.badge("brief", spiffe("brief"), until=until),
            }
            wires = {}
            for model, badge in badges.items():
                raw = rawclient.tunnel(running.port, OPENAI)
                wires[model] = Wire(context(running, badge).wrap_socket(raw, server_hostname=OPENAI))
                wires[model].send(post(CHAT, chat(model, stream=True), OPENAI))
                wires[model].read_until(b"one")
            house.root.crl(house.folder / "root.crl", badges["crt-fly-gone"])
            gone = wires["crt-fly-gone"]
            gone.read_until(b"identity.certificate_revoked")
            assert end_of(running, "crt-fly-gone").detail == "identity.certificate_revoked"
            eventually(lambda: "crt-fly-gone" in provider.gone, 5, "the provider is let go")
            while datetime.datetime.now(datetime.UTC) < until + datetime.timedelta(seconds=1):
                time.sleep(0.1)
            assert "crt-fly-brief" not in provider.gone, "what began in time may end in time"
            assert b"identity." not in wires["crt-fly-brief"].data


def test_a_host_where_people_only_sign_in_takes_no_revoked_certificate_either(
    lab: Lab, tmp_path: Path
) -> None:
    house, sign_in = build(tmp_path / "house"), "login.microsoftonline.com"
    badge = house.root.badge("soon-gone", spiffe("gone"))
    tenant = "0a1b2c3d-0000-4000-8000-00000000abcd"
    policy = house.policy(
        f"required: true, crl: ['{house.folder}/root.crl']",
        f"restrictions:\n  microsoft_tenant_policy: ['{tenant}:{tenant}']\n",
    )
    with started(tmp_path / "gw", lab, policy=policy, to={sign_in: lab.port}) as running:
        raw = rawclient.tunnel(running.port, sign_in)
        with context(running, badge).wrap_socket(raw, server_hostname=sign_in) as sock:
            sock.sendall(post("/crt-sign-in-before", b"x=1", sign_in))
            rawclient.read_answer(sock)
            assert [r for r in lab.requests if r.path == "/crt-sign-in-before"]
            house.root.crl(house.folder / "root.crl", badge)
            time.sleep(0.6)
            sock.sendall(post("/crt-sign-in-after", b"x=1", sign_in))
            talk = rawclient.read_answer(sock)
            assert (talk.status, b"identity.certificate_revoked" in talk.body) == (403, True)
            assert sock.recv(1) == b""
        assert not [r for r in lab.requests if r.path == "/crt-sign-in-after"]
        await_refusals(running, ["certificate_revoked"])


def test_a_list_that_cannot_be_read_leaves_the_old_one_in_force_and_is_reported(
    lab: Lab, tmp_path: Path
) -> None:
    house = build(tmp_path / "house")
    good, gone = house.root.badge("stays", spiffe("stays")), house.root.badge("gone", spiffe("gone"))
    crl = house.root.crl(house.folder / "root.crl", gone)
    policy = house.policy(f"required: true, crl: ['{crl}']")
    with started(tmp_path / "gw", lab, policy=policy) as running:
        for broken in (b"", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"):
            crl.write_bytes(broken)
            time.sleep(0.6)
            assert call(running, good, "crt-broken").status == 200
            assert call(running, gone, "crt-broken").status == 0
        house.root.crl(crl, gone, signer=house.stranger.key)
        time.sleep(0.6)
        assert call(running, gone, "crt-broken").status == 0, "a list somebody else has signed is none"
        eventually(lambda: rejections(running) == ["crl_unreadable"] * 3, 5, "each of the three is reported")
        crl.unlink()
        house.root.crl(crl, good)
        time.sleep(0.6)
        assert call(running, good, "crt-broken").status == 0
        assert call(running, gone, "crt-broken").status == 200


@pytest.mark.parametrize(("expired", "status"), [("deny", 0), ("accept", 200)])
def test_an_old_list_denies_unless_the_policy_accepts_it(
    lab: Lab, tmp_path: Path, expired: str, status: int
) -> None:
    house = build(tmp_path / "house")
    badge, gone = house.root.badge("someone", spiffe("someone")), house.root.badge("gone", spiffe("gone"))
    crl = house.root.crl(house.folder / "root.crl", gone, until=NOW - DAY)
    policy = house.policy(f"required: true, crl: ['{crl}'], crl_expired: {expired}")
    with started(tmp_path / "gw", lab, policy=policy) as running:
        assert call(running, badge, "crt-old").status == status
        assert call(running, gone, "crt-old").status == 0, "what an old list names stays revoked"
        office = house.office.badge("nolist", spiffe("nolist"))
        assert call(running, office, "crt-old").status == status
    if expired == "deny":
        assert refused(running) == [
            "certificate_crl_expired",
            "certificate_revoked",
            "certificate_crl_missing",
        ]


def test_a_reload_takes_effect_on_open_connections(lab: Lab, tmp_path: Path) -> None:
    house, other = build(tmp_path / "house"), build(tmp_path / "other")
    badge, file = house.office.badge("anna", spiffe("anna")), tmp_path / "gw" / "policy.yaml"
    with started(tmp_path / "gw", lab, policy=house.policy()) as running:
        kept = Kept(running, badge)
        assert kept.ask("crt-reload-first").status == 200
        hup(running, house.policy(f"required: true, revoked: ['{badge.fingerprint}']"), file)
        assert b"identity.certificate_revoked" in kept.ask("crt-reload-listed").body
        hup(running, house.policy(), file)
        kept = Kept(running, badge)
        hup(running, house.policy("required: true, trust_domain: corp.example"), file)
        assert kept.ask("crt-reload-again").status == 200, "the same proof, judged by the same authorities"
        hup(running, other.policy(), file)
        assert b'"identity.certificate_' in kept.ask("crt-reload-other").body
        assert call(running, badge, "crt-reload-new").status == 0
        house.ca.write_bytes(b"not a certificate")
        hup(running, house.policy(), file)
        assert call(running, other.root.badge("bert", spiffe("bert")), "crt-reload-kept").status == 200
        assert rejections(running) == ["invalid"]


def test_a_certificate_that_expires_while_connected_is_good_no_more(lab: Lab, tmp_path: Path) -> None:
    house = build(tmp_path / "house")
    with started(tmp_path / "gw", lab, policy=house.policy()) as running:
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
        badge = house.root.badge("brief", spiffe("brief"), until=until)
        kept = Kept(running, badge)
        assert kept.ask("crt-brief-before").status == 200
        eventually(
            lambda: b"identity.certificate_expired" in kept.ask("crt-brief-after").body,
            5,
            "the certificate is over",
        )


def test_the_gateways_own_authority_and_its_chain_vouch_for_no_client(
    lab: Lab, house: House, badges: dict[str, Badge], tmp_path: Path
) -> None:
    """Stock puts the chain that goes with our leaves into the very store that clients would be verified with."""
    file = tmp_path / "conf" / "mitmproxy-ca.pem"
    with started(tmp_path, lab, policy=house.policy()):
        pass  # makes the authority
    file.write_bytes(file.read_bytes() + house.stranger.file.read_bytes())
    own, key = x509.load_pem_x509_certificates(file.read_bytes())[0], file.read_bytes()
    signer = serialization.load_pem_private_key(key, None)
    template = house.root.badge("template")
    issued = (
        x509.CertificateBuilder()
        .subject_name(template.certificate.subject).issuer_name(own.subject)
        .public_key(template.key.public_key()).serial_number(5)
        .not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([spiffe("forged")]), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        .sign(signer, template.certificate.signature_hash_algorithm)  # type: ignore[arg-type]
    )  # fmt: skip
    forged = write_badge(tmp_path / "by-us.pem", issued, template.key, ())
    with started(tmp_path, lab, policy=house.policy(), reverse=OPENAI) as running:
        said = s_client(running, "-showcerts", "-cert", str(badges["spiffe"].file))
        assert said.count(b"BEGIN CERTIFICATE") == 3, (
            "clients still get the chain: the leaf, ours, the one above"
        )
        assert call(running, forged, "crt-own").status == 0
        assert call(running, badges["foreign"], "crt-own").status == 0
        await_refusals(running, ["certificate_foreign", "certificate_foreign"])


# -- the page ------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[3] / "docs" / "identity-connection.md"


def test_what_the_page_makes_with_openssl_is_what_the_gateway_takes(lab: Lab, tmp_path: Path) -> None:
    script = PAGE.read_text().partition("```sh\n")[2].partition("```")[0]
    first, mark, second = script.partition("# Revoke")
    assert mark

    def shell(text: str, folder: Path) -> None:
        subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder, check=True, capture_output=True)

    shell(first, tmp_path)
    clients = tmp_path / "clients"
    certificate = x509.load_pem_x509_certificate((clients / "anna.crt").read_bytes())
    anna = Badge(certificate, None, clients / "anna.pem")  # type: ignore[arg-type]
    policy = (
        "version: 1\nidentity:\n  certificate_owners: {unlisted: allow}\n"
        f"  certificates: {{ca: '{clients}/ca.pem', required: true, crl: ['{clients}/clients.crl']}}\n"
    )
    with started(tmp_path / "gw", lab, policy=policy) as running:
        assert call(running, anna, "crt-page").status == 200
        assert end_of(running, "crt-page").principal == "anna@corp.example"
        shell("#" + second, clients)
        time.sleep(0.6)
        assert call(running, anna, "crt-page").status == 0
        await_refusals(running, ["certificate_revoked"])


def test_the_page_names_every_fault() -> None:
    page = PAGE.read_text()
    assert [fault for fault in Fault if f"certificate_{fault}" not in page] == []
