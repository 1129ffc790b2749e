"""Disguises: each turns a value into a text from which a deterministic decoder gets it back.

tier 1: one such decode finds it. tier 2: a second layer, or joining what was written apart, is needed too.
"""

import base64
import codecs
import gzip
import quopri
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

type Disguise = Callable[[str], str]


@dataclass(frozen=True)
class Trick:
    """row: of the table in the report. whole: disguises the phrase, not only the value in it."""

    name: str
    row: str
    tier: int
    disguise: Disguise
    whole: bool = False
    rewrites: bool = False


def between(mark: str) -> Disguise:
    return lambda v: mark.join(v)


def _mapped(*ranges: tuple[str, int]) -> Disguise:
    table: dict[int, int] = {}
    for chars, first in ranges:
        table |= {ord(c): first + n for n, c in enumerate(chars)}
    return lambda v: v.translate(table)


_LOWER, _UPPER, _DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"


def _styled(lower: int, upper: int, digits: int) -> Disguise:
    return _mapped((_LOWER, lower), (_UPPER, upper), (_DIGITS, digits))


def _fullwidth(v: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in v)


def _swapped(source: str, target: str) -> Disguise:
    return lambda v: v.translate(str.maketrans(source, target))


def _alternating(v: str) -> str:
    return "".join(c.upper() if n % 2 else c.lower() for n, c in enumerate(v))


def _selectors(v: str) -> str:
    return "\U0001f600" + "".join(chr(0xFE00 + b) if b < 16 else chr(0xE0100 + b - 16) for b in v.encode())


def _tags(v: str) -> str:
    return "".join(chr(0xE0000 + ord(c)) for c in v)


CHARACTERS = "character tricks"
INVISIBLE = "invisible text: tags, selectors"
ENCODED = "encodings"
LAYERS = "two layers"
APART = "letters written apart"

_MARKS = {
    "zero-width-space": "\u200b", "zero-width-joiner": "\u200d", "zero-width-non-joiner": "\u200c",
    "word-joiner": "\u2060", "byte-order-mark": "\ufeff", "soft-hyphen": "\u00ad", "left-to-right-mark": "\u200e",
    "right-to-left-mark": "\u200f", "arabic-letter-mark": "\u061c", "invisible-times": "\u2062",
    "invisible-separator": "\u2063", "grapheme-joiner": "\u034f", "hangul-filler": "\u3164",
    "mongolian-separator": "\u180e", "text-selector": "\ufe0e", "emoji-selector": "\ufe0f",
    "ideographic-selector": "\U000e0100", "tag-space": "\U000e0020", "null": "\x00", "backspace": "\x08",
    "escape-colour": "\x1b[0m", "interlinear-anchor": "\ufff9", "khmer-vowel": "\u17b4", "musical-beam": "\U0001d173",
    "delete": "\x7f", "next-to-nothing": "\u200b\u2060\ufeff",
}  # fmt: skip

_ACCENTS = {
    "combining-acute": "\u0301", "combining-strike": "\u0336", "combining-underline": "\u0332",
    "combining-circle": "\u20dd", "combining-zalgo": "\u0353\u0310\u0342",
}  # fmt: skip

_SPACES = {
    "no-break-space": "\u00a0", "thin-space": "\u2009", "figure-space": "\u2007", "ideographic-space": "\u3000",
    "narrow-no-break": "\u202f", "en-dash": "\u2013", "em-dash": "\u2014", "minus": "\u2212",
    "non-breaking-hyphen": "\u2011", "fullwidth-hyphen": "\uff0d",
}  # fmt: skip


def characters() -> Iterator[Trick]:
    """Yield tricks on single characters: what is left is the value to any reader."""
    for name, mark in _MARKS.items():
        yield Trick(name, CHARACTERS, 1, between(mark))
    for name, mark in _ACCENTS.items():
        yield Trick(name, CHARACTERS, 1, lambda v, m=mark: "".join(c + m if c.isalnum() else c for c in v))
    for name, mark in _SPACES.items():
        swap = _swapped(" -", mark * 2)
        yield Trick(name, CHARACTERS, 1, swap, rewrites=True)
    yield Trick("one-zero-width", CHARACTERS, 1, lambda v: v[: len(v) // 2] + "\u200b" + v[len(v) // 2 :])
    yield Trick("fullwidth", CHARACTERS, 1, _fullwidth)
    yield Trick("bold", CHARACTERS, 1, _styled(0x1D41A, 0x1D400, 0x1D7CE))
    yield Trick("sans", CHARACTERS, 1, _styled(0x1D5BA, 0x1D5A0, 0x1D7E2))
    yield Trick("monospace", CHARACTERS, 1, _styled(0x1D68A, 0x1D670, 0x1D7F6))
    yield Trick("bold-italic", CHARACTERS, 1, _styled(0x1D482, 0x1D468, 0x1D7CE))
    yield Trick("circled", CHARACTERS, 1, _mapped((_LOWER, 0x24D0), (_UPPER, 0x24B6), ("123456789", 0x2460)))
    yield Trick("squared", CHARACTERS, 1, lambda v: _mapped((_UPPER, 0x1F130))(v.upper()), rewrites=True)
    yield Trick("superscript", CHARACTERS, 1, _swapped(_DIGITS, "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    yield Trick("subscript", CHARACTERS, 1, _mapped((_DIGITS, 0x2080)))
    yield Trick("arabic-digits", CHARACTERS, 1, _mapped((_DIGITS, 0x660)))
    yield Trick("persian-digits", CHARACTERS, 1, _mapped((_DIGITS, 0x6F0)))
    yield Trick("devanagari-digits", CHARACTERS, 1, _mapped((_DIGITS, 0x966)))
    yield Trick("thai-digits", CHARACTERS, 1, _mapped((_DIGITS, 0xE50)))
    yield Trick(
        "keycaps", CHARACTERS, 1, lambda v: "".join(c + "\ufe0f\u20e3" if c.isdigit() else c for c in v)
    )
    yield Trick("cyrillic", CHARACTERS, 1, _swapped("aeopcxyiAEOPCXTBHKM", "аеорсхуіАЕОРСХТВНКМ"))
    yield Trick(
        "greek", CHARACTERS, 1, _swapped("oivAEOPTBHKMNZ", "ονιΑΕΟΡΤΒΗΚΜΝΖ"[:1] + "ιν" + "ΑΕΟΡΤΒΗΚΜΝΖ")
    )
    yield Trick("accents", CHARACTERS, 1, _swapped("aeoiuAEOIU", "áéöïûÁÉÖÏÛ"), rewrites=True)
    yield Trick("small-capitals", CHARACTERS, 1, _swapped("abcdeginorstu", "ᴀʙᴄᴅᴇɢɪɴᴏʀꜱᴛᴜ"), rewrites=True)
    yield Trick("bidi-embedding", CHARACTERS, 1, lambda v: f"\u202a{v}\u202c")
    yield Trick("bidi-isolate", CHARACTERS, 1, lambda v: f"\u2066{v[:5]}\u2069{v[5:]}")
    yield Trick("bidi-override-each", CHARACTERS, 1, lambda v: "".join(f"\u202d{c}\u202c" for c in v))
    yield Trick("upper-case", CHARACTERS, 1, str.upper, rewrites=True)
    yield Trick("lower-case", CHARACTERS, 1, str.lower, rewrites=True)
    yield Trick("mixed-case", CHARACTERS, 1, _alternating, rewrites=True)
    yield Trick("one-dot-leader", CHARACTERS, 1, _swapped(".@", "․＠"), rewrites=True)
    yield Trick("ideographic-stop", CHARACTERS, 1, _swapped(".", "。"), rewrites=True)
    yield Trick("tags", INVISIBLE, 1, _tags, whole=True)
    yield Trick("tags-inside-a-word", INVISIBLE, 1, lambda v: f"fi{_tags(v)}ne", whole=True)
    yield Trick("emoji-smuggling", INVISIBLE, 1, _selectors, whole=True)


def _json(times: int) -> Disguise:
    import json

    def wrap(v: str) -> str:
        text = v
        for _ in range(times):
            text = json.dumps({"note": text})
        return text

    return wrap


def _base64(v: str) -> str:
    return base64.b64encode(v.encode()).decode()


def _printable(v: str) -> str:
    return "".join(f"={b:02X}" for b in v.encode())


def _soft_breaks(v: str) -> str:
    return "=\n".join(v[n : n + 6] for n in range(0, len(v), 6))


def _raw_deflate(v: str) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(v.encode()) + packer.flush()


ENCODINGS: dict[str, Disguise] = {
    "base64": _base64,
    "base64-url": lambda v: base64.urlsafe_b64encode(v.encode()).decode(),
    "base64-unpadded": lambda v: _base64(v).rstrip("="),
    "base64-wrapped": lambda v: "\n".join(_base64(v)[n : n + 20] for n in range(0, len(_base64(v)), 20)),
    "base64-mime": lambda v: base64.encodebytes((v + " " * 40 + v).encode()).decode(),
    "base64-quoted": lambda v: (
        base64.encodebytes((v + " " * 40 + v).encode()).decode().strip().replace("\n", "\n> ")
    ),
    "base64-then-word": lambda v: _base64(v).rstrip("=") + "\nRegards",
    "base64-gzip-second": lambda v: "\n".join(
        base64.b64encode(gzip.compress(t.encode(), mtime=0)).decode() for t in ("nothing to see here", v)
    ),
    "base64-padded-inside": lambda v: _base64("x" * 9 + " " + v + " " + "y" * 9),
    "base64-utf-16": lambda v: base64.b64encode(v.encode("utf-16-le")).decode(),
    "base64-utf-16-be": lambda v: base64.b64encode(v.encode("utf-16-be")).decode(),
    "base64-gzip": lambda v: base64.b64encode(gzip.compress(v.encode(), mtime=0)).decode(),
    "base64-zlib": lambda v: base64.b64encode(zlib.compress(v.encode())).decode(),
    "base64-deflate": lambda v: base64.b64encode(_raw_deflate(v)).decode(),
    "base64-data-url": lambda v: f"data:text/plain;base64,{_base64(v)}",
    "base32": lambda v: base64.b32encode(v.encode()).decode(),
    "base32-lower": lambda v: base64.b32encode(v.encode()).decode().lower().rstrip("="),
    "hex": lambda v: v.encode().hex(),
    "hex-upper": lambda v: v.encode().hex().upper(),
    "hex-prefixed": lambda v: "0x" + v.encode().hex(),
    "hex-spaced": lambda v: v.encode().hex(" "),
    "hex-groups": lambda v: v.encode().hex(" ", -4),
    "hex-wrapped": lambda v: "\n".join(
        v.encode().hex()[n : n + 32] for n in range(0, 2 * len(v.encode()), 32)
    ),
    "hex-colons": lambda v: v.encode().hex(":"),
    "hex-commas": lambda v: ", ".join(f"0x{b:02x}" for b in v.encode()),
    "percent": lambda v: "".join(f"%{b:02X}" for b in v.encode()),
    "percent-lower": lambda v: "".join(f"%{b:02x}" for b in v.encode()),
    "percent-reserved": lambda v: quote(v, safe=""),
    "percent-digits": lambda v: "".join(f"%{ord(c):02X}" if c.isdigit() else c for c in v),
    "entities-decimal": lambda v: "".join(f"&#{ord(c)};" for c in v),
    "entities-padded": lambda v: "".join(f"&#{ord(c):07d};" for c in v),
    "entities-hex": lambda v: "".join(f"&#x{ord(c):x};" for c in v),
    "entities-unclosed": lambda v: " ".join("".join(f"&#{ord(c)}" for c in w) for w in v.split(" ")),
    "entities-named": lambda v: (
        v.replace("@", "&commat;").replace(".", "&period;").replace(" ", "&nbsp;").replace("-", "&hyphen;")
    ),
    "escapes-unicode": lambda v: "".join(f"\\u{ord(c):04x}" for c in v),
    "escapes-braces": lambda v: "".join(f"\\u{{{ord(c):x}}}" for c in v),
    "escapes-long": lambda v: "".join(f"\\U{ord(c):08x}" for c in v),
    "escapes-hex": lambda v: "".join(f"\\x{ord(c):02x}" for c in v),
    "escapes-octal": lambda v: "".join(f"\\{ord(c):03o}" for c in v),
    "quoted-printable": _printable,
    "quoted-printable-digits": lambda v: "".join(
        f"={ord(c):02X}" if c.isdigit() or c in "@." else c for c in v
    ),
    "quoted-printable-breaks": _soft_breaks,
    "quoted-printable-library": lambda v: quopri.encodestring(v.encode(), quotetabs=True).decode(),
    "rot13": lambda v: codecs.encode(v, "rot13"),
    "json-1": _json(1),
    "json-2": _json(2),
    "json-3": _json(3),
    "json-4": _json(4),
    "json-5": _json(5),
    "percent-plus": lambda v: quote(v, safe="").replace("%20", "+"),
}

_INNER = ("base64", "hex", "percent", "entities-hex", "escapes-unicode", "base64-gzip", "quoted-printable")
_OUTER = ("base64", "hex", "percent", "entities-decimal", "escapes-unicode", "json-1", "base64-url")
_STYLES = ("zero-width-space", "fullwidth", "cyrillic", "bold", "soft-hyphen", "arabic-digits", "accents")


def encodings() -> Iterator[Trick]:
    for name, disguise in ENCODINGS.items():
        yield Trick(name, ENCODED, 1, disguise, whole=True)


def layered() -> Iterator[Trick]:
    """Yield two encodings over one another, and a trick of characters below an encoding."""
    for outer in _OUTER:
        for inner in _INNER:
            first, second = ENCODINGS[inner], ENCODINGS[outer]
            yield Trick(f"{outer}-of-{inner}", LAYERS, 2, lambda v, f=first, s=second: s(f(v)), whole=True)
    styles = {t.name: t for t in characters() if t.name in _STYLES}
    for outer in ("base64", "hex", "percent", "entities-hex", "escapes-unicode", "json-1"):
        for name, style in styles.items():
            if name == "bold" and outer == "escapes-unicode":
                continue  # four digits cannot spell it
            second = ENCODINGS[outer]
            yield Trick(
                f"{outer}-of-{name}",
                LAYERS,
                2,
                lambda v, f=style.disguise, s=second: s(f(v)),
                whole=True,
                rewrites=style.rewrites,
            )


def apart() -> Iterator[Trick]:
    """Yield values with something visible between all their characters."""
    for name, mark in (
        ("spaced", " "),
        ("dotted", "."),
        ("dashed", "-"),
        ("underscored", "_"),
        ("starred", "*"),
    ):
        yield Trick(name, APART, 2, lambda v, m=mark: m.join(v.replace(" ", "")) if m != " " else "  ".join(
            " ".join(w) for w in v.split(" ")))  # fmt: skip


def fits(trick: Trick, name: str, value: str, exact: bool) -> bool:
    """Say whether a trick changes a value and leaves it the same value to a reader."""
    if trick.disguise(value) == value and trick.name not in ("lower-case", "upper-case"):
        return False
    if exact and trick.rewrites:
        return False
    if (
        name == "order"
        and ("dash" in trick.name or "hyphen" in trick.name or trick.name == "minus")
        and trick.rewrites
    ):
        return False
    if exact and trick.name.startswith("combining"):
        return False
    if trick.name in ("rot13", "squared", "small-capitals", "mixed-case", "upper-case", "lower-case"):
        return any(c.isalpha() for c in value) and not (exact and trick.name != "rot13")
    return not (trick.row == APART and name in ("key", "number"))
