"""Gateways with gateway keys: commands as an operator gives them, and clients as their users write them."""

import json
import os
import random
import re
import ssl
import string
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

from e2e.traffic import CHAT, OPENAI, chat
from gateways import GatewayProcess
from sallyport.cli.main import app
from sallyport.lab.record import SeenRequest
from sallyport.lab.server import Lab

_REASON = re.compile(rb"(?:identity|access|credentials|secrets|transport|wire)\.[a-z_]+")
_LETTERS = string.ascii_letters + string.digits


def invented(prefix: str, chars: int = 60, suffix: str = "") -> str:
    """Return a credential as a provider would issue it, made now."""
    return prefix + "".join(random.SystemRandom().choice(_LETTERS) for _ in range(chars)) + suffix


@dataclass
class Said:
    """status: 0 where there was no answer. code: id of the gateway's refusal, "" where it gave none."""

    status: int
    body: bytes
    headers: httpx.Headers = field(default_factory=httpx.Headers)

    @property
    def code(self) -> str:
        found = _REASON.search(self.body)
        return found[0].decode() if found else ""


class Office:
    """The command line of one gateway's operator."""

    def __init__(self, confdir: Path) -> None:
        self.confdir = confdir

    def run(self, *words: str, typed: str | None = None, env: dict[str, str] | None = None) -> str:
        """Run a command; raise what it raises. Returns standard output."""
        words = (*words, "--confdir", str(self.confdir))
        ran = CliRunner().invoke(app, words, input=typed, env=env)
        if ran.exception is not None and not isinstance(ran.exception, SystemExit):
            raise ran.exception
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    def issue(self, provider: str, owner: str, *words: str) -> tuple[str, str]:
        """Return a new gateway key and its id."""
        out = self.run("keys", "issue", "--provider", provider, "--owner", owner, "--json", *words)
        made = json.loads(out)
        return made["key"], made["id"]

    def listed(self, *words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("keys", "list", "--json", *words).splitlines()]


def client(gateway: GatewayProcess, *, http2: bool = False) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(gateway.confdir / "ca-cert.pem"))
    proxy = f"http://127.0.0.1:{gateway.port}"
    return httpx.Client(proxy=proxy, verify=context, http2=http2, timeout=20, trust_env=False)


def ask_with(
    gateway: GatewayProcess,
    model: str,
    headers: dict[str, str],
    *,
    host: str = OPENAI,
    path: str = CHAT,
    http2: bool = False,
    body: bytes | None = None,
    **more: object,
) -> Said:
    with client(gateway, http2=http2) as asking:
        head = {"content-type": "application/json", **headers}
        got = asking.post(f"https://{host}{path}", headers=head, content=body or chat(model, **more))
        return Said(got.status_code, got.content, got.headers)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def until(holds: Callable[[], Said], wanted: Callable[[Said], bool], within_s: float = 5) -> Said:
    """Ask until the answer is as wanted: the directory is read four times a second."""
    deadline = time.monotonic() + within_s
    while True:
        said = holds()
        if wanted(said) or time.monotonic() > deadline:
            return said
        time.sleep(0.1)


def arrived(lab: Lab, model: str) -> list[SeenRequest]:
    """Return what reached the stand-in providers under a model's name."""
    return [r for r in list(lab.requests) if model.encode() in r.decoded or model in r.path]


def everything_in(request: SeenRequest) -> bytes:
    return b"\n".join(
        [request.path.encode(), *(f"{k}: {v}".encode() for k, v in request.headers), request.body]
    )


def files_of(gateway: GatewayProcess) -> Sequence[Path]:
    """Return every file a gateway keeps, its log among them."""
    return [gateway.log, *(f for f in gateway.confdir.rglob("*") if f.is_file())]


def private(path: Path, text: str) -> Path:
    """Write a file only its owner can read, in one step as an operator's tool does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    os.replace(fresh, path)
    return path
