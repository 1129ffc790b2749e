"""Somebody is switched off while an answer is under way: it ends, and that of a colleague goes on."""

import json
from pathlib import Path

import pytest

from e2e.counters import HEADER
from e2e.identity.commanding import WITHIN_S, sallyport
from e2e.traffic import CHAT, OPENAI, Wire, chat, eventually, hang, recorded, running, villain
from rawclient import post
from sallyport.lab.authority import LabCa

POLICY = f"""
version: 1
mode: %s
identity: {{header: {{name: {HEADER}, trusted_peers: [127.0.0.1/32]}}}}
"""
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = {
    "id": "c",
    "object": "chat.completion.chunk",
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": None}],
}
PIECE = b"data: " + json.dumps(EVENT).encode() + b"\n\n"


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_an_answer_in_flight_ends_with_whoever_asked_for_it(mode: str, tmp_path: Path) -> None:
    ca = LabCa(tmp_path / "ca")
    silent = hang(HEAD, b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
    with villain(ca, {"m-ann": silent, "m-bob": silent}) as provider:
        extra = ["--upstream-ca", str(ca.certificate)]
        with running(
            tmp_path, None, policy=POLICY % mode, extra=extra, to={OPENAI: provider.port}
        ) as gateway:
            where = ("--confdir", str(gateway.confdir))
            sallyport("directory", "people", "add", "ann", *where)
            wires = {}
            for user in ("ann", "bob"):
                wires[user] = Wire.open(gateway)
                wires[user].send(post(CHAT, chat(f"m-{user}", stream=True), OPENAI, f"{HEADER}: {user}"))
                wires[user].read_until(b"one")
            sallyport("directory", "people", "change", "ann", "--inactive", *where)
            if mode == "enforce":
                wires["ann"].read_all()
                assert b"identity.inactive_person" in wires["ann"].data
                eventually(lambda: "m-ann" in provider.gone, WITHIN_S, "the provider is let go")
            else:
                sallyport("stop", "model", "m-ann", "--reason", "drill", *where)
                wires["ann"].read_all()
                assert b"access.stopped" in wires["ann"].data, "it was there to be stopped"
            assert "m-bob" not in provider.gone

            def ends() -> dict[str, str]:
                return {e.model: e.detail for e in recorded(gateway.confdir) if e.is_end}

            cause = "identity.inactive_person" if mode == "enforce" else "access.stopped"
            eventually(lambda: ends() == {"m-ann": cause}, WITHIN_S, "its end is recorded, and that alone")
