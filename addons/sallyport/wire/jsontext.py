"""JSON is read strictly or not at all: one UTF-8 document, one meaning for every reader, bounded.

What two parsers could read differently is refused, because the gateway and the provider are two
parsers: repeated names (also when they differ only in case), NaN, comments, trailing commas,
trailing data, other charsets, lone surrogates. Writing back is in jsonsplice.py.

Reasons: json.syntax, json.truncated, json.trailing_data, json.trailing_comma, json.duplicate_key,
json.utf8, json.surrogate, json.number, json.depth, json.nodes, json.memory.
"""

import re
import sys

import jiter

from sallyport.wire.errors import WireError

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None

MAX_DEPTH = 128
MAX_NODES = 100_000
MAX_ANSWER_NODES = 4_000_000  # vectors: 1,000 embeddings of 3,072 numbers and more
MAX_INTEGER_DIGITS = 400
BOM = b"\xef\xbb\xbf"

# An integer of nine digits or more can be a card, a phone or an account number. Such a number is
# read, and edited, like the text of its digits.
LONG_INTEGER = 10**8

LONGEST_FLOAT = 10.0**20
"""Whole numbers written as fractions (4.1e15) beyond this have more digits than any identifier."""

_LARGEST = sys.float_info.max
_TOO_LONG = 10**MAX_INTEGER_DIGITS
_PLACE = re.compile(r"at line (\d+) column (\d+)$")
_PLAIN_TOKEN = re.compile(r"[a-z_]{1,32}|[0-9]{1,6}|~k")
_REASONS = (
    ("Detected duplicate key", "json.duplicate_key"),
    ("recursion limit", "json.depth"),
    ("trailing characters", "json.trailing_data"),
    ("trailing comma", "json.trailing_comma"),
    ("invalid unicode code point", "json.utf8"),
    ("lone leading surrogate", "json.surrogate"),
    ("unexpected end of hex escape", "json.surrogate"),
    ("invalid number", "json.number"),
    ("number out of range", "json.number"),
    ("EOF while", "json.truncated"),
)


def parse(body: bytes, max_nodes: int = MAX_NODES) -> Json:
    """Return the value of a JSON document.

    max_nodes: bound on all values together; MAX_ANSWER_NODES where a provider wrote the document.
    A UTF-8 byte order mark at the start is accepted. Raises WireError, and nothing else, with one of
    the reasons above; its place is a byte offset or a pointer in which only plain names are spelled.
    """
    try:
        text = body[len(BOM) :] if body.startswith(BOM) else body
        value: Json = jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")
        _check(value, max_nodes)
    except WireError:
        raise
    except RecursionError:
        raise WireError("json.depth") from None
    except MemoryError:
        raise WireError("json.memory") from None
    except ValueError as error:
        # The parser's own message quotes names of the body: translate it, never pass it on.
        raise _translated(str(error), body) from None
    return value


def parse_object(body: bytes) -> dict[str, Json]:
    """Return the object a JSON document holds. Raises WireError (json.not_object) for other values."""
    value = parse(body)
    if type(value) is not dict:
        raise WireError("json.not_object")
    return value


def is_long(value: float) -> bool:
    """Say whether a number with a point or an exponent is a long whole number all the same."""
    return LONG_INTEGER <= abs(value) < LONGEST_FLOAT and value.is_integer()


def token(key: str) -> str:
    """Return a member name as RFC 6901 writes it inside a pointer."""
    if "~" in key or "/" in key:
        return key.replace("~", "~0").replace("/", "~1")
    return key


def untoken(part: str) -> str:
    """Return the member name that a part of a pointer stands for. The reverse of token."""
    return part.replace("~1", "/").replace("~0", "~") if "~" in part else part


def public_pointer(pointer: str) -> str:
    """Return a pointer fit for errors: a part that may be content is written as *."""
    mark = pointer[-2:] if pointer.endswith(("~k", "~t")) else ""
    body = pointer.removesuffix(mark)
    parts = body.split("/")[:20]
    return "/".join(p if not p or _PLAIN_TOKEN.fullmatch(p) else "*" for p in parts) + mark


def _check(root: Json, max_nodes: int) -> None:
    """Refuse what the parser lets through: depth, size, numbers out of range, names that differ in case."""
    if type(root) is not dict and type(root) is not list:
        if (type(root) is int and not -_TOO_LONG < root < _TOO_LONG) or (
            type(root) is float and not -_LARGEST <= root <= _LARGEST
        ):
            raise WireError("json.number")
        return
    names: set[str] = set()
    nodes = 1
    depth = 0
    level: list[dict[str, Json] | list[Json]] = [root]
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise WireError("json.depth")
        below: list[dict[str, Json] | list[Json]] = []
        for container in level:
            nodes += len(container)
            if type(container) is dict:
                names.update(container)
                values = container.values()
            else:
                values = container  # type: ignore[assignment]
            for value in values:
                kind = type(value)
                if kind is str:
                    continue
                if kind is dict or kind is list:
                    below.append(value)  # type: ignore[arg-type]
                elif kind is float:
                    if not -_LARGEST <= value <= _LARGEST:  # type: ignore[operator]
                        raise WireError("json.number")
                elif kind is int and not -_TOO_LONG < value < _TOO_LONG:
                    raise WireError("json.number")
        if nodes > max_nodes:
            raise WireError("json.nodes")
        level = below
    # One comparison over all names of the body is cheap and almost always enough.
    if len({name.casefold() for name in names}) != len(names):
        _check_case(root, "")


def _check_case(value: Json, at: str) -> None:
    if type(value) is dict:
        if len({name.casefold() for name in value}) != len(value):
            raise WireError("json.duplicate_key", public_pointer(at) or "/")
        for name, member in value.items():
            _check_case(member, f"{at}/{token(name)}")
    elif type(value) is list:
        for index, item in enumerate(value):
            _check_case(item, f"{at}/{index}")


def _translated(message: str, body: bytes) -> WireError:
    reason = next((r for start, r in _REASONS if message.startswith(start)), "json.syntax")
    place = _PLACE.search(message)
    if place is None:
        return WireError(reason)
    line, column = int(place[1]), int(place[2])
    start = len(BOM) if body.startswith(BOM) else 0
    for _ in range(line - 1):
        start = body.find(b"\n", start) + 1
    return WireError(reason, f"byte {start + max(column - 1, 0)}")
