"""Which token of a text is a password, a code or a key, where words near it speak of one.

A rule knows shapes that somebody thought of; people write "open it with Mallard-Tues-5" and "admin/ricoh-Blau7". So
the tokens around such words are judged by a linear model that has learnt from texts what credentials look like and
what is said around them. It is plain sums: of a token's own features, and of those of what stands around it.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import orjson

from sallyport.errors import OperatorError

BUCKETS = 1 << 16
"""Size of the feature space."""

SHIPPED = Path(__file__).parent / "credentials.weights"

_AHEAD, _BEHIND = 60, 120
"""Characters before and behind a telling word in which tokens are judged."""

_BEFORE, _AFTER = 100, 50
"""Characters either side of a token that speak for it."""

_MOST = 40
"""Characters of the longest token that is judged; what is longer is no password, and keys have rules."""

_PARTS = r"""\s"'`“”„«»<>(){}\[\],;|¦，。、；：（）「」"""
_TOKEN = re.compile(rf"(?<![^{_PARTS}])(?=(?:[^\W\d]|[./:’-])*+[^{_PARTS}])[^{_PARTS}]{{4,200}}")
"""Runs of characters of which one is neither a letter nor what joins words and names."""

_SET = re.compile(r"^[\w.-]{1,40}=(?=[^=])|^[^\W\d_]{1,24}:(?=[^:/])")
_END = re.compile(r"[.:?…]+$")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+|[^\w\s]")
_PART = re.compile(r"[^\W\d_]+|\d+|[\W_]")
_PLAIN = re.compile(r"^(?:[^\W\d]|[./:’-])*=?$|^[\d\W_]*$")
"""Names, numbers and marks. A number alone is left to rules: it may be anything."""

_TOLD = re.compile(
    r"^(?:[0-9a-f]{16,}|[0-9A-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|0x[0-9a-fA-F]+"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:[:/][0-9]+)?|[0-9]{2,4}[-/.][0-9]{2}[-/.][0-9]{2,4})$"
)
"""What is known for what it is: hashes, UUIDs and keys like them, which rules tell by their names; addresses, dates."""

_STEM = 5


@dataclass(frozen=True, slots=True)
class Model:
    """Weights in steps of a size of its own. weights: (BUCKETS,) of a feature each. bias, threshold: likewise in steps.

    around: the most that what stands around a token is taken to be worth. step: log-odds that one is worth.
    revision: changes with the weights.
    """

    weights: memoryview
    bias: int
    threshold: int
    around: int
    step: float
    revision: str


def credentials(text: str, start: int, end: int) -> Iterator[tuple[int, int, float]]:
    """Yield (start, end, 1.0) of the credentials around text[start:end], which speaks of one."""
    for low, high in tokens(text, *around(text, start, end)):
        if _is_one(*parted(text, low, high)):
            yield low, high, 1.0


def around(text: str, start: int, end: int) -> tuple[int, int]:
    """Return in what part of a text tokens are judged because of what stands in text[start:end]."""
    return max(0, start - _AHEAD), min(len(text), end + _BEHIND)


def odds(text: str, start: int, end: int) -> float:
    """Return the log-odds of a token; it is reported from the model's threshold on."""
    model = shipped()
    before, token, after = parted(text, start, end)
    total = _sum(model, own_features(token)) + _sum(model, features_around(before, token, after))
    return (total + model.bias) * model.step


def _is_one(before: str, token: str, after: str) -> bool:
    model = shipped()
    lacking = model.threshold - model.bias - _sum(model, own_features(token))
    return model.around >= lacking and _sum(model, features_around(before, token, after)) >= lacking


def _sum(model: Model, features: set[str]) -> int:
    weights = model.weights
    return sum([weights[crc32(feature.encode("utf-8", "replace")) % BUCKETS] for feature in features])


def tokens(text: str, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of tokens that may be credentials and begin in text[low:high]; a word is none."""
    for match in _TOKEN.finditer(text, low, min(len(text), high + _MOST)):
        start, end = match.span()
        if start >= high:
            return
        token = match.group()
        while (name := _SET.match(token)) is not None:
            token = token[name.end() :]
        start = end - len(token)
        if (behind := _END.search(token)) is not None:
            token = token[: behind.start()]
        if 4 <= len(token) <= _MOST and not (_PLAIN.match(token) or _TOLD.match(token)):
            yield start, start + len(token)


def parted(text: str, start: int, end: int) -> tuple[str, str, str]:
    """Return what a token is judged by: what stands before it, itself, and what stands behind it."""
    return text[max(0, start - _BEFORE) : start], text[start:end], text[end : end + _AFTER]


def own_features(token: str) -> set[str]:
    """Return what a token is known by: its classes of characters, its shape, its letters in runs."""
    shape, kinds = _shape(token), _kinds(token)
    parts = _PART.findall(token)
    found = {
        f"shape {shape}",
        f"changes {min(len(shape), 9)} {kinds}",
        f"kinds {kinds}",
        f"long {kinds} {min(len(token) // 2, 12)}",
        f"first {shape[0]}",
        f"last {shape[-1]}",
        f"parts {min(len(parts), 9)}",
        f"digits {5 * sum(map(str.isdigit, token)) // len(token)}",
    }
    marks = sorted({c for c in token if not c.isalnum()})
    found.update(f"mark {mark}" for mark in marks)
    found.add("marks " + "".join(marks))
    lower = _zeros(token.lower())
    found.add(f"token {lower}")
    found.update(f"part {_zeros(part.lower())}" for part in parts)
    run = f"^{lower}$"
    for size in (3, 4):
        found.update(run[place : place + size] for place in range(len(run) - size + 1))
    return found


def features_around(before: str, token: str, after: str) -> set[str]:
    """Return what is said around a token: words by their place and by their beginnings, marks, how the line looks."""
    behind = [word[:12].lower() for word in _WORD.findall(before)[-14:]]
    ahead = [word[:12].lower() for word in _WORD.findall(after)[:5]]
    found = {f"near {word[:_STEM]}" for word in behind}
    found.update(f"ahead {word[:_STEM]}" for word in ahead)
    behind.reverse()
    found.update(f"{place} {word}" for place, word in enumerate(behind[:4]))
    found.update(f"+{place} {word}" for place, word in enumerate(ahead[:2]))
    found.add("pair " + " ".join(behind[:2]))
    found.add("three " + " ".join(behind[:3]))
    words = [word[:_STEM] for word in behind if word[0].isalnum()][:3]
    found.update(f"word {place} {word}" for place, word in enumerate(words))
    found.add(f"of {' '.join(words[:1])} {_kinds(token)}")
    found.add(f"between {before[-1:]} {after[:1]}")
    found.add(f"before {before[-2:]}")
    line = before[before.rfind("\n") + 1 :]
    found.add(f"line {'begins' if not line.strip() else 'label' if line.rstrip()[-1] in ':=' else 'goes on'}")
    found.add(f"code {min(sum(map(line.count, '(){};=<>[]')), 6)}")
    found.add(f"words {min(len(line.split()), 9)}")
    return found


def _shape(token: str) -> str:
    kinds = ["a" if c.islower() else "A" if c.isupper() else "0" if c.isdigit() else c for c in token]
    return "".join(kind for place, kind in enumerate(kinds) if not place or kinds[place - 1] != kind)


def _kinds(token: str) -> str:
    shape = {*_shape(token)}
    return "".join(kind for kind in "aA0" if kind in shape) + ("." if shape - {*"aA0"} else "")


_DIGITS = str.maketrans("123456789", "000000000")


def _zeros(text: str) -> str:
    return text.translate(_DIGITS)


@cache
def shipped() -> Model:
    """Return the model that comes with Sallyport. Raises OperatorError where its file is damaged."""
    return read(SHIPPED)


def read(path: Path) -> Model:
    """Read a file of weights: a line of JSON, then a signed byte for each bucket. Raises OperatorError."""
    try:
        head, _, raw = path.read_bytes().partition(b"\n")
        meta = orjson.loads(head)
        weights = memoryview(raw).cast("b")
        revision = hashlib.blake2b(head + raw, digest_size=16).hexdigest()
        model = Model(weights, meta["bias"], meta["threshold"], meta["around"], meta["step"], revision)
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"cannot be read: {type(error).__name__}"
        raise OperatorError(str(path), what, "Install Sallyport again") from None
    if len(model.weights) != BUCKETS:
        raise OperatorError(str(path), "is of another version", "Install Sallyport again")
    return model


def write(path: Path, weights: Sequence[int], *, bias: int, threshold: int, around: int, step: float) -> None:
    """Write a file of weights. step: log-odds that one is worth, for people."""
    meta = {"bias": bias, "threshold": threshold, "around": around, "step": step}
    path.write_bytes(orjson.dumps(meta) + b"\n" + bytes(weight & 255 for weight in weights))
