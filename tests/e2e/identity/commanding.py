"""What the tests of approvals and kill switches share: two gateways on one store, commands, real SDKs."""

import contextlib
import json
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from typer.testing import CliRunner

from e2e.counters import HEADER
from e2e.racing import share_identity
from e2e.traffic import running
from gateways import GatewayProcess
from sallyport.cli.main import app
from sallyport.lab.server import Lab

WITHIN_S = 5
"""How long a machine that does other things may take for what takes a second; the measured time is the bench's."""


@contextlib.contextmanager
def pair(folder: Path, lab: Lab | None, url: str, policy: str, **more: Any) -> Iterator[list[GatewayProcess]]:
    """Run two gateways with one store, one authority and one key, each with a folder of its own."""
    with contextlib.ExitStack() as stack:
        gateways: list[GatewayProcess] = []
        for number in range(2):
            own = folder / f"gateway{number}"
            if gateways:
                share_identity(gateways[0].confdir, own / "conf")
            extra = ["--store", url, *more.get("extra", ())]
            started = running(own, lab, policy=policy, extra=extra, to=more.get("to"))
            gateways.append(stack.enter_context(started))
        yield gateways


def sallyport(*words: str, by: str = "bob") -> str:
    """Run a command in this process as an account; raise what it raises."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("approvals", "stop", "operator", "telling"):
            patch.setattr(f"sallyport.cli.{module}.operator", lambda: by)
        done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def requests(url: str, confdir: Path) -> list[dict[str, Any]]:
    """Return what `approvals list --all --json` shows."""
    shown = sallyport("approvals", "list", "--all", "--json", "--store", url, "--confdir", str(confdir))
    return [json.loads(line) for line in shown.splitlines()]


def client(gateway: GatewayProcess, user: str = "", key: str = "sk-test-EXAMPLE") -> openai.OpenAI:
    """Return the vendor's own SDK as somebody; it retries as it does by default."""
    trust = ssl.create_default_context(cafile=str(gateway.confdir / "ca-cert.pem"))
    http = httpx.Client(proxy=f"http://127.0.0.1:{gateway.port}", verify=trust)
    return openai.OpenAI(api_key=key, http_client=http, default_headers={HEADER: user} if user else {})


def said(gateway: GatewayProcess, user: str, model: str, **more: Any) -> str:
    """Ask once as somebody; return "" for an answer, else the reason of the refusal."""
    try:
        client(gateway, user).chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], **more
        )
    except openai.APIStatusError as error:
        return str(error.code)
    return ""


def refusal(gateway: GatewayProcess, user: str, model: str, **more: Any) -> openai.APIStatusError:
    """Ask once as somebody who is refused; return what the SDK raised."""
    with pytest.raises(openai.PermissionDeniedError) as error:
        client(gateway, user).chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], **more
        )
    return error.value


def tool(name: str) -> dict[str, Sequence[dict[str, Any]]]:
    return {"tools": [{"type": "function", "function": {"name": name, "parameters": {}}}]}
