"""A scalar of a JSON body is set by splicing: its own bytes change, or one member appears, and nothing else."""

import json
import math
import re
from collections.abc import Sequence

from sallyport.decision import Change
from sallyport.exchange import Scalar
from sallyport.wire import jsonsplice
from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import BOM, MAX_ANSWER_NODES, Json, parse, public_pointer, untoken

_AFTER_KEY = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_VALUE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[-+.0-9A-Za-z]++', re.DOTALL)
_OPEN = re.compile(rb"[ \t\r\n]*\{")


def change(body: bytes, changes: Sequence[Change]) -> bytes:
    """Return the body with these values set; a member that is not there is put first into its object.

    Objects on the way to it are made where they are missing, and where null stands, by which SDKs write that a member
    is missing. Raises WireError: what parse() raises, change.pointer for a place that can hold no member,
    change.twice for two changes of one place,
    change.not_scalar where an object or a list stands, change.value for a number JSON has not.
    """
    if not changes:
        return body
    if len({c.at for c in changes}) != len(changes):
        raise WireError("change.twice")
    payload = parse(body, MAX_ANSWER_NODES)
    there = {c.at: _token(c.value) for c in changes if _is_there(payload, c.at)}
    keys = jsonsplice.spans(body, [f"{at}~k" for at in there])
    pieces: list[bytes] = []
    position = 0
    for (_, end), at in sorted((span, key.removesuffix("~k")) for key, span in keys.items()):
        value = _VALUE.match(body, _behind_colon(body, end))
        if value is None:
            raise WireError("change.not_scalar", public_pointer(at))
        pieces += (body[position : value.start()], there[at])
        position = value.end()
    result = b"".join((*pieces, body[position:]))
    for one in changes:
        if one.at not in there:
            result = _with_member(result, one)
    return result


def _is_there(payload: Json, at: str) -> bool:
    path = _path(at)
    holder = _member(payload, path[:-1], at)
    return holder is not None and path[-1] in holder


def _path(at: str) -> list[str]:
    if not at.startswith("/") or at.endswith("~k"):
        raise WireError("change.pointer", public_pointer(at))
    return [untoken(part) for part in at.split("/")[1:]]


def _member(payload: Json, path: Sequence[str], at: str) -> dict[str, Json] | None:
    """Return the object at a path, None where it is missing. Raises WireError where something else stands."""
    here = payload
    for part in path:
        if type(here) is list and part.isdecimal() and int(part) < len(here):
            here = here[int(part)]
        elif type(here) is dict:
            if here.get(part) is None:
                return None
            here = here[part]
        else:
            raise WireError("change.pointer", public_pointer(at))
    if type(here) is not dict:
        raise WireError("change.pointer", public_pointer(at))
    return here


def _with_member(body: bytes, one: Change) -> bytes:
    payload = parse(body, MAX_ANSWER_NODES)
    parts = one.at.split("/")[1:]
    path = _path(one.at)
    depth = len(path) - 1
    while _member(payload, path[:depth], one.at) is None:
        depth -= 1
    holder = _member(payload, path[:depth], one.at)
    if holder is None:
        raise WireError("change.pointer", public_pointer(one.at))
    if path[depth] in holder:
        return _in_place_of_null(body, "/" + "/".join(parts[: depth + 1]), path[depth + 1 :], one)
    start = len(BOM) if body.startswith(BOM) else 0
    if depth:
        pointer = "/" + "/".join(parts[:depth]) + "~k"
        start = _behind_colon(body, jsonsplice.spans(body, [pointer])[pointer][1])
    brace = _OPEN.match(body, start)
    if brace is None:
        raise WireError("change.pointer", public_pointer(one.at))
    return _joined(body, brace.end(), path[depth:], one.value, bool(holder))


def _in_place_of_null(body: bytes, at: str, names: Sequence[str], one: Change) -> bytes:
    """Put objects in the place of a null, and the value into the innermost."""
    span = jsonsplice.value_span(body, at)
    if span is None or body[slice(*span)] != b"null":
        raise WireError("change.pointer", public_pointer(one.at))
    return body[: span[0]] + _nested(names, one.value) + body[span[1] :]


def _nested(names: Sequence[str], value: Scalar) -> bytes:
    """Return a value inside objects, the outermost name first."""
    made = _token(value)
    for name in reversed(names):
        made = b"{" + jsonsplice.quote(name) + b":" + made + b"}"
    return made


def _joined(body: bytes, at: int, names: Sequence[str], value: Scalar, others: bool) -> bytes:
    """Put a member behind an opening brace; names below the first are objects inside objects."""
    added = jsonsplice.quote(names[0]) + b":" + _nested(names[1:], value)
    return body[:at] + added + (b"," if others else b"") + body[at:]


def _behind_colon(body: bytes, at: int) -> int:
    colon = _AFTER_KEY.match(body, at)
    if colon is None:
        raise WireError("json.syntax", f"byte {at}")
    return colon.end()


def _token(value: Scalar) -> bytes:
    if isinstance(value, float) and not math.isfinite(value):
        raise WireError("change.value")
    return jsonsplice.quote(value) if isinstance(value, str) else json.dumps(value).encode()
