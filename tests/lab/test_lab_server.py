"""The lab's transport: what it records, what it counts, and how it breaks on demand."""

import asyncio
import json
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from sallyport.errors import OperatorError
from sallyport.lab import Lab, LabCa, read_record

KEY = {"authorization": "Bearer sk-lab"}


def wait_until(fact: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def tls(lab: Lab, name: str = "api.openai.com") -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", lab.port), 10)
    return lab.ca.client_context().wrap_socket(raw, server_hostname=name)


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    while data := connection.recv(65536):
        answer += data
    return answer


def chat(model: str, text: str = "hello", **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def test_a_request_is_recorded_byte_for_byte(lab: Lab) -> None:
    with tls(lab, "files.example.com") as connection:
        connection.sendall(
            b"PUT /a%20b?x=1 HTTP/1.1\r\nHost: Files.Example.com:443\r\nX-Twice: 1\r\nx-twice: 2\r\n"
            b"Content-Length: 3\r\nConnection: close\r\n\r\n\x00\xff\n"
        )
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"Plain text from files.example.com: PUT /a%20b\n")
    seen = lab.requests[0]
    assert (seen.sni, seen.host, seen.path, seen.body) == (
        "files.example.com",
        "files.example.com",
        "/a%20b?x=1",
        b"\x00\xff\n",
    )
    assert seen.headers[1:3] == (("X-Twice", "1"), ("x-twice", "2"))
    assert lab.bytes_received < lab.raw_bytes_received


def test_bytes_of_a_request_that_never_became_whole_are_counted_and_kept(lab: Lab) -> None:
    half = b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 100\r\n\r\nsecret"
    with tls(lab) as connection:
        connection.sendall(half)
        wait_until(lambda: lab.bytes_received == len(half))
        assert lab.requests == []
    wait_until(lambda: lab.connections and lab.connections[0].closed)
    assert lab.connections[0].unfinished == half
    assert lab.connections[0].requests == 0


def test_a_handshake_without_a_request_counts_no_clear_bytes(lab: Lab) -> None:
    tls(lab).close()
    wait_until(lambda: lab.connections and lab.connections[0].closed)
    assert lab.bytes_received == 0
    assert lab.raw_bytes_received > 100
    assert lab.connections[0].sni == "api.openai.com"


def test_a_bare_connection_is_seen_and_counts_nothing(lab: Lab) -> None:
    socket.create_connection(("127.0.0.1", lab.port)).close()
    wait_until(lambda: lab.connections and lab.connections[0].closed)
    assert lab.raw_bytes_received == 0


def test_a_client_that_does_not_trust_the_lab_is_recorded_as_trouble(lab: Lab) -> None:
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        socket.create_connection(("127.0.0.1", lab.port)) as raw,
    ):
        ssl.create_default_context().wrap_socket(raw, server_hostname="api.openai.com")
    wait_until(lambda: lab.connections and lab.connections[0].closed)
    assert "UNKNOWN_CA" in str(lab.connections[0].trouble)


def test_clear_http_is_served_on_the_same_port(lab: Lab) -> None:
    answer = httpx2.get(
        f"http://127.0.0.1:{lab.port}/x", headers={"host": "files.example.com"}, trust_env=False
    )
    assert answer.text == "Plain text from files.example.com: GET /x\n"
    assert not lab.connections[0].tls


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100_000])
def test_any_cutting_of_the_bytes_gives_the_same_requests(lab: Lab, size: int) -> None:
    first = b"POST /one HTTP/1.1\r\nHost: files.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
    first += b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"
    second = b"GET /two HTTP/1.1\r\nHost: files.example.com\r\nConnection: close\r\n\r\n"
    both = first + second
    with socket.create_connection(("127.0.0.1", lab.port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(both), size):
            connection.sendall(both[start : start + size])
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 2
    assert [(seen.path, seen.body) for seen in lab.requests] == [("/one", b"abcde"), ("/two", b"")]


def test_expect_continue_is_answered_before_the_body(lab: Lab) -> None:
    with socket.create_connection(("127.0.0.1", lab.port), 10) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: files.example.com\r\nContent-Length: 2\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi")
        assert b"200 OK" in read_all(connection)


@pytest.mark.parametrize(
    "rubbish", [b"\x00\x01\x02\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"]
)
def test_rubbish_ends_the_connection_and_leaves_the_lab_alive(lab: Lab, rubbish: bytes) -> None:
    with socket.create_connection(("127.0.0.1", lab.port), 10) as connection:
        connection.sendall(rubbish)
        wait_until(lambda: lab.connections and lab.connections[0].closed)
    assert lab.connections[0].trouble
    assert lab.requests == []
    assert (
        httpx2.get(f"http://127.0.0.1:{lab.port}/", headers={"host": "files.example.com"}).status_code == 200
    )


def test_request_bodies_are_understood_under_every_content_coding(lab: Lab) -> None:
    import zlib

    import brotli  # type: ignore[import-untyped]
    import zstandard

    body = json.dumps(chat("gpt-lab", "packed")).encode()
    codings = {
        "gzip": zlib.compress(body, wbits=31),
        "deflate": zlib.compress(body),
        "br": brotli.compress(body),
        "zstd": zstandard.compress(body),
        "gzip, br": brotli.compress(zlib.compress(body, wbits=31)),
    }
    for coding, packed in codings.items():
        answer = httpx2.post(
            f"http://127.0.0.1:{lab.port}/v1/chat/completions",
            headers={**KEY, "host": "api.openai.com", "content-encoding": coding},
            content=packed,
        )
        assert answer.json()["choices"][0]["message"]["content"] == "You wrote: packed", coding
        assert lab.requests[-1].body == packed
        assert lab.requests[-1].json() == json.loads(body)


def post(lab: Lab, body: dict[str, object], **more: object) -> httpx2.Response:
    return httpx2.post(
        f"http://127.0.0.1:{lab.port}/v1/chat/completions",
        headers={**KEY, "host": "api.openai.com"},
        json=body,
        trust_env=False,
        **more,  # type: ignore[arg-type]
    )


def test_reset_closes_without_an_answer_and_hang_never_answers(lab: Lab) -> None:
    with pytest.raises(httpx2.TransportError):
        post(lab, chat("gpt-reset"))
    with pytest.raises(httpx2.ReadTimeout):
        post(lab, chat("gpt-hang"), timeout=0.3)
    assert len(lab.requests) == 2


def test_slow_waits_before_every_piece(lab: Lab) -> None:
    started = time.monotonic()
    with httpx2.stream(
        "POST",
        f"http://127.0.0.1:{lab.port}/v1/chat/completions",
        headers={**KEY, "host": "api.openai.com"},
        json=chat("gpt-slow-40", stream=True),
    ) as answer:
        arrivals = [time.monotonic() - started for _ in answer.iter_raw()]
    assert len(arrivals) >= 5
    assert arrivals[-1] - arrivals[0] > 0.1


def test_a_cut_answer_ends_before_its_declared_length(lab: Lab) -> None:
    with pytest.raises(httpx2.TransportError):
        post(lab, chat("gpt-cut"))


def test_a_gemini_stream_without_sse_is_one_json_array(lab: Lab) -> None:
    answer = httpx2.post(
        f"http://127.0.0.1:{lab.port}/v1beta/models/gemini-lab:streamGenerateContent?key=AIza-lab",
        headers={"host": "generativelanguage.googleapis.com"},
        json={"contents": [{"parts": [{"text": "hello"}]}]},
    )
    parts = [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in answer.json()]
    assert "".join(parts) == "You wrote: hello"
    assert answer.headers["content-type"].startswith("application/json")


def test_other_hosts_speak_openai_on_its_paths_and_plain_text_elsewhere(lab: Lab) -> None:
    base = f"http://127.0.0.1:{lab.port}"
    compatible = httpx2.post(
        f"{base}/v1/chat/completions", headers={**KEY, "host": "api.mistral.ai"}, json=chat("m")
    ).json()
    assert compatible["choices"][0]["message"]["content"] == "You wrote: hello"
    plain = httpx2.post(f"{base}/v1/chat/completions", headers={"host": "evil.example.com"}, json=chat("m"))
    assert plain.headers["content-type"].startswith("text/plain")


def test_echo_all_and_say_choose_the_text(lab: Lab) -> None:
    messages = [{"role": "system", "content": "one"}, {"role": "user", "content": "two"}]
    all_of_it = post(lab, {"model": "echo-all", "messages": messages}).json()["choices"][0]["message"][
        "content"
    ]
    assert {"one", "two"} <= set(all_of_it.splitlines())
    said = post(lab, chat("say-Good_morning.")).json()
    assert said["choices"][0]["message"]["content"] == "Good morning."


@pytest.mark.parametrize("fault", ["expired", "wrong-name", "self-signed"])
def test_bad_certificates_on_demand(fault: str) -> None:
    with (
        Lab(hosts=("127.0.0.1",), fault=fault).in_thread() as bad,
        pytest.raises(ssl.SSLCertVerificationError),
    ):  # type: ignore[arg-type]
        tls(bad)


def test_the_leaf_is_strictly_valid_for_any_name_and_for_loopback(lab: Lab) -> None:
    for name in ("api.openai.com", "anything.at.all.example", "localhost", "127.0.0.1"):
        context = lab.ca.client_context()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        with (
            socket.create_connection(("127.0.0.1", lab.port), 10) as raw,
            context.wrap_socket(raw, server_hostname=name) as connection,
        ):
            assert connection.version() == "TLSv1.3"


def test_the_authority_of_a_folder_is_kept_and_its_key_is_private(tmp_path: Path) -> None:
    first = LabCa(tmp_path / "lab")
    pem = first.certificate.read_bytes()
    assert LabCa(tmp_path / "lab").certificate.read_bytes() == pem
    assert stat.S_IMODE((tmp_path / "lab" / "lab-ca-key.pem").stat().st_mode) == 0o600
    (tmp_path / "lab" / "lab-ca-key.pem").write_text("broken")
    assert LabCa(tmp_path / "lab").certificate.read_bytes() != pem


def test_the_record_is_private_and_tells_another_process_what_was_seen(tmp_path: Path) -> None:
    file = tmp_path / "upstream_saw.jsonl"
    assert read_record(file) == []
    with Lab(hosts=("127.0.0.1",), record=file).in_thread() as lab:
        post(lab, chat("gpt-lab", "Übergröße"))
        httpx2.post(f"http://127.0.0.1:{lab.port}/", headers={"host": "files.example.com"}, content=b"\xff")
        assert read_record(file) == lab.requests
        assert read_record(file)[1].body == b"\xff"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert [
        event["event"] for event in events if event["connection" if "connection" in event else "id"] == 1
    ] == [
        "opened",
        "request",
        "closed",
    ]


def test_forget_starts_counting_anew(lab: Lab) -> None:
    post(lab, chat("gpt-lab"))
    lab.forget()
    assert (lab.requests, lab.connections, lab.raw_bytes_received) == ([], [], 0)


def test_many_at_once_are_answered_each_with_its_own_text(lab: Lab) -> None:
    async def ask_all() -> list[str]:
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{lab.port}", headers={**KEY, "host": "api.openai.com"}
        ) as client:
            answers = await asyncio.gather(
                *(client.post("/v1/chat/completions", json=chat("gpt-lab", f"number {n}")) for n in range(50))
            )
        return [answer.json()["choices"][0]["message"]["content"] for answer in answers]

    assert asyncio.run(ask_all()) == [f"You wrote: number {n}" for n in range(50)]
    assert len(lab.requests) == 50


async def test_both_address_families_share_one_port() -> None:
    async with Lab() as lab:
        assert {address.port for address in lab.addresses} == {lab.port}
        for host in [address.host for address in lab.addresses]:
            reader, writer = await asyncio.open_connection(
                host, lab.port, ssl=lab.ca.client_context(), server_hostname="files.example.com"
            )
            writer.write(b"GET / HTTP/1.1\r\nHost: files.example.com\r\nConnection: close\r\n\r\n")
            assert b"Plain text" in await reader.read()
            writer.close()
        assert len(lab.requests) == len(lab.addresses)


async def test_stopping_ends_open_connections_and_frees_the_port() -> None:
    lab = Lab(hosts=("127.0.0.1",))
    await lab.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
    await lab.stop()
    assert await reader.read() == b""
    writer.close()
    again = Lab(hosts=("127.0.0.1",), port=lab.port)
    await again.start()
    await again.stop()
    assert not lab.ca.certificate.exists()


def test_a_taken_port_is_said_plainly(lab: Lab) -> None:
    with (
        pytest.raises(OperatorError, match="cannot listen"),
        Lab(hosts=("127.0.0.1",), port=lab.port).in_thread(),
    ):
        pass


def test_the_module_runs_alone_and_prints_where_it_is(tmp_path: Path) -> None:
    record = tmp_path / "saw.jsonl"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "sallyport.lab",
            "--json",
            "--record",
            str(record),
            "--dir",
            str(tmp_path / "lab"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        context = ssl.create_default_context(cafile=said["ca"])
        with (
            socket.create_connection(("127.0.0.1", said["port"]), 10) as raw,
            context.wrap_socket(raw, server_hostname="api.openai.com") as connection,
        ):
            connection.sendall(
                b"GET /v1/models HTTP/1.0\r\nHost: api.openai.com\r\nAuthorization: Bearer k\r\n\r\n"
            )
            assert b"gpt-lab" in read_all(connection)
        assert [seen.path for seen in read_record(record)] == ["/v1/models"]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        if process.stdout:
            process.stdout.close()
