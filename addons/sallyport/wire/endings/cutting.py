"""A buffered answer is shortened by splicing: a text ends earlier, a list loses its tail, a value is replaced."""

from sallyport.decision import Edit
from sallyport.wire import jsonsplice
from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import MAX_ANSWER_NODES, Json, parse, untoken


def cut_text(body: bytes, at: str, start: int) -> bytes:
    """Return the body with the text at a pointer ending before its code point `start`. Raises WireError."""
    text = _at(parse(body, MAX_ANSWER_NODES), at)
    if type(text) is not str:
        raise WireError("edit.pointer")
    return jsonsplice.edit(body, [Edit(at, start, len(text), "")]) if start < len(text) else body


def cut_list(body: bytes, at: str, keep: int) -> bytes:
    """Return the body with the list at a pointer ending after so many elements; unchanged where it is shorter."""
    whole = jsonsplice.value_span(body, at)
    if whole is None or jsonsplice.value_span(body, f"{at}/{keep}") is None:
        return body
    start, end = whole
    last = jsonsplice.value_span(body, f"{at}/{keep - 1}") if keep else (start, start + 1)
    assert last is not None  # the one behind it is there
    return body[: last[1]] + b"]" + body[end:]


def put(body: bytes, at: str, value: bytes) -> bytes:
    """Return the body with another value at a pointer; unchanged where there is none."""
    span = jsonsplice.value_span(body, at)
    return body if span is None else body[: span[0]] + value + body[span[1] :]


def _at(value: Json, pointer: str) -> Json:
    for part in pointer.split("/")[1:]:
        part = untoken(part)
        if type(value) is dict:
            value = value.get(part)
        elif type(value) is list and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
