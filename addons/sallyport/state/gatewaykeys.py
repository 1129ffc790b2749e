"""Gateway keys: how they are made, and how a gateway tells them at sight.

A gateway key looks like the provider's own, so that SDKs take it: PREFIX MARK RANDOM CHECK SUFFIX.

- MARK is the same in all of them, so that any gateway sees a gateway key, also one that is not its own.
- RANDOM has 160 bits or more. Only its fingerprint is stored, and only that decides whether a key is good.
- CHECK is a keyed checksum of RANDOM: a key that was forged, mistyped or issued elsewhere is told without a
  directory, so that it is refused as what it is and never sent on as somebody's credential.
"""

import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass

from sallyport.exchange import KeyForm
from sallyport.state.keyed import digest

MARK = "sallyport"
SHORT_MARK = "slyp"
MIN_RANDOM_CHARS = 27
"""Of 62 characters each: 160.7 bits."""

_ALPHABET = string.digits + string.ascii_letters


@dataclass(frozen=True, slots=True)
class Shape:
    """How the keys of one kind are spelt. chars: length of the whole key."""

    prefix: str
    chars: int
    suffix: str = ""
    mark: str = MARK
    check_chars: int = 8

    @property
    def random_chars(self) -> int:
        fixed = len(self.prefix) + len(self.mark) + self.check_chars + len(self.suffix)
        return self.chars - fixed

    def spell(self, secret: bytes, random: str) -> str:
        """Return the key with this random part."""
        return f"{self.prefix}{self.mark}{random}{self.check(secret, random)}{self.suffix}"

    def random_of(self, credential: str) -> str:
        """Return where the random part stands in a key of this length, counted from its end."""
        end = len(credential) - len(self.suffix) - self.check_chars
        return credential[max(0, end - self.random_chars) : max(0, end)]

    def check(self, secret: bytes, random: str) -> str:
        number = int(digest(secret, "gateway key", random), 16)
        letters = []
        for _ in range(self.check_chars):
            number, place = divmod(number, len(_ALPHABET))
            letters.append(_ALPHABET[place])
        return "".join(letters)


_GOOGLE = Shape("AIza", 39, mark=SHORT_MARK, check_chars=4)

SHAPES: Mapping[str, Shape] = {
    "openai": Shape("sk-proj-", 164),
    "anthropic": Shape("sk-ant-api03-", 108, suffix="AA"),
    "anthropic_aws": Shape("sk-ant-api03-", 108, suffix="AA"),
    "gemini": _GOOGLE,
    "vertex": _GOOGLE,
    "azure_openai": Shape("", 84),
    "bedrock": Shape("ABSK", 132),
    "bedrock_mantle": Shape("ABSK", 132),
    "cohere": Shape("", 44),
    "mistral": Shape("", 44),
    "groq": Shape("gsk_", 56),
    "xai": Shape("xai-", 84),
    "perplexity": Shape("pplx-", 53),
    "huggingface": Shape("hf_", 47),
    "openrouter": Shape("sk-or-v1-", 73),
    "cerebras": Shape("csk-", 54),
    "fireworks": Shape("fw_", 48),
}
"""By provider. Mistral's and Cohere's own keys are shorter than a mark and 160 bits; their SDKs do not count."""

GENERIC = Shape("sk-", 51)

ACCESS_KEY = Shape("AKIA", 56)
"""Ids of access keys, for AWS clients that sign; what proves them is the secret that goes with one."""


def _slips(word: str) -> str:
    """Return a pattern for a word, or the word with one character wrong, missing, doubled or swapped."""
    forms = [f"{word[:i]}.?{word[i + 1 :]}" for i in range(len(word))]
    forms += [f"{word[:i]}.{word[i:]}" for i in range(1, len(word))]
    forms += [f"{word[:i]}{word[i + 1]}{word[i]}{word[i + 2 :]}" for i in range(len(word) - 1)]
    return "|".join(forms)


_MARKED = re.compile(_slips(MARK))
_HALVES = (MARK[:4], MARK[5:])
"""One of them is whole, whatever one slip did to the mark."""

_GOOGLE_MARKED = re.compile(rf".?(?:AIza|AIz|AIa|Aza|Iza).?{SHORT_MARK}", re.IGNORECASE)
_GOOGLE_LIKE = re.compile(r"^AI?z?a?[A-Za-z0-9_-]{30,40}$")


def shape_for(provider: str) -> Shape:
    """Return how a provider's gateway keys are spelt."""
    return SHAPES.get(provider, GENERIC)


def new_gateway_key(secret: bytes, provider: str) -> str:
    """Return a new key in the provider's format. secret: the gateway's key."""
    shape = shape_for(provider)
    return shape.spell(secret, "".join(secrets.choice(_ALPHABET) for _ in range(shape.random_chars)))


def form_of(secret: bytes, credential: str) -> KeyForm:
    """Say what a credential looks like. secret: the gateway's key.

    GATEWAY: spelt as this gateway spells its keys; whether it is good, the directory says. FORGED: a gateway
    key by its mark, and yet none of this gateway's. Else PROVIDER.
    """
    if not _is_marked(secret, credential):
        return KeyForm.PROVIDER
    for shape in (*SHAPES.values(), GENERIC, ACCESS_KEY):
        if len(credential) == shape.chars and credential == shape.spell(secret, shape.random_of(credential)):
            return KeyForm.GATEWAY
    return KeyForm.FORGED


def _is_marked(secret: bytes, credential: str) -> bool:
    lower = credential.lower()
    if any(half in lower for half in _HALVES) and _MARKED.search(lower):
        return True
    if _GOOGLE_MARKED.match(credential):
        return True
    if not _GOOGLE_LIKE.match(credential):
        return False
    # The short mark itself may be mistyped: then the checksum still fits, unless its end was swapped with the next.
    end = len(_GOOGLE.prefix) + len(_GOOGLE.mark)
    unswapped = credential[: end - 1] + credential[end] + credential[end - 1] + credential[end + 1 :]
    return unswapped.startswith(_GOOGLE.prefix + _GOOGLE.mark) or credential.endswith(
        _GOOGLE.check(secret, _GOOGLE.random_of(credential))
    )
