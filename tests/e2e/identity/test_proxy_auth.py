"""Proxy authentication through the running gateway: CONNECT and plain requests, curl, httpx, OpenAI's SDK."""

import base64
import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import argon2
import bcrypt
import httpx
import pytest

import rawclient
from e2e.identity.callers import (
    await_refusals,
    context,
    curl,
    end_of,
    hup,
    openai_sdk,
    so_far,
)
from e2e.traffic import CHAT, OPENAI, assert_clean, chat, eventually, models_seen, recorded, running
from gateways import GatewayProcess
from rawclient import post
from sallyport.audit.events import EventKind
from sallyport.errors import OperatorError
from sallyport.lab.server import Lab
from sallyport.state.proxyusers import ProxyUsers

ANNA, BERT = "vellum-otter-1", "quince-heron-2"
TOKEN = secrets.token_urlsafe(32)
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)


def write_users(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    slow = bcrypt.hashpw(BERT.encode(), bcrypt.gensalt(10)).decode()
    (folder / "passwords").write_text(f"# people\nanna:{CHEAP.hash(ANNA)}\nbert:{slow}\n")
    (folder / "tokens").write_text(f"robot:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")


def policy(more: str = "", rest: str = "", mode: str = "enforce") -> str:
    files = "passwords: passwords, tokens: tokens"
    return (
        f"version: 1\nmode: {mode}\nidentity:\n  unknown: anonymous\n  proxy_auth: {{{files}{more}}}\n{rest}"
    )


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("proxy")
    write_users(folder)
    with running(folder, lab, policy=policy(", max_failures: 10000")) as found:
        yield found


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def connect(
    gateway: GatewayProcess, *headers: str, host: str = f"{OPENAI}:443"
) -> tuple[int, bytes, socket.socket]:
    """Send a CONNECT; its status, the head of the answer, and the socket."""
    raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    return (*reconnect(raw, *headers, host=host), raw)


def reconnect(raw: socket.socket, *headers: str, host: str = f"{OPENAI}:443") -> tuple[int, bytes]:
    lines = [f"CONNECT {host} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    raw.sendall("\r\n".join(lines).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        piece = raw.recv(4096)
        if not piece:
            return 0, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = [
        int(line.partition(b":")[2])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    ]
    while length and len(body) < length[0]:
        body += raw.recv(4096)
    return int(head.split(b" ")[1]), head


def tried(gateway: GatewayProcess, *headers: str) -> int:
    status, _, raw = connect(gateway, *headers)
    raw.close()
    return status


# -- who is proved -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "password"),
    [("anna", ANNA), ("bert", BERT), ("robot", TOKEN)],
    ids=["argon2", "bcrypt", "token"],
)
def test_curl_and_the_openai_sdk_authenticate_with_the_proxys_url(
    gateway: GatewayProcess, lab: Lab, user: str, password: str
) -> None:
    credentials = f"{user}:{password}@"
    assert curl(gateway, f"pxa-curl-{user}", credentials=credentials)[0] == 200
    assert "text" in openai_sdk(gateway, f"pxa-sdk-{user}", credentials=credentials)
    for model in (f"pxa-curl-{user}", f"pxa-sdk-{user}"):
        event = end_of(gateway, model)
        assert (event.principal, event.source) == (user, "proxy")
    sent = [r for r in lab.requests if b"pxa-" in r.body]
    assert sent
    assert not any(name.lower().startswith("proxy-") for r in sent for name, _ in r.headers)


def test_httpx_authenticates_each_connection_of_its_pool(gateway: GatewayProcess) -> None:
    proxy = f"http://anna:{ANNA}@127.0.0.1:{gateway.port}"
    headers = {"content-type": "application/json", "authorization": "Bearer sk-test-EXAMPLE"}
    with httpx.Client(proxy=proxy, verify=context(gateway, None), trust_env=False) as client:
        for model in ("pxa-httpx-a", "pxa-httpx-b"):
            answer = client.post(f"https://{OPENAI}{CHAT}", content=chat(model), headers=headers)
            assert answer.status_code == 200
            assert end_of(gateway, model).principal == "anna"


def test_a_client_that_waits_for_the_challenge_stays_on_its_connection(gateway: GatewayProcess) -> None:
    status, head, raw = connect(gateway)
    assert status == 407
    assert b'proxy-authenticate: Basic realm="sallyport", charset="UTF-8"' in head
    assert reconnect(raw, f"Proxy-Authorization: {basic('anna', ANNA)}")[0] == 200
    with context(gateway, None).wrap_socket(raw, server_hostname=OPENAI) as sock:
        sock.sendall(post(CHAT, chat("pxa-waits"), OPENAI))
        assert rawclient.read_answer(sock).status == 200
    assert end_of(gateway, "pxa-waits").principal == "anna"
    status, said = curl(gateway, "pxa-anyauth", "--proxy-anyauth", credentials=f"anna:{ANNA}@")
    assert (status, "407" in said) == (200, True)


def test_a_bearer_token_proves_its_owner(gateway: GatewayProcess) -> None:
    assert tried(gateway, f"Proxy-Authorization: Bearer {TOKEN}") == 200
    assert tried(gateway, f"Proxy-Authorization: Bearer {TOKEN[:-1]}") == 407


# -- who is refused ------------------------------------------------------------------------------------

WRONG = {
    "no header": ((), "missing"),
    "wrong password": ((basic("anna", BERT),), "failed"),
    "unknown user": ((basic("eve", ANNA),), "failed"),
    "user in other case": ((basic("Anna", ANNA),), "failed"),
    "no password": ((basic("anna", ""),), "failed"),
    "another's token": ((basic("anna", TOKEN),), "failed"),
    "the hash itself": ((basic("robot", hashlib.sha256(TOKEN.encode()).hexdigest()),), "failed"),
    "password with NUL": ((basic("bert", BERT + "\0x"),), "failed"),
    "password beyond what bcrypt reads": ((basic("bert", BERT + "x" * 80),), "failed"),
    "very long": ((basic("anna", "x" * 4000),), "failed"),
    "two headers": ((basic("anna", ANNA), basic("anna", ANNA)), "malformed"),
    "two in one": ((f"{basic('anna', ANNA)}, {basic('anna', ANNA)}",), "malformed"),
    "another scheme": (("Digest username=anna",), "malformed"),
    "no base64": (("Basic %%%",), "malformed"),
    "no colon": (("Basic " + base64.b64encode(b"anna").decode(),), "malformed"),
    "not UTF-8": (("Basic " + base64.b64encode(b"ann\xe9:x").decode(),), "malformed"),
    "empty": (("",), "malformed"),
}


@pytest.mark.parametrize("case", WRONG)
def test_credentials_that_prove_nothing_are_answered_407(gateway: GatewayProcess, case: str) -> None:
    values, outcome = WRONG[case]
    since = so_far(gateway)
    assert tried(gateway, *(f"Proxy-Authorization: {value}" for value in values)) == 407
    await_refusals(gateway, [f"proxy_auth_{outcome}"], since)


def test_the_sdk_and_curl_fail_without_credentials(gateway: GatewayProcess, lab: Lab) -> None:
    assert curl(gateway, "pxa-none")[0] == 0
    assert openai_sdk(gateway, "pxa-none")["error"] == "APIConnectionError"
    assert openai_sdk(gateway, "pxa-none", credentials=f"anna:{BERT}@")["error"] == "APIConnectionError"
    assert not models_seen(lab, "pxa-none")


def test_a_header_inside_the_tunnel_proves_nothing_and_goes_nowhere(
    gateway: GatewayProcess, lab: Lab
) -> None:
    status, _, raw = connect(gateway, f"Proxy-Authorization: {basic('anna', ANNA)}")
    assert status == 200
    with context(gateway, None).wrap_socket(raw, server_hostname=OPENAI) as sock:
        inner = f"Proxy-Authorization: {basic('bert', BERT)}"
        sock.sendall(post(CHAT, chat("pxa-inside"), OPENAI, inner))
        assert rawclient.read_answer(sock).status == 200
    assert end_of(gateway, "pxa-inside").principal == "anna"
    (sent,) = [r for r in lab.requests if b"pxa-inside" in r.body]
    assert "proxy-authorization" not in {name.lower() for name, _ in sent.headers}


def test_no_credentials_are_in_any_file(gateway: GatewayProcess) -> None:
    tried(gateway, f"Proxy-Authorization: {basic('anna', 'mistyped-secret')}")
    encoded = basic("anna", ANNA).removeprefix("Basic ")
    assert_clean(gateway, ANNA, BERT, TOKEN, "mistyped-secret", encoded)


# -- plain HTTP ----------------------------------------------------------------------------------------

PLAIN = """
hosts: {connect_ports: [443, 80]}
"""


class Listener:
    """A plain web server that remembers the heads it got."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            peer, _ = self._socket.accept()
            threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        data = b""
        while piece := peer.recv(65536):
            data += piece
            if data.endswith(b"\r\n\r\n"):
                self.heads.append(data)
                data = b""
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_each_plain_proxy_request_is_authenticated_and_its_header_is_taken_out(
    lab: Lab, tmp_path: Path
) -> None:
    write_users(tmp_path)
    listener = Listener()
    extra = ["--connect-to", f"web.example.com:80:127.0.0.1:{listener.port}"]
    with running(tmp_path, lab, policy=policy(rest=PLAIN), extra=extra) as gateway:
        right = f"Proxy-Authorization: {basic('anna', ANNA)}\r\nProxy-Connection: keep-alive\r\n"

        def ask(sock: socket.socket, more: str) -> rawclient.Talk:
            sock.sendall(
                f"GET http://web.example.com/ HTTP/1.1\r\nHost: web.example.com\r\n{more}\r\n".encode()
            )
            return rawclient.read_answer(sock)

        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
            first = ask(sock, "")
            assert (first.status, b"proxy-authenticate: Basic" in first.head) == (407, True)
            assert ask(sock, right).status == 200
            assert ask(sock, right).status == 200
            assert ask(sock, "").status == 407, "the proof of one request is not that of the next"
        assert len(listener.heads) == 2
        assert not any(b"proxy-" in head.lower() for head in listener.heads)


# -- guessing ------------------------------------------------------------------------------------------


def test_an_address_with_too_many_wrong_guesses_must_wait(lab: Lab, tmp_path: Path) -> None:
    write_users(tmp_path)
    more = ", max_failures: 3, failure_window_s: 2.0"
    with running(tmp_path, lab, policy=policy(more)) as gateway:
        right, wrong = (f"Proxy-Authorization: {basic('anna', p)}" for p in (ANNA, "guess"))
        status, _, kept = connect(gateway)
        assert status == 407
        assert reconnect(kept, right)[0] == 200
        assert [tried(gateway, wrong) for _ in range(5)] == [407, 407, 407, 429, 429]
        assert tried(gateway, right) == 429, "an answer that differs would tell which guess is right"
        with context(gateway, None).wrap_socket(kept, server_hostname=OPENAI) as sock:
            sock.sendall(post(CHAT, chat("pxa-kept"), OPENAI))
            assert rawclient.read_answer(sock).status == 200, "who is proved already is not shut out"
        time.sleep(2.1)
        assert tried(gateway, right) == 200
        limited = [e for e in recorded(gateway.confdir) if e.detail == "proxy_auth_limited"]
        assert len(limited) == 3


def test_guesses_made_all_at_once_are_no_way_around_the_limit(lab: Lab, tmp_path: Path) -> None:
    write_users(tmp_path)
    with running(tmp_path, lab, policy=policy(", max_failures: 3")) as gateway:
        statuses: list[int] = []

        def guess(number: int) -> None:
            statuses.append(tried(gateway, f"Proxy-Authorization: {basic('anna', f'guess-{number}')}"))

        threads = [threading.Thread(target=guess, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert statuses.count(407) <= 3
        assert statuses.count(429) == 20 - statuses.count(407)


# -- changes -------------------------------------------------------------------------------------------


def test_a_user_taken_out_of_the_file_ends_at_the_next_request(lab: Lab, tmp_path: Path) -> None:
    write_users(tmp_path)
    with running(tmp_path, lab, policy=policy()) as gateway:
        status, _, raw = connect(gateway, f"Proxy-Authorization: {basic('anna', ANNA)}")
        assert status == 200
        with context(gateway, None).wrap_socket(raw, server_hostname=OPENAI) as sock:
            sock.sendall(post(CHAT, chat("pxa-gone-before"), OPENAI))
            assert rawclient.read_answer(sock).status == 200
            (tmp_path / "passwords").write_text(f"carla:{CHEAP.hash(ANNA)}\n")
            time.sleep(0.6)  # files are looked at twice a second
            sock.sendall(post(CHAT, chat("pxa-gone-after"), OPENAI))
            talk = rawclient.read_answer(sock)
            assert (talk.status, b"identity.proxy_user_gone" in talk.body) == (403, True)
        assert tried(gateway, f"Proxy-Authorization: {basic('anna', ANNA)}") == 407
        assert tried(gateway, f"Proxy-Authorization: {basic('carla', ANNA)}") == 200
        (tmp_path / "passwords").write_text("carla:plain-text-password\n")
        time.sleep(0.6)
        assert tried(gateway, f"Proxy-Authorization: {basic('carla', ANNA)}") == 200, "the old users stay"
        reported = (EventKind.POLICY_REJECTED, "proxy_users_unreadable")
        eventually(
            lambda: reported in [(e.kind, e.detail) for e in recorded(gateway.confdir)], 5, "it is reported"
        )
        assert_clean(gateway, "plain-text-password")


def test_a_policy_that_begins_to_ask_refuses_tunnels_that_were_opened_before(
    lab: Lab, tmp_path: Path
) -> None:
    write_users(tmp_path)
    with running(tmp_path, lab, policy="version: 1\nidentity: {unknown: anonymous}\n") as gateway:
        _, _, raw = connect(gateway)
        with context(gateway, None).wrap_socket(raw, server_hostname=OPENAI) as sock:
            hup(gateway, policy(), tmp_path / "policy.yaml")
            sock.sendall(post(CHAT, chat("pxa-late"), OPENAI))
            talk = rawclient.read_answer(sock)
            assert (talk.status, b"identity.proxy_auth_missing" in talk.body) == (403, True)


def test_where_it_is_optional_or_observed_nobody_is_proved_without_credentials(
    lab: Lab, tmp_path: Path
) -> None:
    for name, written, wrong in (
        ("opt", policy(", required: false"), 407),
        ("obs", policy(mode="observe"), 200),
    ):
        write_users(tmp_path / name)
        with running(tmp_path / name, lab, policy=written) as gateway:
            assert curl(gateway, f"pxa-{name}-none")[0] == 200
            assert end_of(gateway, f"pxa-{name}-none").principal == "anonymous"
            assert tried(gateway, f"Proxy-Authorization: {basic('anna', BERT)}") == wrong
            assert curl(gateway, f"pxa-{name}-anna", credentials=f"anna:{ANNA}@")[0] == 200
            assert end_of(gateway, f"pxa-{name}-anna").principal == "anna"


WEAK = "anna:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="


@pytest.mark.parametrize(
    "line", [WEAK, "anna:plain", "anna:$apr1$x$y", "anna:$2y$04$" + "a" * 53, "anna", "anna:"]
)
def test_a_weak_hash_is_an_error_that_names_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "passwords").write_text(f"{line}\n")
    with pytest.raises(OperatorError, match=r"passwords:1: "):
        ProxyUsers(tmp_path / "passwords", None)


def test_a_file_with_a_weak_hash_keeps_the_gateway_from_starting(lab: Lab, tmp_path: Path) -> None:
    write_users(tmp_path)
    (tmp_path / "passwords").write_text(f"{WEAK}\n")
    with (
        pytest.raises(RuntimeError, match=r"passwords:1: ") as failed,
        running(tmp_path, lab, policy=policy()),
    ):
        pass
    assert "W6ph5" not in str(failed.value)
