"""Programs of users: each call of an SDK as its manual shows it. Nothing here knows of a gateway.

usage: python clients.py CALL MODEL TEXT, which prints what it got, or what was raised, as one JSON line.
Keys, proxy and trust come from the environment, as always. For `fetch` MODEL is a URL, for the last three
an address.
"""

import http.client
import json
import socket
import ssl
import sys
import urllib.parse
import urllib.request
from typing import Any

_MAIL: dict[str, object] = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "body": {"type": "string"}},
}
_WAIT_S = 1.5


def openai_chat(model: str, text: str) -> dict[str, Any]:
    import openai

    answer = openai.OpenAI().chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}]
    )
    return {"got": answer.choices[0].message.content}


def openai_stream(model: str, text: str) -> dict[str, Any]:
    import openai

    chunks = openai.OpenAI().chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], stream=True
    )
    return _joined([chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices])


def openai_tool(model: str, text: str) -> dict[str, Any]:
    import openai

    answer: Any = openai.OpenAI().chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": text}],
        tools=[{"type": "function", "function": {"name": "send_mail", "parameters": _MAIL}}],
    )
    return {"got": answer.choices[0].message.tool_calls[0].function.arguments}


def openai_new_endpoint(model: str, text: str) -> dict[str, Any]:
    import openai

    body = {"model": model, "prompt": text}
    return {"got": str(openai.OpenAI().post("/telepathy/sessions", body=body, cast_to=object))}


def anthropic_chat(model: str, text: str) -> dict[str, Any]:
    import anthropic

    answer = anthropic.Anthropic().messages.create(
        model=model, max_tokens=200, messages=[{"role": "user", "content": text}]
    )
    return {"got": "".join(block.text for block in answer.content if block.type == "text")}


def anthropic_stream(model: str, text: str) -> dict[str, Any]:
    import anthropic

    with anthropic.Anthropic().messages.stream(
        model=model, max_tokens=200, messages=[{"role": "user", "content": text}]
    ) as stream:
        return _joined(list(stream.text_stream))


def anthropic_tool_result(model: str, text: str) -> dict[str, Any]:
    import anthropic

    answer = anthropic.Anthropic().messages.create(
        model=model,
        max_tokens=200,
        tools=[{"name": "read_ticket", "input_schema": {"type": "object", "properties": {}}}],
        messages=[
            {"role": "user", "content": "Summarise the newest ticket."},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "toolu_1", "name": "read_ticket", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": text}],
            },
        ],
    )
    return {"got": "".join(block.text for block in answer.content if block.type == "text")}


def gemini_stream(model: str, text: str) -> dict[str, Any]:
    from google import genai

    client = genai.Client()  # kept, as the SDK closes the connections of a client that nobody holds
    chunks = client.models.generate_content_stream(model=model, contents=text)
    return _joined([chunk.text or "" for chunk in chunks])


def fetch(url: str, _: str) -> dict[str, Any]:
    """Get a page with the standard library, and say who signed the certificate that came with it."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.parse.urlsplit(urllib.request.getproxies().get("https", ""))
    context = ssl.create_default_context()
    host = parts.hostname or ""
    if proxy.hostname:
        connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=context, timeout=10)
        connection.set_tunnel(host, 443)
    else:
        connection = http.client.HTTPSConnection(host, 443, context=context, timeout=10)
    connection.connect()
    assert isinstance(connection.sock, ssl.SSLSocket)
    issuer: Any = (connection.sock.getpeercert() or {}).get("issuer", ())
    connection.request("GET", parts.path)
    text = connection.getresponse().read().decode()
    connection.close()
    names = {key: value for part in issuer for key, value in part}
    return {"got": text, "issuer": names.get("commonName", "")}


def datagram(address: str, port: str) -> dict[str, Any]:
    """Start QUIC as far as it matters here: one datagram to UDP 443."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(_WAIT_S)
        endpoint.connect((address, int(port)))
        endpoint.send(b"\xc0" + bytes(1199))
        endpoint.recv(100)
    return {"got": "an answer"}


def dial(address: str, port: str) -> dict[str, Any]:
    """Open a plain TCP connection to an address."""
    with socket.create_connection((address, int(port)), timeout=_WAIT_S):
        return {"got": "a connection"}


def nameless_tls(address: str, port: str) -> dict[str, Any]:
    """Open TLS to an address itself, without naming a host."""
    context = ssl.create_default_context()
    context.check_hostname = False
    with (
        socket.create_connection((address, int(port)), timeout=10) as raw,
        context.wrap_socket(raw) as connection,
    ):
        return {"got": f"a {connection.version()} connection"}


CALLS = {
    call.__name__: call
    for call in (
        openai_chat,
        openai_stream,
        openai_tool,
        openai_new_endpoint,
        anthropic_chat,
        anthropic_stream,
        anthropic_tool_result,
        gemini_stream,
        fetch,
        datagram,
        dial,
        nameless_tls,
    )
}


def _joined(pieces: list[str]) -> dict[str, Any]:
    return {"got": "".join(pieces), "pieces": len(pieces)}


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def main() -> None:
    call, model, text = sys.argv[1:4]
    try:
        answer = CALLS[call](model, text)
    except Exception as error:  # whatever a user's program would see is what the demo shows
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        answer = {
            "raised": type(error).__name__,
            "status": status if isinstance(status, int) else None,
            "message": str(error),
        }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
