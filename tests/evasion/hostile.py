"""Texts that cost a scanner the most: every rule's own examples, dense, and what nearly matches them.

A unit is one repetition; a text is units until it has the size asked for. Deterministic.
"""

import base64
import random
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sallyport.detect.packs import Rule
from sallyport.exchange import Surface

_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


@dataclass(frozen=True)
class Hostile:
    """name: which rule or shape, and how it is repeated. unit: gives the next repetition."""

    name: str
    surface: Surface
    unit: Callable[[random.Random], str]

    def text(self, size: int) -> str:
        """Return a text of this many code points."""
        rng = random.Random(self.name)
        parts: list[str] = []
        left = size
        while left > 0:
            part = self.unit(rng)
            parts.append(part)
            left -= len(part)
        return "".join(parts)[:size]


def varied(text: str, rng: random.Random, classes: Sequence[str]) -> str:
    """Return a text with every character of these classes drawn anew from its class."""
    return "".join(next((rng.choice(c) for c in classes if char in c), char) for char in text)


def of_rules(rules: Sequence[Rule]) -> Iterator[Hostile]:
    """Yield each example of each rule: as it stands, with other digits, and with other letters too."""
    for rule in rules:
        for number, example in enumerate((*rule.match, *rule.clean)):
            text = example.text
            for way, classes in (("same", ()), ("digits", _CLASSES[:1]), ("letters", _CLASSES)):
                for mark, end in (("space", " "), ("line", "\n")):
                    yield Hostile(
                        f"{rule.id}#{number} {way} {mark}",
                        example.surface,
                        lambda rng, t=text, c=classes, e=end: varied(t, rng, c) + e,
                    )


def _fixed(unit: str) -> Callable[[random.Random], str]:
    return lambda rng: unit


def _digits(pattern: str) -> Callable[[random.Random], str]:
    return lambda rng: varied(pattern, rng, _CLASSES[:1])


def _blob(rng: random.Random) -> str:
    inner = varied("call 0 00-00-00 or aaaa.aaaa@aaaaa.com now ", rng, _CLASSES)
    return base64.b64encode(inner.encode()).decode() + " "


def _nested(rng: random.Random) -> str:
    inner = base64.b64encode(varied("(000) 000-0000 000-00-0000 ", rng, _CLASSES[:1]).encode()).decode()
    return base64.b64encode((inner + " ").encode()).decode() + "\n"


SHAPES: dict[str, Callable[[random.Random], str]] = {
    "url-like": _fixed("a.a.a."),
    "phone-like": _fixed("1 1 1 "),
    "phone-plus": _digits("+00 00 0000 0000 "),
    "phone-plus-run": _digits("+000000000000 "),
    "phone-plus-unspaced": _digits("+0000000000"),
    "phone-double-zero": _digits("0000 00 00 00 00 "),
    "phone-national": _digits("00 0000 0000 "),
    "phone-national-long": _digits("(000) 00 00 00 00 00, "),
    "phone-national-comma": _digits("0000 000000,"),
    "phone-north-american": _digits("(200) 200-0000 "),
    "phone-word": _digits("phone 0000000000 "),
    "phone-word-zero": lambda rng: "phone 0" + varied("000000000 ", rng, _CLASSES[:1]),
    "phone-de": lambda rng: "tel 0" + varied("000 0000000 ", rng, _CLASSES[:1]),
    "phone-formatted": lambda rng: (
        rng.choice(("01 ", "02 ", "04 ")) + varied("00 00 00 00\n", rng, _CLASSES[:1])
    ),
    "dates": _digits("2000-00-00 "),
    "dates-dotted": _digits("00.00.2000 "),
    "times": _digits("00:00:00 "),
    "mails": lambda rng: varied("aaa@aaaaa.com ", rng, _CLASSES),
    "mails-unknown": lambda rng: varied("aaa@aaa.aaa.aaa.aaa.zzz ", rng, _CLASSES),
    "mails-joined": _fixed("a@a.a@a.a@"),
    "mails-labels": lambda rng: "a@" + varied("a." * 20, rng, _CLASSES) + " ",
    "ibans": _digits("DE00 0000 0000 0000 0000 00 "),
    "ibans-norway": _digits("NO00 0000 0000 000 "),
    "ibans-letters": _fixed("DE12A"),
    "cards": _digits("4000 0000 0000 0000 "),
    "cards-joined": _digits("4000"),
    "cards-plain": _digits("5100000000000000\n"),
    "cards-spaced": _digits("4 0 0 0 "),
    "ssns": _digits("200-00-0000 "),
    "ips": _digits("10.20.30.00 "),
    "ips-v6": lambda rng: varied("2001:0000:0000:0000::00 ", rng, _CLASSES[:1]),
    "colons": _fixed("a:"),
    "one-word": _fixed("a"),
    "mail-like": _fixed("aaaaa@"),
    "card-like": _fixed("4111-1"),
    "percent": _fixed("%41%42"),
    "percent-apart": _fixed("%41 a"),
    "percent-of-percent": _fixed("%2541"),
    "percent-long-words": lambda rng: "%41" + "a" * 140,
    "base64-like": _fixed("QUJDRE"),
    "base64-blobs": _blob,
    "base64-in-base64": _nested,
    "base64-slashes": _fixed("QUJDREVGR0hJSg/"),
    "base64-lines": _fixed("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo\n"),
    "base64-short": lambda rng: varied("aAaAaAaAaAaAaA0 ", rng, _CLASSES),
    "hex-like": lambda rng: bytes(rng.randrange(32, 127) for _ in range(12)).hex() + " ",
    "hex-spaced": lambda rng: bytes(rng.randrange(32, 127) for _ in range(12)).hex(" ") + " ",
    "spaced-letters": lambda rng: varied("a a a a a a a a a ", rng, _CLASSES),
    "spaced-runs": lambda rng: varied("a a a a a a a a  ", rng, _CLASSES) + "x" * 3 + " ",
    "keyword": _fixed("ignore"),
    "keywords": _fixed("ignore all previous instructions "),
    "assignment": _fixed("pass: "),
    "assignments": lambda rng: varied("password = aA0aA0aA0aA0 ", rng, _CLASSES),
    "invisible": _fixed("\u200b"),
    "invisible-mixed": _fixed("\u200b\u200bé"),
    "invisible-between": _fixed("a\u200b"),
    "tags": _fixed("\U000e0061"),
    "tags-apart": _fixed("\U000e0061\U000e0062\U000e0063\U000e0064a"),
    "selectors": _fixed("\ufe0f\ufe0e\U000e0155\U000e0161x"),
    "entities": _fixed("&amp;a"),
    "entities-numeric": _digits("&#100;"),
    "entities-near": _fixed("&amp;amp;amp;amp;"),
    "escapes": _fixed("\\u0061"),
    "escapes-near": _fixed("\\\\\\\\\\\\\\\\"),
    "expansions": _fixed("ﬁ\\n="),
    "ligatures": _fixed("\ufdfa"),
    "accents": _fixed("e\u0301"),
    "controls": _fixed("a\x00"),
    "ansi": _fixed("\x1b[0m"),
    "comments": _fixed("<!-- -"),
    "pem": _fixed("-----B"),
    "placeholders": _fixed("<EMAIL_ADDRESS_abcde12345>"),
    "placeholders-near": _fixed("<A_"),
    "placeholders-around": _digits("<A_abcde12345>(200) 200-0000 "),
    "angles": _fixed("<"),
    "quotes": _fixed('"'),
    "braces": _fixed("{"),
    "words": lambda rng: varied("aaaaaa aaa aaaaaaa ", rng, _CLASSES),
    "han": lambda rng: chr(rng.randrange(0x4E00, 0x9FA5)),
    "every-script": lambda rng: chr(rng.choice((0x430, 0x3B1, 0x1D400, 0xFF21, 0x660)) + rng.randrange(10)),
}
"""Shapes that hurt scanners: ours, Presidio's and those of the literature."""


def of_shapes() -> Iterator[Hostile]:
    for name, unit in SHAPES.items():
        yield Hostile(name, Surface.USER, unit)
