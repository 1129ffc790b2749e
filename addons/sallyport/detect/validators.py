"""Second looks at a matched value: checksums, structure, entropy, and values known to be examples."""

import base64
import binascii
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

from sallyport.detect.letters import is_random
from sallyport.detect.published import is_published
from sallyport.detect.shapes import base62_crc32

_PLACEHOLDER = re.compile(
    r"(?i)^(?:your|my|the|some|insert|enter|replace|put|paste|add)[-_ ]|^an?[-_ ][a-z]+(?:[-_. ]|$)|example|sample"
    r"|dummy|placeholder|changeme|change[-_ ]me|redacted|masked"
    r"|\bhere$|[-_]here\b|(?:token|key|string|secret)here$|xxxx"
    r"|\*\*\*|\.\.\.|•••|…|openssl[-_ ]rand|^<.*>$|^\$\{?|^\{\{|^%\(|^\[.*\]$"
    r"|^(?:none|null|nil|undefined|true|false|todo|tbd|n/?a|test|testing|password|passwd|secret|token|string|str"
    r"|abc123|foo|bar|baz|foobar|hunter2?|qwerty|empty|default|optional|required|value)$"
    r"|0123456789|1234567890|abcdefghij|^(?:test|fake|mock|foo)[-_](?:[a-z]+(?:[-_]|$)|x)"
)
_REFERENCE = re.compile(
    r"^(?:os\.|process\.|env\.|ENV\[|config\.|self\.|this\.|settings\.|secrets\.|var\.|local\.|data\.|vault[:.])"
    r"|^[A-Za-z_][\w.]*\(|^[A-Za-z_]\w*(?:\.\w+)+$|^[A-Za-z_]\w*\[|^/|^https?://|^\.{1,2}/|^--?\w"
)

_HEX = re.compile(r"^[0-9a-fA-F:-]+$")

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RIPPLE = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_TERMS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def entropy(text: str) -> float:
    """Return the Shannon entropy in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values()) if text else 0.0


def is_placeholder(value: str) -> bool:
    """Say whether a value plainly stands for another: an example, a variable, a mask; or is printed in a manual."""
    return (
        bool(_PLACEHOLDER.search(value))
        or len(set(value)) <= 3
        or _typed_along(value) >= _ALONG
        or is_published(value)
        or _is_sample_login(value)
    )


_ALONG = 0.5
"""Share of a value in rows such as abc, 4567 or aaa from which somebody made it up; of a random key 0.02 is."""


def _typed_along(value: str) -> float:
    """Return the share of letters and digits in rows of three and more that repeat or count up.

    A share, so that a made-up ending does not make an example of the real key before it.
    """
    bare = [ord(c) for c in value.lower() if c.isalnum()]
    rows = length = 0
    for place, code in enumerate(bare):
        step = code - bare[place - 1] if place else -1
        length = length + 1 if step in (0, 1) else 1
        rows += 3 if length == 3 else length > 3
    return rows / len(bare) if bare else 0.0


def luhn(value: str) -> bool:
    digits = [int(c) for c in reversed(value) if c.isdigit()]
    total = sum(d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(digits))
    return len(digits) > 1 and len(set(digits)) > 1 and total % 10 == 0


def iban(value: str) -> bool:
    """ISO 13616: country, two check digits, remainder 1 modulo 97."""
    bare = re.sub(r"[ .-]", "", value).upper()
    if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", bare):
        return False
    return int("".join(str(int(c, 36)) for c in bare[4:] + bare[:4])) % 97 == 1


def key(value: str) -> bool:
    """A random-looking key: not an example, and no single character dominates."""
    return not is_placeholder(value) and entropy(value) >= 2.5


def tail_key(value: str) -> bool:
    """A key in parts, of which the last is the secret: the numbers before it may have been made up."""
    tail = value.rsplit("-", 1)[-1]
    return key(value) or (len(tail) >= 16 and _turns(tail) >= 4 and key(tail))


def strong_key(value: str) -> bool:
    """A key without a telling prefix: letters and digits mixed, high entropy."""
    return (
        not is_placeholder(value)
        and not _is_reference(value)
        and _is_mixed(value)
        and entropy(value) >= (2.8 if _HEX.match(value) else min(3.5, 0.82 * math.log2(len(value))))
    )


def _is_reference(value: str) -> bool:
    """Say whether a value is code that fetches another; parts that are random belong to a key with points."""
    if value.startswith("/"):
        return not _begins_with_slash(value)
    return bool(_REFERENCE.search(value)) and not any(_turns(part) >= 4 for part in value.split("."))


_BASE64 = re.compile(r"/{1,2}[A-Za-z0-9+/]{20,}={0,2}")
_STEP = re.compile(r"[A-Z]?[a-z]{2,}\d{0,4}|[A-Z]{3,}|\d+|[0-9a-f]{8,}")


def _begins_with_slash(value: str) -> bool:
    """Say whether a value is base64 that begins with a slash, as one of 64 does, and no path.

    Random signs turn from letters to figures and from small to great all along; a path has steps that are words,
    numbers and hashes, and no step as long as what stands between two slashes of base64.
    """
    if _BASE64.fullmatch(value) is None or not all(re.search(c, value) for c in (r"[a-z]", r"[A-Z]", r"\d")):
        return False
    steps = [step for step in value.rstrip("=").split("/") if len(step) > 2]
    if not steps or any(_STEP.fullmatch(step) for step in steps) or max(map(len, steps)) < 8:
        return False
    return _turns(value) >= 0.2 * len(value) and entropy(value) >= 3.6


def _is_mixed(value: str) -> bool:
    """Letters and digits; letters alone if their case changes more often than between words, or they are no words."""
    letters, figures = re.search(r"[A-Za-z]", value), re.search(r"\d", value)
    if not letters or figures:
        return bool(letters)
    return (
        (len(value) >= 24 and _turns(value) >= 0.19 * len(value)) or _unspeakable(value) or is_random(value)
    )


_CONSONANTS = re.compile(r"(?i)[b-df-hj-np-tv-xz]{4}")


def _unspeakable(value: str) -> bool:
    """Twenty letters and more with few vowels: in words two of five are, of random letters one of five is."""
    letters = re.sub(r"[^a-z]", "", value.lower())
    vowels = sum(c in "aeiou" for c in letters)
    return len(letters) >= 20 and vowels <= 0.27 * len(letters) and bool(_CONSONANTS.search(value))


def number_key(value: str) -> bool:
    """A key of digits alone, which only its name can tell from any other number."""
    return len(set(value)) >= 5 and not is_placeholder(value) and not value.endswith("00000")


def upper_key(value: str) -> bool:
    """An access key id in capitals: digits among the letters, or letters that make no word."""
    return not is_placeholder(value) and entropy(value) >= 2.9 and (_turns(value) >= 3 or _unspeakable(value))


def told_key(value: str) -> bool:
    """A key in a sentence: random throughout, and no identifier that is printed everywhere."""
    identifier = re.fullmatch(
        r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:sha\d*|md5)[-:][\w+/=-]+", value
    )
    return identifier is None and strong_key(value) and (_turns(value) >= 3 or is_random(value))


def vendor_key(value: str) -> bool:
    """A key behind a vendor's prefix: the part after the last separator is random, not a word or a number."""
    body = re.split(r"[_-]", value)[-1]
    return _turns(body) >= 4 and not is_placeholder(value) and entropy(body) >= 3.0


def _turns(value: str) -> int:
    """Count where letters and digits, or cases, follow on one another: words and numbers seldom do it."""
    return len(re.findall(r"[A-Za-z]\d|\d[A-Za-z]|[a-z][A-Z]", value))


_WORD = re.compile(r"[A-Za-z]{1,30}")


def assigned_key(value: str) -> bool:
    """A key behind its name: letters alone are one where they are random, and otherwise a word or the name of one."""
    return strong_key(value) and (_WORD.fullmatch(value) is None or _unspeakable(value) or is_random(value))


def mixed_key(value: str) -> bool:
    """A key in parts, with upper and lower case and digits throughout, which code names have not."""
    mixed = all(re.search(c, value) for c in (r"[a-z]", r"[A-Z]", r"\d.*\d"))
    if value.startswith("/") and not _begins_with_slash(value):
        return False
    return mixed and key(value) and entropy(value) >= 3.3


def password(value: str) -> bool:
    """A value that someone could have chosen: not an example, not code, not a plain word."""
    if is_placeholder(value) or len(value) < 6:
        return False
    if _REFERENCE.search(value) and not (value.startswith("/") and _begins_with_slash(value)):
        return False
    if is_random(value):
        return True
    classes = sum(bool(re.search(c, value)) for c in (r"[a-z]", r"[A-Z]", r"\d", r"[^\w\s]"))
    return classes >= 3 or (classes == 2 and bool(re.search(r"\d", value)) and entropy(value) >= 2.2)


def spoken_password(value: str) -> bool:
    """A password in a sentence: more than a word with a full stop."""
    bare = value.rstrip(".,;:!?'\")")
    return password(bare) and (bool(re.search(r"\d|[^\w'-]", bare)) or is_random(bare))


_CODE_WORDS = """
a above accept add admin after all allow an and any api app append application arg args array async attr
attribute auth authenticate authentication authorization authorizer auto available await background base basic
bearer before begin behavior below bool boolean border bottom box btn bucket buffer build builder button by
bytes cache call callback cancel card cell cert certificate change changed char characters chars check
checkbox children choice class clear click client close cls cluster code col color column command comment
compare complete component cond config configuration confirm confirmation connection const container content
context control cookie count counter create cred credential credentials crypt csrf css current custom customer
dark data database date debug declare decode decoder decrypt default delete delimiter deploy deprecated
description destination detail details device dialog digest dir direction disabled display div doc document
does domain done down download drop duration edit editor element email empty en enabled encode encoded encoder
encoding encrypted encryption end endpoint enter entity entry enum env environment equal error event every
exception exists expired expires expiry export extern external extra eye factory failed fallback false feature
fetch field file filter final find first fixed flag flow focus folder font for forgot form format formatted
frame from full func function generate generated generator get global gone grid group guest handle handler has
hash hashed header help hidden hide hint home hook host hover html http icon id identifier if image import in
inactive include index info initial inner input insecure inspector instance int integer interface internal
invalid is item job join jwt key keyring keys keyword kind kubernetes label lambda lang language large last
later layout left length level lib light limit line link list listener load loader local locale location lock
log login logout long lower mac main manager map margin master match matches max mechanism media member memory
menu message method middleware min minimum mismatch missing mobile modal mode model module month mount mounted
multi mutation my name namespace native new next no node none not notation notice null number oauth object of
off ok old on one only opaque open operator option optional options or order output owner package padding page
panel param parameter params parent parse parser patch path pattern payload pending permission picker pin
placeholder plain plugin point policy pool port position post prefix primary private process production
profile prompt prop properties property props protected provider proxy public punctuation query queue quote
random range read ready reducer ref reference refresh regex region register registration release reload remote
remove render replace repo request require required reserved reset resource response restore result retry
return right role root rounded route router row rule rules safe salt sample sandbox save schema scheme scope
screen script search secondary section secure security select selector self send separator series server
service session set setting settings shadow shared short should show sign signal signature signin signing
single size slot small sort source spec stack stage standard start state statement static status step stop
storage store str stream strength string strong style sub subject submit success suffix summary support switch
symbol sync syntax system tab table tag tail target task temp template temporary test text the theme this time
title tls to toggle token tokens tool tooltip top total track translation trigger true tuple type uid
unchanged undefined unique unknown unset up update upload upper uri url usage use user username users util
utils uuid valid validate validation validator validators value values var variable verification verify
version view virtual visibility visible void wait warning was watch weak web weight widget width window with
without word words wrapper write wrong xml year yes you your zone
"""
_CODE = frozenset(_CODE_WORDS.split())
"""Words of which names in code, settings and forms are made; a password of two of them is taken for such a name."""

_TELLS = re.compile(
    r"(?i)pass(?:w|ph|c|e$|es$)|pwd|passe\b|secret|token|credential|kennw|schlussel|geheim|wachtw|senha|contras|losen"
    r"|adgang|salasan|heslo|jelsz|sifre|lozink|parola\b|author?iz|authent|placeh|changeme|letme|opensesame|example"
    r"|sample|dummy|insert|replace|redact|(?:in)?correct|invalid|require|default|foobar|barbaz|lorem|encrypt|vault"
    r"|config|setting|database|kubern|postgres|mysql|maria|mongo|rabbit|localhost|keyring|keychain|bitward|keepass"
    r"|lastpass|obligat|verplicht|mandat|username|unknown|identif|qwert"
    r"|asdf|correcthorse|abcde"
    r"|plaintext|account|disabled|benutzer|unbekannt|wrong"
)
"""What stands in words for a password, in what is said of one and in defaults."""

_KNOWN = re.compile(
    r"(?i)sunshine|whatever|something|anything|staple|swordfish|superman|batman|starwars|trustno|iloveyou|welcome"
)
"""What everybody takes for a password in an example."""

_ENDS = re.compile(
    r"(?i)(?:ed|able|ible|tory|ional|[ts]ion|ment|ity|ness|[ae]nce|[ae]nt|[ae]ncy|ive|ous|[ai]lly|ful|less|ism|ist|ure|ical"
    r"|ate|ated|ify|i[sz]e|orio|oria|orie|oire|lich|ung|ungen|heit|keit|isch|iva|ivo|cion|zione|cao|eur|euse|igt|bar|schaft"
    r"|ology|graphy|ators?|itors?|[tdlnmkv]ing|ering|ship"
    r"|(?:roll|hold|met|act|ain|scrib|sum|ifi|lett|put|velop|anag|ovid|lish)ers?|ies|als|ics?|ary|ad[oa]|iert|iges?)$"
)
"""How long words end of which there are many; two words in one seldom do."""

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def word_key(value: str) -> bool:
    """Three words and more, joined, of which no name of code is made."""
    pieces = [piece.lower() for piece in _PIECE.findall(value)]
    return (
        word_password(value)
        and len(pieces) > 2
        and not any(piece in _CODE or len(piece) < 3 for piece in pieces)
    )


def word_password(value: str) -> bool:
    """Words joined, or letters at random: what somebody chose, and neither one word nor a name of code."""
    if is_placeholder(value) or is_published(value):
        return False
    bare = value.rstrip("!?*#.@$%&+")
    if is_random(bare):
        return True
    if _TELLS.search(bare):
        return False
    parts = re.split(r"[ ._+&-]", bare)
    pieces = [piece.lower() for part in parts for piece in _PIECE.findall(part)]
    if len(pieces) < 3 and _KNOWN.search(bare):
        return False
    if len(pieces) > 1:
        return (
            max(map(len, pieces)) >= 4
            and len(bare) >= 8
            and 2 * sum(piece in _CODE or len(piece) < 3 for piece in pieces)
            <= len(pieces) - (len(pieces) == 2)
        )
    lower = bare.lower()
    halves = any(lower[:place] in _CODE and lower[place:] in _CODE for place in range(4, len(lower) - 3))
    return len(bare) >= _JOINED_WORDS and bare == lower and not halves and _ENDS.search(bare) is None


_JOINED_WORDS = 10
"""Small letters of two words in one; a single word is seldom as long."""


def url_password(value: str) -> bool:
    """A password in an address; short and simple ones count, words for a password do not."""
    stand_in = re.fullmatch(r"(?i)pass(?:word)?|pwd|secret|user(?:name)?", value)
    return stand_in is None and not is_placeholder(value)


def basic_login(value: str) -> bool:
    """User and password in base64, as RFC 7617 and RFC 4616 write them; not the example there."""
    user, word = _login(value)
    return user != "Aladdin" and len(word.strip()) >= 4 and word[0] != " " and url_password(word)


def _login(value: str) -> tuple[str, str]:
    """Return the user and the password that base64 holds; both empty if it holds none."""
    try:
        plain = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    user, _, word = plain.strip("\0").partition("\0" if plain.startswith("\0") else ":")
    return (user, word) if user.isprintable() and word.isprintable() else ("", "")


_STAND_IN = re.compile(r"(?i)my[-_ ]?(?:user(?:name)?|pass(?:word)?)|user(?:name)?|pass(?:word|wd)?")


def _is_sample_login(value: str) -> bool:
    """Say whether base64 holds a login that stands for one, as in manuals: user:password."""
    if len(value) > 40:
        return False
    user, word = _login(value)
    return bool(word) and (bool(_STAND_IN.fullmatch(user) and _STAND_IN.fullmatch(word)))


def jwt(value: str) -> bool:
    """Three parts, of which the first is a JSON object that names an algorithm, or the second one of claims."""
    head, claims = (_json_object(part) for part in value.split(".")[:2])
    return "alg" in head or "enc" in head or len(claims) > 1


def _json_object(part: str) -> dict[str, object]:
    """Return what a part of a token holds, or nothing if it is no JSON object."""
    try:
        decoded = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def github(value: str) -> bool:
    """The last six characters are the base62 CRC-32 of the thirty before; examples in documents fail it."""
    body = value.split("_")[-1]
    return len(body) == 36 and base62_crc32(body[:30]) == body[30:]


def private_key(value: str) -> bool:
    """A block that holds at least two lines' worth of base64, not only its frame."""
    body = re.sub(r"-----[^-]{1,60}-----|\\[rn]|[\s\"',+]|\w+-?\w*: [^\n]{1,80}\n", "", value)
    return len(body) >= 40 and len(set(body)) > 12 and "..." not in body


def de_tax_id(value: str) -> bool:
    """ISO 7064 MOD 11,10; in the first ten digits one comes twice or three times."""
    digits = _digits(value)
    if len(digits) != 11 or digits[0] == 0 or max(Counter(digits[:10]).values()) > 3:
        return False
    return _mod_11_10(digits)


def de_vat(value: str) -> bool:
    """ISO 7064 MOD 11,10 over nine digits."""
    digits = _digits(value)
    return len(digits) == 9 and digits[0] > 0 and _mod_11_10(digits)


def _mod_11_10(digits: Sequence[int]) -> bool:
    product = 10
    for digit in digits[:-1]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == digits[-1]


def de_social_security(value: str) -> bool:
    """VKVV section 4: birth date inside, letter as two digits, digit sums of weighted products."""
    bare = value.replace(" ", "")
    if not (1 <= int(bare[2:4]) <= 81 and 1 <= int(bare[4:6]) <= 12):
        return False
    digits = [int(c) for c in f"{bare[:8]}{ord(bare[8]) - 64:02d}{bare[9:11]}"]
    products = [d * w for d, w in zip(digits, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True)]
    return sum(p // 10 + p % 10 for p in products) % 10 == int(bare[11])


def sg_nric(value: str) -> bool:
    """The check letter of Singapore's identity numbers; T, G and M series are shifted."""
    total = sum(d * w for d, w in zip(_digits(value), (2, 7, 6, 5, 4, 3, 2), strict=True))
    if value[0] == "T":
        return "JZIHGFEDCBA"[(total + 4) % 11] == value[-1]
    if value[0] == "G":
        return "XWUTRQPNMLK"[(total + 4) % 11] == value[-1]
    if value[0] == "M":
        return "KLJNPQRTUWX"[10 - (total + 3) % 11] == value[-1]
    return ("JZIHGFEDCBA" if value[0] == "S" else "XWUTRQPNMLK")[total % 11] == value[-1]


def cn_resident_id(value: str) -> bool:
    """GB 11643: ISO 7064 MOD 11-2."""
    total = sum(int(c) * pow(2, 17 - i, 11) for i, c in enumerate(value[:17]))
    return "10X98765432"[total % 11] == value[17].upper()


def de_id_card(value: str) -> bool:
    """ICAO 9303: letters as numbers, weights 7, 3, 1."""
    bare = value.replace(" ", "")
    total = sum(int(c, 36) * (7, 3, 1)[i % 3] for i, c in enumerate(bare[:9]))
    return len(bare) == 10 and total % 10 == int(bare[9])


def br_cnpj(value: str) -> bool:
    digits = _digits(value)
    if len(digits) != 14 or len(set(digits)) == 1:
        return False
    for length in (12, 13):
        weights = [(length - 1 - place) % 8 + 2 for place in range(length)]
        rest = sum(d * w for d, w in zip(digits, weights, strict=False)) % 11
        if (0 if rest < 2 else 11 - rest) != digits[length]:
            return False
    return True


def tr_national_id(value: str) -> bool:
    """The tenth digit comes from the odd and even places, the eleventh from the sum of ten."""
    digits = _digits(value)
    return (
        len(digits) == 11
        and (sum(digits[0:9:2]) * 7 - sum(digits[1:8:2])) % 10 == digits[9]
        and sum(digits[:10]) % 10 == digits[10]
    )


def se_personnummer(value: str) -> bool:
    """Luhn over the last ten digits; the day is raised by 60 in a coordination number."""
    digits = "".join(c for c in value if c.isdigit())[-10:]
    return 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) % 60 <= 31 and luhn(digits)


def za_id_number(value: str) -> bool:
    digits = "".join(c for c in value if c.isdigit())
    return 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31 and luhn(digits)


def telephone(value: str) -> bool:
    """As many digits as a telephone number can have, and not the shape of a date."""
    date = re.fullmatch(r"\d{4}[-./]\d\d?[-./]\d\d?|\d\d?[-./]\d\d?[-./]\d{4}", value)
    return 7 <= len(_digits(value)) <= 15 and date is None


def br_cpf(value: str) -> bool:
    digits = _digits(value)
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    for length in (9, 10):
        total = sum(d * w for d, w in zip(digits, range(length + 1, 1, -1), strict=False))
        if total * 10 % 11 % 10 != digits[length]:
            return False
    return True


def fr_nir(value: str) -> bool:
    bare = re.sub(r"[ .-]", "", value).replace("2A", "19").replace("2B", "18")
    return len(bare) == 15 and 97 - int(bare[:13]) % 97 == int(bare[13:])


def fr_vat(value: str) -> bool:
    """The company's number with its own check digit, before it two digits from it; letters are not checked."""
    bare = re.sub(r"[ .-]", "", value)
    key, siren = bare[-11:-9], bare[-9:]
    return luhn(siren) and (not key.isdigit() or (12 + 3 * int(siren)) % 97 == int(key))


def fr_siret(value: str) -> bool:
    """Luhn over the company and over the whole; the establishments of the post are numbered otherwise."""
    digits = _digits(value)
    bare = "".join(map(str, digits))
    post = bare.startswith("356000000") and sum(digits) % 5 == 0
    return len(digits) == 14 and luhn(bare[:9]) and (post or luhn(bare))


def uk_vat(value: str) -> bool:
    """Seven digits weighted and two of check, modulo 97, since 2010 also with 55 more; three may follow of a branch."""
    digits = _digits(value)
    if len(digits) not in (9, 12) or not any(digits[:7]):
        return False
    total = sum(d * w for d, w in zip(digits, (8, 7, 6, 5, 4, 3, 2, 10, 1), strict=False))
    return total % 97 in (0, 42)


def nl_vat(value: str) -> bool:
    """Of a company by the test of eleven; of a sole trader, since 2020, by ISO 7064 MOD 97-10."""
    bare = re.sub(r"[ .-]", "", value).upper()
    return nl_bsn(bare[2:11]) or int("".join(str(int(c, 36)) for c in bare)) % 97 == 1


def pl_regon(value: str) -> bool:
    digits = _digits(value)
    weighted = sum(d * w for d, w in zip(digits, (8, 9, 2, 3, 4, 5, 6, 7), strict=False))
    if len(digits) not in (9, 14) or not any(digits) or weighted % 11 % 10 != digits[8]:
        return False
    unit = sum(d * w for d, w in zip(digits, (2, 4, 8, 5, 0, 9, 7, 3, 6, 1, 2, 4, 8), strict=False))
    return len(digits) == 9 or unit % 11 % 10 == digits[13]


def eu_vat(value: str) -> bool:
    """VAT numbers by their country's own check digits; those of Spain end in a letter or a digit of control."""
    bare = re.sub(r"[ .-]", "", value).upper()
    country, body = bare[:2], bare[2:]
    digits = _digits(body)
    if country == "AT":
        sums = sum(d * w // 10 + d * w % 10 for d, w in zip(digits, (1, 2, 1, 2, 1, 2, 1), strict=False))
        return len(digits) == 8 and (6 - sums) % 10 == digits[7]
    if country == "BE":
        return len(digits) == len(body) == 10 and 97 - int(body[:8]) % 97 == int(body[8:])
    if country == "IE":
        return _irish(body)
    if country == "SE":
        return len(digits) == len(body) == 12 and luhn(body[:10])
    if country == "ES":
        return _spanish(body)
    weights = _VAT_WEIGHTS.get(country, ())
    if len(digits) != len(weights) + 1 or not any(digits):
        return False
    rest = sum(d * w for d, w in zip(digits, weights, strict=False)) % 11
    if country == "PL":
        return rest == digits[-1]
    if country == "DK":
        return (rest + digits[-1]) % 11 == 0
    return (11 - rest) % 11 == digits[-1] or (country == "PT" and rest == 1 and digits[-1] == 0)


_VAT_WEIGHTS: dict[str, tuple[int, ...]] = {
    "DK": (2, 7, 6, 5, 4, 3, 2),
    "FI": (7, 9, 10, 5, 8, 4, 2),
    "PL": (6, 5, 7, 2, 3, 4, 5, 6, 7),
    "PT": (9, 8, 7, 6, 5, 4, 3, 2),
}


_IRISH = re.compile(r"[0-9][0-9A-Z][0-9]{5}[A-W][A-IW]?")
_SPANISH = re.compile(r"(?:[0-9]{8}|[XYZ][0-9]{7})[A-Z]|[A-W][0-9]{7}[0-9A-J]")


def _irish(body: str) -> bool:
    """Seven digits, a letter of control, since 2013 one more; before 1980 the second character was none of a number."""
    if _IRISH.fullmatch(body) is None:
        return False
    if not body[1].isdigit():
        body = f"0{body[2:7]}{body[0]}{body[7:]}"
    second = body[8:9]
    total = sum(int(c) * w for c, w in zip(body[:7], (8, 7, 6, 5, 4, 3, 2), strict=True))
    total += 9 * (0 if second in ("", "W") else ord(second) - 64)
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == body[7]


def _spanish(body: str) -> bool:
    """Of a person the number modulo 23; of a company, by Luhn, a digit or its letter."""
    if _SPANISH.fullmatch(body) is None:
        return False
    if body[0].isdigit() or body[0] in "XYZ":
        number = int(body[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2"))
        return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == body[-1]
    control = next((d for d in range(10) if luhn(f"{body[1:8]}{d}")), None)
    return control is not None and body[-1] in (str(control), "JABCDEFGHI"[control])


def jp_my_number(value: str) -> bool:
    digits = _digits(value)
    rest = sum(d * w for d, w in zip(digits, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2), strict=False)) % 11
    return len(digits) == 12 and len(set(digits)) > 1 and digits[11] == (0 if rest <= 1 else 11 - rest)


def it_vat(value: str) -> bool:
    return len(_digits(value)) == 11 and luhn(value)


def crypto_address(value: str) -> bool:
    """Base58 with the checksum of Bitcoin, Litecoin, Dogecoin, Tron and Ripple; or Bech32, old or new."""
    if "1" in value[1:6] and value == value.lower() and not value[0].isdigit():
        prefix, _, data = value.partition("1")
        expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
        remainder = 1
        for number in (*expanded, *(_BECH32.find(c) for c in data)):
            top = remainder >> 25
            remainder = (remainder & 0x1FFFFFF) << 5 ^ number
            for place, term in enumerate(_BECH32_TERMS):
                remainder ^= term if top >> place & 1 else 0
        return set(data) <= set(_BECH32) and remainder in (1, 0x2BC830A3)
    alphabet = _RIPPLE if value[0] == "r" else _BASE58
    number = 0
    for char in value:
        number = number * 58 + alphabet.index(char)
    if number >> 200:
        return False
    raw = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def nl_bsn(value: str) -> bool:
    digits = _digits(value)
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return len(digits) == 9 and sum(d * w for d, w in zip(digits, weights, strict=True)) % 11 == 0


def _digits(value: str) -> list[int]:
    return [int(c) for c in value if c.isdigit()]


VALIDATORS: dict[str, Callable[[str], bool]] = {
    "luhn": luhn,
    "iban": iban,
    "key": key,
    "strong_key": strong_key,
    "mixed_key": mixed_key,
    "assigned_key": assigned_key,
    "word_key": word_key,
    "word_password": word_password,
    "told_key": told_key,
    "number_key": number_key,
    "upper_key": upper_key,
    "vendor_key": vendor_key,
    "password": password,
    "spoken_password": spoken_password,
    "url_password": url_password,
    "tail_key": tail_key,
    "basic_login": basic_login,
    "jwt": jwt,
    "github": github,
    "private_key": private_key,
    "de_tax_id": de_tax_id,
    "de_social_security": de_social_security,
    "sg_nric": sg_nric,
    "cn_resident_id": cn_resident_id,
    "br_cpf": br_cpf,
    "crypto_address": crypto_address,
    "br_cnpj": br_cnpj,
    "de_id_card": de_id_card,
    "tr_national_id": tr_national_id,
    "se_personnummer": se_personnummer,
    "za_id_number": za_id_number,
    "telephone": telephone,
    "fr_nir": fr_nir,
    "nl_bsn": nl_bsn,
    "it_vat": it_vat,
    "de_vat": de_vat,
    "fr_vat": fr_vat,
    "fr_siret": fr_siret,
    "uk_vat": uk_vat,
    "nl_vat": nl_vat,
    "pl_regon": pl_regon,
    "eu_vat": eu_vat,
    "jp_my_number": jp_my_number,
}
