"""Which token of a text is a password, a code or a key, where words near it speak of one.

A rule knows shapes that somebody thought of; people write "open it with Mallard-Tues-5" and "admin/ricoh-Blau7". So
the tokens around such words are judged by a linear model that has learnt from texts what credentials look like and
what is said around them. It is plain sums: of a token's own features, and of those of what stands around it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import orjson

from sallyport.detect.published import is_published
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

_RUN = 200
"""Characters of a run that are looked at: names and a token."""

_ALIKE = 16
"""Tokens of a text that are alike but for their digits and are judged: what goes on counting is no password."""

_PARTS = r"""\s"'`“”„«»<>(){}\[\],;|¦，。、；：（）「」『』【】《》〈〉‹›"""
_JOINED = (
    r"[^\W\d_]{2,}[._-](?:[A-Z][^\W\d_]|[^\W\d_]{2,}[.-][^\W\d_]{2})|[^\W\d_A-Z]+[A-Z][^\W\d_]*_[^\W\d_]{2}"
)
"""How words begin that are joined as in passwords: Pen-Duick, owl.in.barn, sorryNotSorry_Bex. Most names are not."""

_TOKEN = re.compile(
    rf"(?<![^{_PARTS}])(?=(?:[^\W\d]|[./:’-])*+[^{_PARTS}]|(?:{_JOINED}))[^{_PARTS}]{{4,{_RUN}}}"
)
"""Runs of characters of which one is neither a letter nor what joins words and names; and joined words."""

_SIGN = re.compile(rf"\d|[^\w{_PARTS}./:’-]|(?<![^\W\d_])(?:{_JOINED})")
"""What every token holds, and most prose does not."""

_SET = re.compile(r"^#?[\w.-]{1,40}=(?=[^=])|^[^\W\d_]{1,24}:(?=[^:/])")
_QUERY = re.compile(r"^\??[\w.%-]{1,40}=[^&=?]*(?:&[\w.%-]{1,40}=[^&=?]*)+$")
"""A query of an address, alone: name=value&name=value."""

_VALUE = re.compile(r"(?<==)[^&]+")

_MEMBER = re.compile(r">\w{1,40}[(;]")
"""What follows "-" where a member is called by an arrow."""

_CUT = ("[...]", "[…]")
"""What says that a part of a value was left out: no whole value stands on either side."""

_END = re.compile(r"[.:?…]+$")
_MARKED = re.compile(r"^(\*{1,3}|_{1,2}|~~)([^*~]+)\1$")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|\d+|[^\w\s]")
_PART = re.compile(r"[^\W\d_]+|\d+|[\W_]")
_PLAIN = re.compile(r"^(?:[^\W\d]|[./:’-])*=?$|^[\d\W_]*$")
"""Names, numbers and marks. A number alone is left to rules: it may be anything."""

_TYPED = re.compile(
    rf"^(?=.*[^\W\dA-Z_])(?:{_JOINED})(?:[^\W\d]|[.-])*+$"
    r"|^[*#]?\d{3,10}[#*]\d{0,6}$|^[*#]\d{3,10}$|^\d(?:-\d){3,7}$"
)
"""Of these, what is judged all the same: joined words, and numbers as they are typed on doors."""

_TOLD = re.compile(
    r"^(?:[0-9a-f]{16,}|[0-9A-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|0x[0-9a-fA-F]+"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|@\w+|/[\w.%/-]*|@[\w-]+(?:\.[\w-]+)+(?::\d+)?/.*"
    r"|#?\d+(?:ms|s|min|h|d|%|[KMGT]i?B?)|[~^]\d+(?:\.\d+){1,2}|this\.#?[A-Za-z_]+\d?"
    r"|(?i:bsd|mit|[al]?gpl|gfdl|mpl|apache|artistic|epl|eupl|cc-by(?:-[a-z]{2}){0,2})-\d(?:\.\d)*\+?"
    r"(?:-[Cc]lause(?:-[A-Za-z]+)?|-or-later|-only)?"
    r"|.*(?:\*{3}|•{3}|[\w-](?:\.{3}|…)\w{1,6}$|x{6}|X{6}).*|.*(?:openssl[-_]rand|[-_]pwgen).*)$"
)
"""What is known for what it is: hashes, UUIDs and keys like them, which rules tell by their names; numbers of code and
of settings, versions, licences, addresses, handles, paths, members; masked values and what says how to make one.
"""

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


class Judge:
    """Judges the tokens of one text, each once however many telling words stand near it; is gone with the scan."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._until = 0
        self._own: dict[str, tuple[int, str]] = {}
        """What tokens are worth, and their kinds, by what features see of them: digits are alike."""
        self._alike: Counter[str] = Counter()

    def near(self, start: int, end: int) -> Iterator[tuple[int, int, float]]:
        """Yield (start, end, 1.0) of the credentials around text[start:end], which speaks of one.

        Words come in the order of the text; what was judged for one of them is not yielded for the next.
        """
        low, high = around(self._text, start, end)
        low, self._until = max(low, self._until), max(high, self._until)
        if _SIGN.search(self._text, low, high + _RUN) is None:
            return
        for first, last in tokens(self._text, low, high):
            judged = self._is_one(*parted(self._text, first, last))
            if judged and not is_published(self._text[first:last]) and not is_known(self._text, first, last):
                yield first, last, 1.0

    def _is_one(self, before: str, token: str, after: str) -> bool:
        model = shipped()
        seen = _zeros(token)
        self._alike[seen] += 1
        if self._alike[seen] > _ALIKE:
            return False
        known = self._own.get(seen)
        if known is None:
            known = self._own[seen] = _sum(model, own_features(seen)), _kinds(seen)
        own, kinds = known
        lacking = model.threshold - model.bias - own
        return model.around >= lacking and _sum(model, _features_around(before, kinds, after)) >= lacking


_C_NAME = re.compile(r"[A-Za-z_]\w*")
_C_BEHIND = re.compile(r"[ \t]\*{1,2}[A-Za-z_]\w*[ \t]?[,;)=]")
_C_STACK = re.compile(r"(?:STACK_OF|DEFINE_\w{1,40}|DECLARE_\w{1,40})\([\w, \t]*$")
_DEFINED = re.compile(r"#[ \t]?define[ \t]{1,4}(\w{4,60})[ \t]{1,16}$")
_ARROW = re.compile(r"(?:\w|\b(?:if|while|for|return|switch) )\([^\n]*(?<![\w>])[a-z_]\w*->$")
_MEMBER_ENDS = re.compile(r"\s?[,);\[]|->|\s?(?:[=!<>]=|&&|\|\|)")
_GLOB = re.compile(r"[\w.-]+(?:/[\w.-]+)+/\*")
_SYMBOL = re.compile(r"_Z[A-Z0-9]\w+(?:@{1,2}[\w.]+)?")
_CHORD = re.compile(
    r"(?:(?:Shift|Ctrl|Control|Alt|Cmd|Command|Option|Meta|Super|Win)[+-]){1,3}(?:F?\d{1,2}|[A-Za-z])"
)
_PUBLIC_BLOCK = re.compile(
    r"-----BEGIN (?:(?:RSA |EC |DSA )?PUBLIC KEY-----[A-Za-z0-9+/=\s]*"
    r"|(?:PGP (?:PUBLIC KEY BLOCK|SIGNATURE)|CERTIFICATE(?: REQUEST)?|X509 CRL)-----[ \t]*\r?\n"
    r"(?:[ \t]*(?:Version|Comment|Hash|Charset): [^\n]*\n)*(?:[ \t]*[A-Za-z0-9+/=]*\r?\n)*[ \t]*[A-Za-z0-9+/=]*)$"
)
_PUBLISHABLE = re.compile(r"(?:pk_(?:live|test)|sb_publishable)_[A-Za-z0-9_-]{16,}$")
"""Keys that their vendors call publishable: they stand in every page of a shop."""

_PUBLIC_NAME = re.compile(
    r"(?i)(?:(?:^|[^A-Za-z])(?:data-)?site[_-]?key[\"']?\s?[:=]\s?[\"']?"
    r"|captcha(?: v[23])? site[ _-]?key[\"'`]?(?:\s?[:=]|\sis)?\s{1,2}[\"'`]?"
    r"|\bPublicKey[ \t]{0,3}=[ \t]{0,3}[A-Za-z0-9+/]{0,44})$"
)
_PUBLIC_TOKEN = re.compile(r"(?:PublicKeyToken\s?=\s?)?[0-9a-f]{16}")
_SEALED = re.compile(
    r"ENC\[AES256_GCM,data:(?:[A-Za-z0-9+/=]*,(?:iv:[A-Za-z0-9+/=]*,)?(?:tag:|iv:)?)?$|,(?:iv|tag):$"
    r"|[=:][ \t]?[\"']?ENC\($"
)
_COLOURS = (
    r"(?:slate|gray|grey|zinc|neutral|stone|red|orange|amber|yellow|lime|green|emerald|teal|cyan|sky|blue|indigo"
    r"|violet|purple|fuchsia|pink|rose|primary|secondary|accent|brand)"
)
_OF_CODE = re.compile(
    r"[Ss]tring\.(?:Empty|IsNull\w{0,20})|b64(?:enc|dec)|[a-z]{2,12}(?:\.[a-z]\w{0,20}){1,5}\.[A-Z]?\w{0,20}Driver"
    r"|(?:[a-z-]{2,16}:){0,3}(?:bg|text|border(?:-[xytrblse])?|ring(?:-offset)?|from|via|to|shadow|divide|outline|fill"
    rf"|stroke|placeholder|accent|caret|decoration)-{_COLOURS}-(?:50|[1-9]00|950)(?:/\d{{1,3}})?"
    r"|%(?:25)?[A-Z]{3,20}%(?:25)?(?:%5C|[\\/]).*\.\w{2,4}"
)
"""A constant, a function of Helm, the class of a driver, a colour of a style sheet, a path from a variable."""

_CIPHER = re.compile(
    r"(?i)[&*]{0,2}(?:(?:nettle|openssl|evp|gcry|gcrypt|mbedtls|wolfssl|wc|botan|gnutls|crypto|psa|libsodium)_)?"
    r"(?:aes|3?des3?|arcfour|arctwo|rc[2456]|salsa20(?:r12|r8)?|xsalsa20|x?chacha(?:20)?|poly1305|camellia|twofish|serpent"
    r"|blowfish|cast128|aria|sm[234]|sha[123]?|md[245]|ripemd160|blake2[bs]|gosthash94|keccak|gcm|cbc|ctr|ecb|ofb|cfb8?"
    r"|ccm|eax|siv|xts|ocb|hmac|cmac|umac|encrypt|decrypt|compress|core|init|128|160|192|224|256|384|512|[_-])+"
)
"""Names of ciphers and digests, their modes, sizes and libraries: nettle_cbc_aes128, xchacha20-poly1305."""

_OTHER_NAME = re.compile(
    r"(?i)(?:policy|rules|requirements|complexity)[\"']?\s{0,3}(?::=|=|:)\s{0,3}[\"'][^\"'\n]{0,40}$"
    r"|\busername:s:$|(?:^|[\s{,])org\s?=\s?[\"']$|\{\{[^{}\n]{0,80}\|\s?$"
    r"|\bmongodb(?:\+srv)?://[^\s\"'<>]{3,90},$"
    r"|\bdata-(?:cy|qa|e2e|test(?:-?id)?)=[\"']$"
)
"""What is before a token that is a rule for passwords, a user, an organisation, a filter, a host or a test's mark."""

_BLOCK = 8_000
"""Characters before a token in which the head of a block that everybody may read is looked for."""


def is_known(text: str, start: int, end: int) -> bool:
    """Say whether what was judged a credential is something else for certain, for what it is or what frames it.

    The model saw words beside it and its shape; the syntax of code says more. A value in quotes is none of these.
    """
    token, before = text[start:end], text[max(0, start - _BEFORE) : start]
    if _CHORD.fullmatch(token) or _SYMBOL.fullmatch(token) or _GLOB.fullmatch(token):
        return True
    if _PUBLISHABLE.match(token) or _PUBLIC_NAME.search(before) or _SEALED.search(before):
        return True
    if _OF_CODE.fullmatch(token) or _CIPHER.fullmatch(token) or _OTHER_NAME.search(before):
        return True
    if _PUBLIC_TOKEN.fullmatch(token) and "PublicKeyToken" in before[-20:] + token:
        return True
    if _C_NAME.fullmatch(token) is not None:
        if _C_BEHIND.match(text, end) or _C_STACK.search(before):
            return True
        if _ARROW.search(before) and _MEMBER_ENDS.match(text, end):
            return True
        defined = _DEFINED.search(before)
        if defined is not None and token.endswith(defined.group(1)):
            return True
    frame = text.rfind("-----BEGIN ", max(0, start - _BLOCK), start)
    return frame >= 0 and _PUBLIC_BLOCK.match(text[frame:start]) is not None


def around(text: str, start: int, end: int) -> tuple[int, int]:
    """Return in what part of a text tokens are judged because of what stands in text[start:end]."""
    return max(0, start - _AHEAD), min(len(text), end + _BEHIND)


def odds(text: str, start: int, end: int) -> float:
    """Return the log-odds of a token; it is reported from the model's threshold on, where it is worth enough itself."""
    model = shipped()
    before, token, after = parted(text, start, end)
    total = _sum(model, own_features(token)) + _sum(model, features_around(before, token, after))
    return (total + model.bias) * model.step


def _sum(model: Model, features: set[str]) -> int:
    weights = model.weights
    return sum([weights[crc32(feature.encode("utf-8", "replace")) % BUCKETS] for feature in features])


def tokens(text: str, low: int, high: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of tokens that may be credentials and begin in text[low:high]; a word is none."""
    for match in _TOKEN.finditer(text, low, min(len(text), high + _RUN)):
        start, end = match.span()
        if start >= high:
            return
        if text.startswith(("(", *_CUT), end):  # what is called is no value, nor is what is cut
            continue
        if (text.startswith("-", end - 1) and _MEMBER.match(text, end)) or text.endswith(_CUT, 0, start):
            continue
        if _QUERY.match(match.group()):
            for value in _VALUE.finditer(text, start, end):
                yield from _bare(*value.span(), text)
            continue
        yield from _bare(start, end, text)


def _bare(start: int, end: int, text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of a run without names before it and marks around it, where it may be a credential."""
    token = text[start:end]
    while (name := _SET.match(token)) is not None:
        token = token[name.end() :]
    start = end - len(token)
    if (behind := _END.search(token)) is not None:
        token = token[: behind.start()]
    if (marked := _MARKED.match(token)) is not None:
        start += marked.start(2)
        token = marked.group(2)
    if 4 <= len(token) <= _MOST and not (_is_plain(token) or _TOLD.match(token)):
        yield start, start + len(token)


def _is_plain(token: str) -> bool:
    return _PLAIN.match(token) is not None and _TYPED.match(token) is None


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
    return _features_around(before, _kinds(token), after)


def _features_around(before: str, kinds: str, after: str) -> set[str]:
    behind = [word[:12].lower() for word in _WORD.findall(before)[:-15:-1]]
    ahead = [word[:12].lower() for word in _WORD.findall(after)[:5]]
    words = [word[:_STEM] for word in behind if word[0].isalnum()][:3]
    line = before[before.rfind("\n") + 1 :]
    stripped = line.rstrip()
    return {
        *["near " + word[:_STEM] for word in behind],
        *["ahead " + word[:_STEM] for word in ahead],
        *[f"{place} {word}" for place, word in enumerate(behind[:4])],
        *[f"+{place} {word}" for place, word in enumerate(ahead[:2])],
        "pair " + " ".join(behind[:2]),
        "three " + " ".join(behind[:3]),
        *[f"word {place} {word}" for place, word in enumerate(words)],
        f"of {' '.join(words[:1])} {kinds}",
        f"between {before[-1:]} {after[:1]}",
        f"before {before[-2:]}",
        f"line {'begins' if not stripped else 'label' if stripped[-1] in ':=' else 'goes on'}",
        f"code {min(sum(map(line.count, '(){};=<>[]')), 6)}",
        f"words {min(len(line.split()), 9)}",
    }


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
