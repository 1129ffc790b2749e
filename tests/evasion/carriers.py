"""Places of a request that can hold a text, and ways to spell the bytes of a body."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import brotli
import zstandard

OPENAI, ANTHROPIC, GEMINI = "api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com"
CHAT, RESPONSES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/completions"
EMBEDDINGS, MESSAGES = "/v1/embeddings", "/v1/messages"
GENERATE = "/v1beta/models/gemini-2.5-flash:generateContent"


@dataclass(frozen=True)
class Call:
    """One request as bytes. headers: beside host, key, type and length; kind: the Content-Type, None for none."""

    host: str
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    kind: str | None = "application/json"
    method: str = "POST"

    def wire(self) -> bytes:
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            f"Host: {self.host}",
            "Authorization: Bearer sk-test-EXAMPLE",
        ]
        if self.kind is not None:
            lines.append(f"Content-Type: {self.kind}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join([*lines, "", ""])).encode("utf-8") + self.body


@dataclass(frozen=True)
class Carrier:
    """Puts a text into a request. row: of the report. flat: the place takes one line of ASCII only."""

    name: str
    row: str
    put: Callable[[str], Call]
    flat: bool = False
    tier: int = 1
    override: bool = True
    tags: frozenset[str] = field(default_factory=frozenset)


def dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def chat(*messages: Any, **members: Any) -> Call:
    return Call(OPENAI, CHAT, dump({"model": "gpt-5", "messages": list(messages), **members}))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


HELLO = user("Hello there")


def _tool_call(arguments: str) -> dict[str, Any]:
    call = {"id": "call_a", "type": "function", "function": {"name": "save", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _tool(**members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "save", **members}}


def _nested(text: str, depth: int) -> Any:
    value: Any = text
    for _ in range(depth):
        value = {"a": [value]}
    return value


def _anthropic(**members: Any) -> Call:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [user("Hello there")], **members}
    return Call(ANTHROPIC, MESSAGES, dump(body), (("anthropic-version", "2023-06-01"),))


def _gemini(**members: Any) -> Call:
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}], **members}
    return Call(GEMINI, GENERATE, dump(body))


def _parts(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "parts": list(parts)}]


def plain() -> Carrier:
    return Carrier("user", "prompt", lambda t: chat(user(t)))


def texts() -> Iterator[Carrier]:
    """Yield every place of the dialects in which a text is a text."""
    row = "places of the body"
    places: dict[str, Callable[[str], Call]] = {
        "part": lambda t: chat(user([{"type": "text", "text": t}])),
        "second-part": lambda t: chat(user([{"type": "text", "text": "Look:"}, {"type": "text", "text": t}])),
        "tool-result": lambda t: chat(HELLO, _tool_call("{}"), {"role": "tool", "tool_call_id": "call_a", "content": t}),
        "late-message": lambda t: chat(*[HELLO] * 40, user(t)),
        "long-before": lambda t: chat(user("word " * 3000 + t)),
        "long-after": lambda t: chat(user(t + " word" * 3000)),
        "old-function": lambda t: chat(HELLO, {"role": "function", "name": "save", "content": t}),
        "unknown-role": lambda t: chat(HELLO, {"role": "moderator", "content": t}),
        "unknown-part": lambda t: chat(user([{"type": "note", "note": t}])),
        "unknown-member": lambda t: chat(HELLO, extra_body={"note": t}),
        "unknown-list": lambda t: chat(HELLO, notes=["a", t]),
        "deep-20": lambda t: chat(HELLO, extra=_nested(t, 20)),
        "deep-60": lambda t: chat(HELLO, extra=_nested(t, 60)),
        "metadata": lambda t: chat(HELLO, metadata={"note": t}),
        "stop": lambda t: chat(HELLO, stop=[t]),
        "response-format": lambda t: chat(
            HELLO, response_format={"type": "json_schema", "json_schema": {"name": "n", "description": t}}
        ),
        "tool-description": lambda t: chat(HELLO, tools=[_tool(description=t)]),
        "tool-enum": lambda t: chat(HELLO, tools=[_tool(parameters={"properties": {"p": {"enum": [t]}}})]),
        "tool-default": lambda t: chat(HELLO, tools=[_tool(parameters={"properties": {"p": {"default": t}}})]),
        "responses-input": lambda t: Call(OPENAI, RESPONSES, dump({"model": "gpt-5", "input": t})),
        "responses-item": lambda t: Call(
            OPENAI, RESPONSES, dump({"model": "gpt-5", "input": [user([{"type": "input_text", "text": t}])]})
        ),
        "responses-tool-output": lambda t: Call(
            OPENAI,
            RESPONSES,
            dump({"model": "gpt-5", "input": [{"type": "function_call_output", "call_id": "c", "output": t}]}),
        ),
        "completion-prompt": lambda t: Call(OPENAI, COMPLETIONS, dump({"model": "davinci", "prompt": t})),
        "completion-prompts": lambda t: Call(OPENAI, COMPLETIONS, dump({"model": "davinci", "prompt": ["a", t]})),
        "embedding": lambda t: Call(OPENAI, EMBEDDINGS, dump({"model": "text-embedding-3-small", "input": t})),
        "embeddings": lambda t: Call(
            OPENAI, EMBEDDINGS, dump({"model": "text-embedding-3-small", "input": ["a", t]})
        ),
        "anthropic-text": lambda t: _anthropic(messages=[user(t)]),
        "anthropic-block": lambda t: _anthropic(messages=[user([{"type": "text", "text": t}])]),
        "anthropic-tool-result": lambda t: _anthropic(
            messages=[user([{"type": "tool_result", "tool_use_id": "t", "content": t}])]
        ),
        "anthropic-tool-result-block": lambda t: _anthropic(
            messages=[
                user([{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": t}]}])
            ]
        ),
        "anthropic-tool-description": lambda t: _anthropic(
            tools=[{"name": "save", "description": t, "input_schema": {"type": "object"}}]
        ),
        "gemini-text": lambda t: _gemini(contents=_parts({"text": t})),
        "gemini-function-response": lambda t: _gemini(
            contents=_parts({"functionResponse": {"name": "save", "response": {"note": t}}})
        ),
        "gemini-tool": lambda t: _gemini(tools=[{"functionDeclarations": [{"name": "save", "description": t}]}]),
    }  # fmt: skip
    for name, put in places.items():
        yield Carrier(name, row, put)
    quiet: dict[str, Callable[[str], Call]] = {
        "system": lambda t: chat({"role": "system", "content": t}, HELLO),
        "developer": lambda t: chat({"role": "developer", "content": t}, HELLO),
        "assistant": lambda t: chat(HELLO, {"role": "assistant", "content": t}, HELLO),
        "user-name": lambda t: chat({"role": "user", "name": t, "content": "Hello"}),
        "tool-argument": lambda t: chat(HELLO, _tool_call(json.dumps({"note": t}, ensure_ascii=False))),
        "tool-argument-escaped": lambda t: chat(HELLO, _tool_call(json.dumps({"note": t}))),
        "tool-argument-key": lambda t: chat(HELLO, _tool_call(json.dumps({t: 1}, ensure_ascii=False))),
        "tool-argument-inner": lambda t: chat(
            HELLO, _tool_call(json.dumps({"note": json.dumps({"a": [t]})}, ensure_ascii=False))
        ),
        "responses-instructions": lambda t: Call(
            OPENAI, RESPONSES, dump({"model": "gpt-5", "instructions": t, "input": "Hello"})
        ),
        "responses-arguments": lambda t: Call(
            OPENAI,
            RESPONSES,
            dump(
                {"model": "gpt-5", "input": [
                    {"type": "function_call", "call_id": "c", "name": "save", "arguments": json.dumps({"n": t})}]}
            ),
        ),
        "anthropic-system": lambda t: _anthropic(system=t),
        "anthropic-system-block": lambda t: _anthropic(system=[{"type": "text", "text": t}]),
        "anthropic-tool-input": lambda t: _anthropic(
            messages=[
                user("Hello"),
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "save", "input": {"n": t}}]},
                user([{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]),
            ]
        ),
        "anthropic-tool-input-key": lambda t: _anthropic(
            messages=[
                user("Hello"),
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "save", "input": {t: 1}}]},
                user([{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]),
            ]
        ),
        "anthropic-thinking": lambda t: _anthropic(
            messages=[
                user("Hello"),
                {"role": "assistant", "content": [{"type": "thinking", "thinking": t, "signature": "AAAA"}]},
                user("Go on"),
            ]
        ),
        "gemini-system": lambda t: _gemini(systemInstruction={"parts": [{"text": t}]}),
        "gemini-function-call": lambda t: _gemini(
            contents=[
                {"role": "user", "parts": [{"text": "Hello"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "save", "args": {"note": t}}}]},
            ]
        ),
        "gemini-model": lambda t: _gemini(
            contents=[
                {"role": "user", "parts": [{"text": "Hello"}]},
                {"role": "model", "parts": [{"text": t}]},
                {"role": "user", "parts": [{"text": "Hello"}]},
            ]
        ),
    }  # fmt: skip
    for name, put in quiet.items():
        yield Carrier(name, row, put, override=False)
    keys: dict[str, Callable[[str], Call]] = {
        "key": lambda t: chat(HELLO, **{t: 1}),
        "deep-key": lambda t: chat(HELLO, extra={"a": {"b": {t: [1]}}}),
        "metadata-key": lambda t: chat(HELLO, metadata={t: "x"}),
        "tool-property": lambda t: chat(
            HELLO, tools=[_tool(parameters={"properties": {t: {"type": "string"}}})]
        ),
        "logit-bias": lambda t: chat(HELLO, logit_bias={t: 1}),
        "message-key": lambda t: chat({"role": "user", "content": "Hello", t: "x"}),
    }
    for name, put in keys.items():
        yield Carrier(name, "member names", put)


def outside() -> Iterator[Carrier]:
    """Yield places outside the body."""
    body = chat(HELLO).body

    def header(name: str) -> Callable[[str], Call]:
        return lambda t: Call(OPENAI, CHAT, body, ((name, t),))

    row = "query, path, headers, cookies"
    names = (
        "X-Note", "User-Agent", "Cookie", "Referer", "Origin", "X-Stainless-Lang", "OpenAI-Organization",
        "OpenAI-Project", "Accept", "Accept-Language", "Accept-Encoding", "Cache-Control", "Pragma", "TE",
        "Connection", "If-None-Match", "Range", "X-Request-Id", "Idempotency-Key", "X-Forwarded-For", "Via",
        "Keep-Alive", "Content-Language", "Proxy-Authorization", "Trailer", "Expect", "Warning", "Date",
        "OpenAI-Beta", "X-Api-Key", "Api-Key",
    )  # fmt: skip
    for name in names:
        yield Carrier(f"header-{name.lower()}", row, header(name), flat=True)
    yield Carrier(
        "header-name", row, lambda t: Call(OPENAI, CHAT, body, ((t.replace(" ", "-"), "1"),)), flat=True
    )
    yield Carrier(
        "content-type",
        row,
        lambda t: Call(OPENAI, CHAT, body, (), f'application/json; note="{t}"'),
        flat=True,
    )
    yield Carrier(
        "boundary", row, lambda t: Call(OPENAI, CHAT, body, (), f'application/json;charset="{t}"'), flat=True
    )

    def escaped(t: str) -> str:
        return "".join(f"%{b:02X}" if not chr(b).isalnum() else chr(b) for b in t.encode())

    targets: dict[str, Callable[[str], Call]] = {
        "query": lambda t: Call(OPENAI, f"{CHAT}?note={escaped(t)}", body),
        "query-key": lambda t: Call(OPENAI, f"{CHAT}?{escaped(t)}=1", body),
        "query-known": lambda t: Call(OPENAI, f"{CHAT}?api-version={escaped(t)}", body),
        "query-gemini": lambda t: Call(GEMINI, f"{GENERATE}?alt=sse&note={escaped(t)}", _gemini().body),
        "query-gemini-fields": lambda t: Call(GEMINI, f"{GENERATE}?$fields={escaped(t)}", _gemini().body),
        "query-anthropic": lambda t: Call(ANTHROPIC, f"{MESSAGES}?beta={escaped(t)}", _anthropic().body),
        "path-model": lambda t: Call(
            GEMINI, f"/v1beta/models/{escaped(t)}:generateContent", _gemini().body
        ),
        "path-unknown": lambda t: Call(OPENAI, f"/v1/{escaped(t)}", body),
        "path-parameter": lambda t: Call(OPENAI, f"{CHAT};note={escaped(t)}", body),
        "fragment": lambda t: Call(OPENAI, f"{CHAT}#{escaped(t)}", body),
        "get-model": lambda t: Call(OPENAI, f"/v1/models/{escaped(t)}", b"", (), None, "GET"),
        "get-with-body": lambda t: Call(OPENAI, "/v1/models", dump({"note": t}), method="GET"),
    }  # fmt: skip
    for name, put in targets.items():
        yield Carrier(name, row, put)
    yield Carrier("model", row, lambda t: Call(OPENAI, CHAT, dump({"model": t, "messages": [HELLO]})))


def _chat_text(t: str) -> bytes:
    return chat(user(t)).body


def _compressed() -> Iterator[tuple[str, Callable[[str], Call]]]:
    def coded(code: Callable[[bytes], bytes], *names: str) -> Callable[[str], Call]:
        headers = tuple(("Content-Encoding", name) for name in names)
        return lambda t: Call(OPENAI, CHAT, code(_chat_text(t)), headers)

    def zipped(data: bytes) -> bytes:
        return gzip.compress(data, mtime=0)

    def raw(data: bytes) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(data) + packer.flush()

    def zstd(data: bytes) -> bytes:
        return zstandard.ZstdCompressor().compress(data)

    def same(data: bytes) -> bytes:
        return data

    clean = _chat_text("Hello")
    yield "gzip", coded(zipped, "gzip")
    yield "gzip-upper", coded(zipped, "GZIP")
    yield "deflate-zlib", coded(zlib.compress, "deflate")
    yield "deflate-raw", coded(raw, "deflate")
    yield "br", coded(brotli.compress, "br")
    yield "zstd", coded(zstd, "zstd")
    yield "identity", coded(same, "identity")
    yield "gzip-twice", coded(lambda d: zipped(zipped(d)), "gzip, gzip")
    yield "gzip-twice-said-once", coded(lambda d: zipped(zipped(d)), "gzip")
    yield "stacked", coded(lambda d: brotli.compress(zipped(d)), "gzip, br")
    yield "two-headers", coded(lambda d: brotli.compress(zipped(d)), "gzip", "br")
    yield "x-gzip", coded(zipped, "x-gzip")
    yield "unknown", coded(same, "rot13")
    yield "identity-plus", coded(zipped, "identity, gzip")
    yield "lying-gzip", coded(same, "gzip")
    yield "lying-br", coded(zipped, "br")
    yield "unlabelled-gzip", coded(zipped)
    yield "unlabelled-zstd", coded(zstd)
    yield "unlabelled-deflate", coded(zlib.compress)
    yield "unlabelled-br", coded(brotli.compress)
    yield "second-member", coded(lambda d: zipped(clean) + zipped(d), "gzip")
    yield "second-member-empty-first", coded(lambda d: zipped(b"") + zipped(d), "gzip")
    yield "trailing-bytes", coded(lambda d: zipped(clean) + d, "gzip")
    yield "second-frame", coded(lambda d: zstd(clean) + zstd(d), "zstd")
    yield (
        "skippable-frame",
        coded(lambda d: b"\x50\x2a\x4d\x18" + len(d).to_bytes(4, "little") + d + zstd(clean), "zstd"),
    )
    yield (
        "gzip-name",
        coded(
            lambda d: zipped(clean)[:3] + b"\x08" + zipped(clean)[4:10] + d + b"\0" + zipped(clean)[10:],
            "gzip",
        ),
    )
    yield "truncated", coded(lambda d: zipped(d)[:-9], "gzip")
    yield "trailing-br", coded(lambda d: brotli.compress(clean) + d, "br")
    yield "trailing-zlib", coded(lambda d: zlib.compress(clean) + d, "deflate")


def _charsets() -> Iterator[tuple[str, Callable[[str], Call]]]:
    def coded(charset: str, said: str | None, mark: bytes = b"") -> Callable[[str], Call]:
        kind = "application/json" + (f"; charset={said}" if said else "")
        return lambda t: Call(
            OPENAI, CHAT, mark + _chat_text(t).decode().encode(charset, "replace"), (), kind
        )

    for charset in ("utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32", "cp037", "utf-7", "cp1140"):
        yield f"{charset}-said", coded(charset, charset.removesuffix("-le"))
        yield f"{charset}-silent", coded(charset, None)
    yield "latin-1", coded("latin-1", "iso-8859-1")
    yield "ascii", coded("ascii", "us-ascii")
    yield "nonsense", coded("utf-8", "x-none")
    yield "utf-8-twice", coded("utf-8", "utf-8; charset=utf-16")
    yield "rot13", coded("utf-8", "rot13")
    yield "bom", coded("utf-8", None, b"\xef\xbb\xbf")
    yield "bom-twice", coded("utf-8", None, b"\xef\xbb\xbf" * 2)
    yield "bom-16", coded("utf-16-le", None, b"\xff\xfe")
    yield "bom-lies", coded("utf-8", None, b"\xfe\xff")
    yield "invalid-byte", lambda t: Call(OPENAI, CHAT, _chat_text(t + "MARK").replace(b"MARK", b"\xff"))
    yield "overlong", lambda t: Call(OPENAI, CHAT, _chat_text(t + "MARK").replace(b"MARK", b"\xc0\xaf"))
    yield (
        "surrogate-bytes",
        lambda t: Call(OPENAI, CHAT, _chat_text(t + "MARK").replace(b"MARK", b"\xed\xa0\x80")),
    )
    yield "nul-byte", lambda t: Call(OPENAI, CHAT, b"\0" + _chat_text(t))


def _json() -> Iterator[tuple[str, Callable[[str], Call]]]:
    def said(
        build: Callable[[bytes, str], bytes], kind: str | None = "application/json"
    ) -> Callable[[str], Call]:
        return lambda t: Call(OPENAI, CHAT, build(json.dumps(t, ensure_ascii=False).encode(), t), (), kind)

    head = b'{"model":"gpt-5","messages":[{"role":"user","content":'
    hello = head + b'"Hello"}]}'

    def escaped(t: str) -> bytes:
        return b"".join(
            f"\\u{unit:04X}".encode()
            for unit in (int.from_bytes(t.encode("utf-16-be")[n : n + 2]) for n in range(0, 2 * len(t), 2))
        )

    yield "escaped-value", said(lambda q, t: head + b'"' + escaped(t) + b'"}]}')
    yield "escaped-key", said(lambda q, t: hello[:-1] + b',"' + escaped(t) + b'":1}')
    yield "escaped-content", said(lambda q, t: head.replace(b"content", b"c\\u006fntent") + q + b"}]}")
    yield "escaped-messages", said(lambda q, t: head.replace(b"messages", b"\\u006dessages") + q + b"}]}")
    yield "duplicate-first", said(lambda q, t: head + q + b',"content":"Hello"}]}')
    yield "duplicate-last", said(lambda q, t: head + b'"Hello","content":' + q + b"}]}")
    yield "duplicate-case", said(lambda q, t: head + b'"Hello","Content":' + q + b"}]}")
    yield "duplicate-escaped", said(lambda q, t: head + b'"Hello","c\\u006fntent":' + q + b"}]}")
    yield (
        "duplicate-messages",
        said(lambda q, t: head + q + b'}],"messages":[{"role":"user","content":"Hello"}]}'),
    )
    yield "duplicate-deep", said(lambda q, t: hello[:-1] + b',"x":{"a":' + q + b',"a":1}}')
    yield "nesting-200", said(lambda q, t: hello[:-1] + b',"x":' + b"[" * 200 + q + b"]" * 200 + b"}")
    yield "nesting-2000", said(lambda q, t: hello[:-1] + b',"x":' + b"[" * 2000 + q + b"]" * 2000 + b"}")
    yield "long-integer", said(lambda q, t: hello[:-1] + b',"x":' + b"1" * 5000 + b',"y":' + q + b"}")
    yield "nan", said(lambda q, t: hello[:-1] + b',"x":NaN,"y":' + q + b"}")
    yield "infinity", said(lambda q, t: hello[:-1] + b',"x":Infinity,"y":' + q + b"}")
    yield "comment", said(lambda q, t: b"/* " + q + b" */" + hello)
    yield "line-comment", said(lambda q, t: hello[:-1] + b"// " + q + b"\n}")
    yield "trailing-comma", said(lambda q, t: head + q + b",}]}")
    yield (
        "single-quotes",
        said(lambda q, t: b"{'model':'gpt-5','messages':[{'role':'user','content':'" + t.encode() + b"'}]}"),
    )
    yield "two-documents", said(lambda q, t: hello + b"\n" + head + q + b"}]}")
    yield "trailing-text", said(lambda q, t: hello + q)
    yield "trailing-nul", said(lambda q, t: hello + b"\0" + q)
    yield "guard-prefix", said(lambda q, t: b")]}',\n" + head + q + b"}]}")
    yield "top-array", said(lambda q, t: b"[" + head + q + b"}]}]")
    yield "top-string", said(lambda q, t: q)
    yield "whitespace", said(lambda q, t: b" \t\r\n" * 500 + head + b" \n\t " * 50 + q + b"}]}" + b"\n" * 500)
    yield "form-feed", said(lambda q, t: head + b"\x0c" + q + b"}]}")
    yield "raw-newline", said(lambda q, t: head + q.replace(b" ", b"\n") + b"}]}")
    yield "form", said(lambda q, t: b"model=gpt-5&content=" + t.encode(), "application/x-www-form-urlencoded")
    yield "form-labelled-json", said(lambda q, t: b"model=gpt-5&content=" + t.encode())
    yield "xml", said(lambda q, t: b"<note>" + t.encode() + b"</note>", "application/xml")
    yield "text-label", said(lambda q, t: head + q + b"}]}", "text/plain")
    yield "no-label", said(lambda q, t: head + q + b"}]}", None)
    yield "label-with-parameter", said(lambda q, t: head + q + b"}]}", "application/json; a=b")
    yield (
        "multipart",
        said(
            lambda q, t: (
                b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
                + t.encode()
                + b"\r\n--b--\r\n"
            ),
            "multipart/form-data; boundary=b",
        ),
    )
    yield (
        "multipart-labelled-json",
        said(
            lambda q, t: (
                b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
                + t.encode()
                + b"\r\n--b--\r\n"
            )
        ),
    )
    yield "lone-surrogate", said(lambda q, t: head + q[:-1] + b'\\ud800"}]}')
    yield "lone-surrogate-key", said(lambda q, t: hello[:-1] + b',"\\ud800' + q[1:-1] + b'":1}')
    yield "nul-escape", said(lambda q, t: head + q[:-1] + b'\\u0000"}]}')


def bodies() -> Iterator[Carrier]:
    """Yield ways to spell a body: codings, charsets, JSON that two readers could read differently."""
    for row, ways in (
        ("content codings", _compressed()),
        ("charsets", _charsets()),
        ("JSON oddities", _json()),
    ):
        for name, put in ways:
            yield Carrier(f"{row.split()[0].lower()}-{name}", row, put)


def numbers() -> Iterator[Carrier]:
    """Yield ways to write digits as a JSON number; the text is digits only."""

    def number(spell: Callable[[str], str]) -> Callable[[str], Call]:
        def put(t: str) -> Call:
            return Call(OPENAI, CHAT, chat(HELLO).body[:-1] + f',"note":{spell(t)}}}'.encode())

        return put

    row = "numbers"
    yield Carrier("integer", row, number(str))
    yield Carrier("negative", row, number(lambda t: f"-{t}"))
    yield Carrier("integer-in-list", row, number(lambda t: f"[1,{t}]"))
    yield Carrier("integer-deep", row, number(lambda t: f'{{"a":[{{"b":{t}}}]}}'))
    yield Carrier("fraction", row, number(lambda t: f"{t}.0"))
    yield Carrier("exponent", row, number(lambda t: f"{t}e0"))
    yield Carrier("scientific", row, number(lambda t: f"{t[0]}.{t[1:]}e{len(t) - 1}"))
    yield Carrier("in-logit-bias", row, lambda t: Call(
        OPENAI, CHAT, chat(HELLO).body[:-1] + f',"logit_bias":{{"5":{t}}}}}'.encode()))  # fmt: skip
    yield Carrier("as-max-tokens", row, lambda t: Call(
        OPENAI, CHAT, chat(HELLO).body[:-1] + f',"max_tokens":{t}}}'.encode()))  # fmt: skip
    yield Carrier("as-temperature", row, lambda t: Call(
        OPENAI, CHAT, chat(HELLO).body[:-1] + f',"temperature":{t}.0}}'.encode()))  # fmt: skip
