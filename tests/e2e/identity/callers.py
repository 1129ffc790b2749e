"""Clients that show certificates or proxy credentials, each as its users write it; and what the log says of them."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import rawclient
from e2e.identity.badges import Badge
from e2e.traffic import CHAT, OPENAI, chat, eventually, recorded
from gateways import GatewayProcess
from rawclient import Talk, post
from sallyport.audit.events import Event, EventKind

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def context(
    gateway: GatewayProcess, badge: Badge | None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(gateway.confdir / "ca-cert.pem"))
    if version is not None:
        made.minimum_version = made.maximum_version = version
    if badge is not None:
        made.load_cert_chain(badge.file)
    return made


def call(
    gateway: GatewayProcess,
    badge: Badge | None,
    model: str,
    version: ssl.TLSVersion | None = None,
    *,
    reverse: bool = False,
) -> Talk:
    """Ask once over a connection of its own; status 0 and the alert's name where the handshake fails."""
    try:
        if reverse:
            raw = socket.create_connection(("127.0.0.1", gateway.ports["reverse"]), timeout=10)
        else:
            raw = rawclient.tunnel(gateway.ports["explicit"], OPENAI, timeout=10)
        with context(gateway, badge, version).wrap_socket(raw, server_hostname=OPENAI) as sock:
            sock.sendall(post(CHAT, chat(model), OPENAI))
            data = sock.recv(65536)
            rest = b"" if rawclient.whole(data) else rawclient.read_answer(sock).body
            head, _, body = data.partition(b"\r\n\r\n")
            return Talk(int(head.split(b" ")[1]), head, body + rest)
    except ssl.SSLError as error:
        return Talk(0, b"", b"", str(error.reason))
    except (OSError, ConnectionError) as error:
        return Talk(0, b"", b"", type(error).__name__)


def refused(gateway: GatewayProcess, since: int = 0) -> list[str]:
    """The details of the connections refused after so many."""
    return [e.detail for e in recorded(gateway.confdir) if e.kind is EventKind.CONNECTION_REFUSED][since:]


def so_far(gateway: GatewayProcess) -> int:
    """How many connections were refused, once what earlier tests did is recorded."""
    before = -1
    while before != (now := len(refused(gateway))):
        before = now
        time.sleep(0.25)
    return before


def await_refusals(gateway: GatewayProcess, wanted: Sequence[str], since: int = 0) -> None:
    with contextlib.suppress(AssertionError):
        eventually(lambda: len(refused(gateway, since)) >= len(wanted), 5, "all refusals are recorded")
    assert refused(gateway, since) == list(wanted)


def end_of(gateway: GatewayProcess, model: str) -> Event:
    """The end event of the only exchange of a model's name."""

    def ends() -> list[Event]:
        return [e for e in recorded(gateway.confdir) if e.model == model and e.is_end]

    eventually(ends, 5, f"{model} has ended")
    (event,) = ends()
    return event


def environment(gateway: GatewayProcess, credentials: str = "") -> dict[str, str]:
    """What an unmodified client needs. credentials: user:password@ for the proxy's URL."""
    return gateway.env | {
        "HTTPS_PROXY": f"http://{credentials}127.0.0.1:{gateway.ports['explicit']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def curl(gateway: GatewayProcess, model: str, *options: str, credentials: str = "") -> tuple[int, str]:
    """Ask with curl; the HTTP status (000 if none came) and what it writes about what it does."""
    done = subprocess.run(
        ["curl", "-sv", "-o", os.devnull, "-w", "%{http_code}", "-H", "Content-Type: application/json",
         "-H", "Authorization: Bearer sk-test-EXAMPLE", "-d", chat(model).decode(), *options,
         f"https://{OPENAI}{CHAT}"],
        capture_output=True, text=True, env=environment(gateway, credentials), timeout=30,
    )  # fmt: skip
    return int(done.stdout or 0), done.stderr


_SDK = """
import json, sys, httpx, openai
badge, model = sys.argv[1:]
import ssl, os
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
if badge:
    context.load_cert_chain(badge)
client = openai.OpenAI(api_key="sk-test-EXAMPLE", max_retries=0, http_client=openai.DefaultHttpxClient(verify=context))
try:
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
    print(json.dumps({"text": answer.choices[0].message.content}))
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "code": getattr(error, "code", None)}))
"""


def openai_sdk(
    gateway: GatewayProcess, model: str, badge: Badge | None = None, credentials: str = ""
) -> dict[str, str]:
    """Ask with OpenAI's own SDK, whose HTTP client shows a certificate, as its documentation has it."""
    done = subprocess.run(
        [sys.executable, "-c", _SDK, str(badge.file) if badge else "", model],
        capture_output=True, text=True, env=environment(gateway, credentials), timeout=60, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


_NODE = """
const http = require("http"), tls = require("tls"), fs = require("fs");
const [port, ca, badge, host, path, body] = process.argv.slice(1);
const pem = badge ? fs.readFileSync(badge) : undefined;
http.request({host: "127.0.0.1", port, method: "CONNECT", path: host + ":443"}).on("connect", (_, socket) => {
  const secure = tls.connect({socket, servername: host, ca: fs.readFileSync(ca), cert: pem, key: pem}, () => {
    secure.write(`POST ${path} HTTP/1.1\\r\\nHost: ${host}\\r\\nContent-Type: application/json\\r\\n` +
      `Authorization: Bearer sk-test-EXAMPLE\\r\\nConnection: close\\r\\nContent-Length: ${body.length}\\r\\n\\r\\n${body}`);
  });
  let said = "";
  secure.on("data", (piece) => { said += piece; });
  secure.on("error", (error) => { console.log(error.code); process.exit(0); });
  secure.on("close", () => { console.log(said.split(" ")[1] || "closed"); process.exit(0); });
}).end();
"""


def node(gateway: GatewayProcess, model: str, badge: Badge | None) -> str:
    """Ask with Node's TLS; the status, or the code of its error."""
    done = subprocess.run(
        ["node", "-e", _NODE, str(gateway.ports["explicit"]), str(gateway.confdir / "ca-cert.pem"),
         str(badge.file) if badge else "", OPENAI, CHAT, chat(model).decode()],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def hup(gateway: GatewayProcess, policy: str, file: Path) -> None:
    """Reload with another policy, and wait until it is in force."""
    changed = (EventKind.POLICY_CHANGED, EventKind.POLICY_REJECTED)
    before = sum(e.kind in changed for e in recorded(gateway.confdir))
    file.write_text(policy)
    gateway.signal(1)
    eventually(
        lambda: sum(e.kind in changed for e in recorded(gateway.confdir)) > before, 15, "the reload is done"
    )
    time.sleep(0.05)
