"""One turn over a WebSocket as a client of bytes has it: what it reads, the error it is told, and how it ends."""

from typing import Any

from gateways import GatewayProcess
from socketclient import CREATE, Closed, SocketClient, item

_LAST = ("response.done", "response.completed", "error")


def converse(
    gateway: GatewayProcess, host: str, path: str, model: str, text: str, *, leaves: bool
) -> dict[str, Any]:
    """Return the members of the answer to one text. leaves: the client goes at the first piece of it."""
    named = "deployment" if path == "/openai/realtime" else "model"
    target = f"{path}?{named}={model}" if path.endswith("/realtime") else path
    client = SocketClient.open(gateway.port, gateway.confdir, target, f"api-key: {'a' * 32}", host=host)
    if client.status != 101:
        return {"status": client.status}
    if path.endswith("/realtime"):
        client.say(item(text))
        client.say(CREATE)
    else:
        client.say({"type": "response.create", "model": model, "input": text})
    said, code = "", ""
    while True:
        event = client.hear()
        if isinstance(event, Closed):
            return {"text": said, "status": 101, "code": code, "raised": f"closed {event.code}"}
        said += event["delta"] if event["type"] == "response.output_text.delta" else ""
        if leaves and said:
            client.reset()
            return {"text": said, "status": 101}
        if event["type"] == "error":
            code = str(event["error"]["code"])
        if event["type"] in _LAST and not _ends_soon(code):
            client.close()
            client.until("never")
            return {"text": said, "status": 101, "code": code}


def _ends_soon(code: str) -> bool:
    """Say whether the gateway closes the session behind an error."""
    return code in ("output.refused", "upstream.unreadable", "upstream.broken")
