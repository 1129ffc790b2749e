"""Tokens of texts: exact where the ranks of an OpenAI encoding are on disk, else estimated from byte classes.

The estimate is a sum over classes of bytes and their runs, fitted on English, German, French, Dutch, code,
JSON, logs and keys against the real encoders. Its error on texts of a few kilobytes is below a quarter (usually
10 %) in the languages and formats tried, so whoever reserves adds MARGIN; what the provider reports settles it.
"""

import hashlib
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MARGIN = 1.2
"""What an estimate is multiplied by before it is reserved."""

PER_TEXT = 4
"""Tokens that a format adds to every message: role, delimiters."""

_CACHED_TEXTS = 20_000
_LOWER, _UPPER, _DIGIT, _SPACE, _BREAK, _PUNCT, _REST, _LEAD2, _LEAD3, _LEAD4 = range(10)


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where tiktoken keeps the ranks of an encoding: its name for the file, and the file's SHA-256."""

    file: str
    sha256: str


RANKS = {
    "o200k_base": Ranks(
        "fb374d419588a4632f3f557e76b4b70aebbca790",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
    "cl100k_base": Ranks(
        "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
}

_WEIGHTS: dict[str, tuple[float, ...]] = {
    # words, letters; runs of digits, digits; runs of punctuation, marks; further spaces of a run; then characters:
    # Cyrillic, Latin with marks, other two-byte; Chinese, kana, other three-byte; four-byte
    "o200k_base": (
        *(0.4380, 0.1852, 0.3252, 0.5639, 0.0, 0.6267, 0.0),
        *(0.3399, 1.2346, 0.4544, 0.9107, 0.7993, 0.2961, 1.8968),
    ),
    "cl100k_base": (
        *(0.2636, 0.2452, 0.4471, 0.5521, 0.0, 0.5239, 0.0),
        *(0.5509, 2.3127, 1.1716, 1.3272, 1.0675, 0.8011, 2.1977),
    ),
}
"""Tokens per feature of a text, in the order of features(). Fitted by scripts/fit_tokens."""

_FAMILIES = (("claude", 1.25), ("gemini", 1.0), ("mistral", 1.15), ("llama", 1.05), ("command", 1.05))
"""What a model family's own tokeniser makes of a text, as a multiple of the o200k estimate."""


def _classes() -> "np.ndarray[Any, np.dtype[np.uint8]]":
    table = np.full(256, _PUNCT, np.uint8)
    table[ord("a") : ord("z") + 1] = _LOWER
    table[ord("A") : ord("Z") + 1] = _UPPER
    table[ord("0") : ord("9") + 1] = _DIGIT
    table[ord(" ")] = _SPACE
    table[[ord("\n"), ord("\t"), ord("\r")]] = _BREAK
    table[0x80:0xC0] = _REST
    table[0xC0:0xE0] = _LEAD2
    table[0xE0:0xF0] = _LEAD3
    table[0xF0:] = _LEAD4
    return table


_CLASSES = _classes()


def estimate(text: str, encoding: str = "o200k_base") -> int:
    """Return about how many tokens a text has in an encoding; 0 for an empty one. Linear, about 5 us a KB."""
    if not text:
        return 0
    total = sum(weight * number for weight, number in zip(_WEIGHTS[encoding], features(text), strict=True))
    return max(1, round(total))


def features(text: str) -> tuple[int, ...]:
    """Return what the weights of an encoding are multiplied with, in their order. text: not empty."""
    raw = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    kinds = _CLASSES[raw]
    counts = np.bincount(kinds, minlength=10)
    pairs = np.bincount(kinds[:-1].astype(np.int16) * 10 + kinds[1:], minlength=100)
    letter = kinds <= _UPPER
    words = int(np.count_nonzero(letter[1:] & ~letter[:-1])) + int(letter[0])
    runs = {kind: int(counts[kind] - pairs[kind * 11]) for kind in (_DIGIT, _PUNCT)}
    two, three = int(counts[_LEAD2]), int(counts[_LEAD3])
    cyrillic = latin = chinese = kana = 0
    if two:
        cyrillic = int(np.count_nonzero((raw == 0xD0) | (raw == 0xD1)))
        latin = int(np.count_nonzero((raw == 0xC3) | (raw == 0xC4) | (raw == 0xC5)))
    if three:
        chinese = int(np.count_nonzero((raw >= 0xE4) & (raw <= 0xE9)))
        kana = int(np.count_nonzero(raw == 0xE3))
    return (
        words,
        int(counts[_LOWER] + counts[_UPPER]),
        runs[_DIGIT],
        int(counts[_DIGIT]),
        runs[_PUNCT],
        int(counts[_PUNCT]),
        int(pairs[_SPACE * 11]),
        cyrillic,
        latin,
        two - cyrillic - latin,
        chinese,
        kana,
        three - chinese - kana,
        int(counts[_LEAD4]),
    )


@dataclass(frozen=True, slots=True)
class Count:
    """Tokens of some texts. exact: counted with the model's own encoding, not estimated."""

    tokens: int
    exact: bool

    @property
    def reserved(self) -> int:
        """What to set aside for it: an estimate with its margin, an exact count as it is."""
        return self.tokens if self.exact else int(self.tokens * MARGIN) + 1


class TokenCounter:
    """Counts tokens for a model. Thread-safe; never reaches for the network.

    ranks: the folder in which tiktoken keeps its files; None takes TIKTOKEN_CACHE_DIR. A file that is
    missing, or is not what its digest says, means estimates.
    """

    def __init__(self, ranks: Path | None = None) -> None:
        folder = ranks or (
            Path(os.environ["TIKTOKEN_CACHE_DIR"]) if os.environ.get("TIKTOKEN_CACHE_DIR") else None
        )
        self._folder = folder
        self._encodings: dict[str, Any] = {}
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def load(self) -> tuple[str, ...]:
        """Load the encodings whose ranks are on disk (about a second each); return their names."""
        for name, ranks in RANKS.items():
            if (
                name not in self._encodings
                and self._folder is not None
                and _is(self._folder / ranks.file, ranks)
            ):
                self._encodings[name] = _encoding(name, self._folder)
        return tuple(self._encodings)

    def count(self, texts: Iterable[str], model: str | None) -> Count:
        """Return the tokens of the texts of one request or answer as a model counts them."""
        name = encoding_of(model)
        encoding = None if name is None else self._encodings.get(name)
        if encoding is None:
            joined = "\n".join(texts)
            return Count(round(estimate(joined, name or "o200k_base") * _factor(model)), exact=False)
        return Count(sum(self._exact(encoding, text) for text in texts), exact=True)

    def _exact(self, encoding: Any, text: str) -> int:
        raw = text.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(
            raw, key=self._key, digest_size=16, person=encoding.name[:16].encode()
        ).digest()
        with self._lock:
            known = self._known.get(digest)
            if known is not None:
                self._known.move_to_end(digest)
                return known
        count = len(encoding.encode_ordinary(raw.decode("utf-8", "replace")))
        with self._lock:
            self._known[digest] = count
            if len(self._known) > _CACHED_TEXTS:
                self._known.popitem(last=False)
        return count


def encoding_of(model: str | None) -> str | None:
    """Return the encoding tiktoken names for a model, None where it is not OpenAI's or nobody knows."""
    from tiktoken.model import encoding_name_for_model

    try:
        name = encoding_name_for_model(model) if model else None
    except KeyError:
        return None
    return name if name in RANKS else None


def _factor(model: str | None) -> float:
    low = (model or "").lower()
    return next((factor for family, factor in _FAMILIES if family in low), 1.0)


def _is(path: Path, ranks: Ranks) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == ranks.sha256
    except OSError:
        return False


def _encoding(name: str, folder: Path) -> Any:
    """Return tiktoken's encoding, read from a folder whose file has been checked, so that it downloads nothing."""
    import tiktoken

    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        return tiktoken.get_encoding(name)
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before
