"""Single values are taken out of a parsed body here: typed, or refused, or None where it may be absent."""

import hashlib
import re

from sallyport.wire.dialect import Call
from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import Json

_CODE = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")
_MAX_TOKENS = 2**53

MAX_NAME_CHARS = 128


def get(value: Json, *path: str) -> Json:
    """Return what stands at a path of member names, None if it is not there."""
    for name in path:
        if type(value) is not dict:
            return None
        value = value.get(name)
    return value


def count(value: Json, *path: str) -> int | None:
    """Return a count at a path; None if it is absent or not a whole number from 0."""
    found = get(value, *path)
    if type(found) is float and found.is_integer():
        found = int(found)
    return found if type(found) is int and 0 <= found < _MAX_TOKENS else None


def string(value: Json, *path: str) -> str | None:
    """Return a string at a path; None if there is none or it is empty."""
    found = get(value, *path)
    return found if type(found) is str and found else None


def name(value: Json) -> str:
    """Return a name that the other side chose, "" for none. Long ones become as long as is kept, and stay different."""
    if type(value) is not str or len(value) <= MAX_NAME_CHARS:
        return value if type(value) is str else ""
    return f"{value[:32]}~{hashlib.blake2b(value.encode(), digest_size=16).hexdigest()}"


def objects(value: Json, *path: str) -> list[dict[str, Json]]:
    """Return the objects of a list at a path; other elements are left out."""
    found = get(value, *path)
    return [item for item in found if type(item) is dict] if type(found) is list else []


def some(value: Json, *path: str) -> int | None:
    """Return a count above 0 at a path; a part that is none of the whole is not told apart from an absent one."""
    return count(value, *path) or None


def total(*counts: int | None) -> int | None:
    """Return the sum of what was reported; None if nothing was."""
    known = [c for c in counts if c is not None]
    return sum(known) if known else None


def require_objects(body: dict[str, Json], name: str) -> None:
    """Refuse a body whose member is not a list of objects. Raises WireError (json.type)."""
    found = body.get(name)
    if type(found) is not list or any(type(item) is not dict for item in found):
        raise WireError("json.type", f"/{name}")


def model(body: dict[str, Json], call: Call) -> str | None:
    """Return the model that answers: the one in the target, which a provider goes by, else the one in the body."""
    found = body.get("model")
    if found is not None and type(found) is not str:
        raise WireError("json.type", "/model")
    return call.model or found or None


def stream(body: dict[str, Json], call: Call) -> bool:
    """Return whether a request asks for a stream. Raises WireError (json.type) if `stream` is no boolean."""
    found = body.get("stream")
    if found is None:
        return bool(call.stream)
    if type(found) is not bool:
        raise WireError("json.type", "/stream")
    return found or bool(call.stream)


def limit(body: dict[str, Json], *names: str) -> int | None:
    """Return the largest token limit that is given: which of several a provider goes by, it alone knows.

    0 is none: protobuf cannot tell it from an absent one. Raises WireError (json.type) if one is no whole number.
    """
    return max((whole(body.get(name), name) for name in names), default=0) or None


def answers(body: dict[str, Json], *names: str) -> int:
    """Return how many answers a request asks for, 1 if it does not say. Raises WireError as limit() does."""
    return max(1, *(whole(body.get(name), name) for name in names))


def whole(value: Json, name: str) -> int:
    """Return a number of a request, 0 if it is absent. Raises WireError (json.type) if it is no whole number."""
    number = 0 if value is None else count(value)
    if number is None:
        raise WireError("json.type", f"/{name}")
    return number


def previous(body: dict[str, Json], *names: str) -> str | None:
    """Return the id, as a string or as an object's id, of what the request continues."""
    for name in names:
        found = body.get(name)
        if type(found) is dict:
            found = found.get("id")
        if type(found) is str and found:
            return found
    return None


def error_code(body: Json, status: int, *names: str) -> str:
    """Return a provider's own error code, by the first of these members of its error that has one.

    Never its text: what does not look like a code becomes http_<status>.
    """
    if type(body) is list and body:
        body = body[0]
    error = get(body, "error")
    for holder in (error, body):
        for name in names:
            found = get(holder, name)
            if type(found) is int:
                return str(found)[:64]
            if type(found) is str and _CODE.fullmatch(found) and found != "error":
                return found
    return f"http_{status}"
