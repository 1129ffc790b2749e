"""What stands in the flows of samples, for whoever asks to see it: text of people, as far as it was captured."""

from collections.abc import Iterable
from dataclasses import dataclass

from mitmproxy import http

from sallyport.proxy.recorded import read_record
from sallyport.replay.difference import Sample
from sallyport.replay.flows import load_flow
from sallyport.replay.sockets import answer_of, event_of
from sallyport.state.masterkey import MasterKeys
from sallyport.wire.coding import decode_answer, decode_body
from sallyport.wire.errors import WireError

MOST_CHARS = 4000
"""Of one body; the rest is left out."""

_LIMIT_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """Bodies of one flow, from their beginning. masked: what rules found is taken out, and the answer was not kept.

    answer: None where there is none.
    """

    masked: bool
    request: str
    answer: str | None


def contents_of(samples: Iterable[Sample], keys: MasterKeys) -> list[Content]:
    """Read the flows of samples again. Raises OperatorError where one is not there any more."""
    return [_content(load_flow(sample.judged.place, keys)) for sample in samples]


def _content(flow: http.HTTPFlow) -> Content:
    record = read_record(flow)
    masked = record is not None and record.findings is not None
    answer = None if flow.response is None or masked else _text(flow.response)
    if flow.websocket is not None:
        said = None if answer is None else _shown(b"\n".join(answer_of(flow)))
        return Content(masked, _shown(event_of(flow)), said)
    return Content(masked, _text(flow.request), answer)


def _text(message: http.Message) -> str:
    raw = message.raw_content or b""
    coding = message.headers.get("content-encoding")
    try:
        if isinstance(message, http.Response):
            body, _ = decode_answer(raw, coding, limit_bytes=_LIMIT_BYTES)
        else:
            body = decode_body(raw, coding, limit_bytes=_LIMIT_BYTES)
    except WireError as error:
        return f"[{error.reason}]"
    return _shown(body)


def _shown(body: bytes) -> str:
    return body[: 4 * MOST_CHARS].decode("utf-8", "backslashreplace")[:MOST_CHARS]
