# ruff: noqa: E501
"""One random value of each entity, in the spellings people use; checksums hold where there are any."""

import random
import string
from collections.abc import Callable
from hashlib import sha256

from quality import checksums as sums
from quality.checksums import digits
from quality.names import FAMILY, FIRMS, GIVEN, STREETS, TOWNS

type Maker = Callable[[random.Random], str]

_LETTERS = string.ascii_uppercase


def make(entity: str, rng: random.Random) -> str:
    """Return a value of an entity."""
    return _MAKERS[entity](rng)


def _spaced(text: str, sizes: tuple[int, ...], by: str) -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(text[at : at + size])
        at += size
    return by.join([*parts, text[at:]] if text[at:] else parts)


def _ascii(name: str) -> str:
    return name.lower().replace("ë", "e")


def _email(rng: random.Random) -> str:
    given, family = _ascii(rng.choice(GIVEN)), _ascii(rng.choice(FAMILY))
    local = rng.choice(
        [
            f"{given}.{family}",
            f"{given[0]}{family}",
            f"{given}_{family}{rng.randint(1, 99)}",
            f"{given}+news",
            family,
        ]
    )
    firm = "".join(c for c in rng.choice(FIRMS).lower() if c.isalnum())
    host = rng.choice(
        [
            "gmail.com",
            "example.org",
            "mail.example.co.uk",
            f"{firm}.com",
            f"{firm}.de",
            "uni-jena.de",
            "outlook.fr",
            "proton.me",
            "correo.es",
            f"support.{firm}.io",
        ]
    )
    return f"{local}@{host}"


_AREAS = [
    "212",
    "415",
    "312",
    "617",
    "206",
    "512",
    "303",
    "404",
    "702",
    "919",
    "646",
    "213",
    "305",
    "416",
    "604",
]


def _phone(rng: random.Random) -> str:
    area, exchange, line = (
        rng.choice(_AREAS),
        f"{rng.randint(2, 9)}{rng.randint(0, 9)}{rng.randint(2, 9)}",
        digits(rng, 4),
    )
    us = (
        f"({area}) {exchange}-{line}",
        f"{area}-{exchange}-{line}",
        f"{area}.{exchange}.{line}",
        f"+1 {area} {exchange} {line}",
    )
    us += (
        f"+1-{area}-{exchange}-{line}",
        f"1-{area}-{exchange}-{line}",
        f"+1{area}{exchange}{line}",
        f"+1 ({area}) {exchange}-{line}",
    )
    us += f"({area}){exchange}-{line}", f"{area} {exchange} {line}"
    extension = rng.choice(
        ["", "", "", "", f" x{digits(rng, 3)}", f" ext. {digits(rng, 4)}", f"x{digits(rng, 4)}"]
    )
    other = rng.choice(
        [
            f"+44 20 7{digits(rng, 3)} {digits(rng, 4)}",
            f"020 7{digits(rng, 3)} {digits(rng, 4)}",
            f"+44 7{rng.choice('4579')}{digits(rng, 2)} {digits(rng, 6)}",
            f"07{rng.choice('4579')}{digits(rng, 2)} {digits(rng, 6)}",
            f"+44 (0)161 4{digits(rng, 2)} {digits(rng, 4)}",
            f"0161 4{digits(rng, 2)} {digits(rng, 4)}",
            f"+49 30 {digits(rng, 7, '23456789')}",
            f"030/{digits(rng, 7, '23456789')}",
            f"+49 (0)89 {digits(rng, 6, '23456789')}",
            f"0171 {digits(rng, 7, '23456789')}",
            f"+49 151 {digits(rng, 8, '23456789')}",
            f"089 {digits(rng, 3, '23456789')} {digits(rng, 4)}",
            f"0151-{digits(rng, 8, '23456789')}",
            f"0049 40 {digits(rng, 7, '23456789')}",
            "+33 "
            + " ".join(
                ["1", *(digits(rng, 2, "456") for _ in range(1)), *(digits(rng, 2) for _ in range(3))]
            ),
            "06 " + " ".join(digits(rng, 2, "12345678") for _ in range(4)),
            "01.4" + digits(rng, 1) + "." + ".".join(digits(rng, 2) for _ in range(3)),
            "+33 (0)6 " + " ".join(digits(rng, 2, "12345678") for _ in range(4)),
            f"+34 6{digits(rng, 2)} {digits(rng, 3)} {digits(rng, 3)}",
            f"91 {digits(rng, 3, '2345')} {digits(rng, 2)} {digits(rng, 2)}",
            f"6{digits(rng, 2, '0123456789')} {digits(rng, 3)} {digits(rng, 3)}",
            f"+39 06 {digits(rng, 4, '4567')} {digits(rng, 4)}",
            f"+39 33{rng.randint(1, 9)} {digits(rng, 7)}",
            f"02 {digits(rng, 8, '4678')}",
            f"+31 6 {digits(rng, 8, '12345')}",
            f"06-{digits(rng, 8, '12345')}",
            f"+31 (0)20 {digits(rng, 3, '23456')} {digits(rng, 4)}",
            f"020-{digits(rng, 7, '23456')}",
            f"+48 60{rng.randint(0, 9)} {digits(rng, 3)} {digits(rng, 3)}",
            f"+41 44 {digits(rng, 3, '2345')} {digits(rng, 2)} {digits(rng, 2)}",
            f"+43 1 {digits(rng, 7, '2345')}",
            f"+46 70 {digits(rng, 3)} {digits(rng, 2)} {digits(rng, 2)}",
            f"+91 98{digits(rng, 3)} {digits(rng, 5)}",
            f"+91-98{digits(rng, 8)}",
            f"+55 11 9{digits(rng, 4, '6789')}-{digits(rng, 4)}",
            f"(11) 9{digits(rng, 4, '6789')}-{digits(rng, 4)}",
            f"+61 4{digits(rng, 2, '0123')} {digits(rng, 3)} {digits(rng, 3)}",
            f"(02) 9{digits(rng, 3)} {digits(rng, 4)}",
            f"04{digits(rng, 2, '0123')} {digits(rng, 3)} {digits(rng, 3)}",
            f"+86 138 {digits(rng, 4)} {digits(rng, 4)}",
            f"+81 90-{digits(rng, 4, '123456')}-{digits(rng, 4)}",
            f"+65 9{digits(rng, 3)} {digits(rng, 4)}",
            f"+353 87 {digits(rng, 3)} {digits(rng, 4)}",
            f"+972 54-{digits(rng, 3, '2345')}-{digits(rng, 4)}",
            f"+27 82 {digits(rng, 3)} {digits(rng, 4)}",
            f"+52 55 {digits(rng, 4, '1235')} {digits(rng, 4)}",
            f"+90 532 {digits(rng, 3)} {digits(rng, 4)}",
        ]
    )
    return rng.choice([rng.choice(us) + extension, other, other])


def _card(rng: random.Random) -> str:
    kind = rng.choice(["visa", "visa", "master", "master2", "amex", "discover", "jcb", "diners"])
    prefix, length = {
        "visa": ("4", 16),
        "master": (f"5{rng.randint(1, 5)}", 16),
        "master2": ("2" + digits(rng, 3, "345"), 16),
        "amex": (rng.choice(["34", "37"]), 15),
        "discover": ("6011", 16),
        "jcb": ("35" + str(rng.randint(30, 88)), 16),
        "diners": ("36", 14),
    }[kind]
    number = sums.luhn(prefix + digits(rng, length - 1 - len(prefix)))
    sizes = {16: (4, 4, 4, 4), 15: (4, 6, 5), 14: (4, 6, 4)}[length]
    return rng.choice([number, _spaced(number, sizes, " "), _spaced(number, sizes, "-")])


_BBAN = {
    "DE": "n18",
    "GB": "a4n14",
    "FR": "n10c11n2",
    "ES": "n20",
    "IT": "a1n10c12",
    "NL": "a4n10",
    "BE": "n12",
    "PL": "n24",
    "CH": "n5c12",
    "AT": "n16",
    "SE": "n20",
    "NO": "n11",
    "DK": "n14",
    "PT": "n21",
    "IE": "a4n14",
    "FI": "n14",
    "AE": "n19",
    "SA": "n2c18",
    "TR": "n5n1c16",
    "GR": "n7c16",
}


def _iban(rng: random.Random) -> str:
    country = rng.choice(list(_BBAN))
    body, pattern = "", _BBAN[country]
    while pattern:
        kind, count = pattern[0], ""
        pattern = pattern[1:]
        while pattern and pattern[0].isdigit():
            count, pattern = count + pattern[0], pattern[1:]
        body += "".join(
            rng.choice({"n": string.digits, "a": _LETTERS, "c": _LETTERS + string.digits}[kind])
            for _ in range(int(count))
        )
    whole = f"{country}{98 - sums.mod_97(body + country + '00'):02d}{body}"
    return rng.choice([whole, _spaced(whole, (4,) * (len(whole) // 4), " ")])


def _ip(rng: random.Random) -> str:
    if rng.random() < 0.3:
        groups = [f"{rng.getrandbits(16):x}" for _ in range(8)]
        groups[0] = rng.choice(["2001", "2a02", "2600", "2a01", "fd12"])
        return rng.choice(
            [
                ":".join(groups),
                ":".join(groups[:4]) + "::" + groups[7],
                ":".join(groups[:3]) + "::" + ":".join(groups[5:]),
            ]
        )
    first = rng.choice([*range(12, 100), *range(128, 223), 10, 10, 192, 172])
    rest = [rng.randint(0, 255) for _ in range(3)]
    if first in (172, 192):
        rest[0] = {172: rng.randint(16, 31), 192: 168}[first]
    if first == 169:
        first = 81
    return ".".join(map(str, (first, *rest[:2], rng.randint(1, 254))))


def _mac(rng: random.Random) -> str:
    pairs = [f"{rng.getrandbits(8):02x}" for _ in range(6)]
    style = rng.choice([":", "-", "."])
    text = ".".join("".join(pairs[i : i + 2]) for i in (0, 2, 4)) if style == "." else style.join(pairs)
    return rng.choice([text, text.upper()])


def _url(rng: random.Random) -> str:
    host = rng.choice(
        [
            "www.example.org",
            "docs.example.com",
            "shop.example.co.uk",
            "intranet.acme.io:8443",
            "blog.example.de",
        ]
    )
    path = rng.choice(
        [
            "",
            "/",
            f"/users/{digits(rng, 4)}",
            "/a/b-c_d.html",
            f"/search?q=red+shoes&page={rng.randint(1, 9)}",
            "/guide#install",
        ]
    )
    return rng.choice(["https://", "http://", "https://"]) + host + path


def _ssn(rng: random.Random) -> str:
    area = rng.choice([a for a in range(1, 900) if a not in (0, 666)])
    parts = f"{area:03d}", f"{rng.randint(1, 99):02d}", f"{rng.randint(1, 9999):04d}"
    return rng.choice(["-", "-", "-", " ", ""]).join(parts)


def _birth(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1935, 2010)
    name = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ][month - 1]
    return rng.choice(
        [
            f"{year}-{month:02d}-{day:02d}",
            f"{month:02d}/{day:02d}/{year}",
            f"{day:02d}.{month:02d}.{year}",
            f"{day} {name} {year}",
            f"{name} {day}, {year}",
            f"{day:02d}/{month:02d}/{year}",
            f"{day}.{month}.{year}",
            f"{day:02d}-{name[:3]}-{year}",
        ]
    )


def _nino(rng: random.Random) -> str:
    while True:
        prefix = rng.choice("ABCEGHJKLMNOPRSTWXYZ") + rng.choice("ABCEGHJKLMNPRSTWXYZ")
        if prefix not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"):
            break
    number = digits(rng, 6)
    return rng.choice([f"{prefix}{number}", f"{prefix} {_spaced(number, (2, 2, 2), ' ')} "]) + rng.choice(
        "ABCD"
    )


def _nhs(rng: random.Random) -> str:
    while True:
        body = digits(rng, 9, "469")
        check = 11 - sums.weighted(body, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
        if check != 10:
            number = body + str(check % 11)
            return rng.choice([number, _spaced(number, (3, 3, 4), " "), _spaced(number, (3, 3, 4), "-")])


def _nif(rng: random.Random) -> str:
    number = digits(rng, 8)
    return number + rng.choice(["", "", "-"]) + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def _nie(rng: random.Random) -> str:
    index = rng.randint(0, 2)
    number = digits(rng, 7)
    return (
        "XYZ"[index]
        + number
        + rng.choice(["", "-"])
        + "TRWAGMYFPDXBNJZSQVHLCKE"[int(f"{index}{number}") % 23]
    )


def _fiscal(rng: random.Random) -> str:
    consonants = "BCDFGLMNPRSTVZ"
    body = (
        "".join(rng.choice(consonants) for _ in range(6))
        + f"{rng.randint(40, 99)}"
        + rng.choice("ABCDEHLMPRST")
    )
    return sums.fiscal_code(
        body + f"{rng.randint(1, 28) + rng.choice([0, 40]):02d}" + rng.choice("ABCDEFGHIL") + digits(rng, 3)
    )


def _de_tax(rng: random.Random) -> str:
    while True:
        body = digits(rng, 10, "123456789")
        counts = sorted(body.count(d) for d in set(body))
        if (
            counts[-1] in (2, 3)
            and counts[:-1].count(counts[-1]) == 0
            and (len(counts) < 2 or counts[-2] == 1)
        ):
            number = sums.mod_11_10(body)
            return rng.choice([number, _spaced(number, (2, 3, 3, 3), " ")])


def _de_id(rng: random.Random) -> str:
    alphabet = "CFGHJKLMNPRTVWXYZ0123456789"
    return sums.icao(rng.choice("LMNPRTVWXY") + "".join(rng.choice(alphabet) for _ in range(8)))


def _nir(rng: random.Random) -> str:
    body = f"{rng.choice('12')}{rng.randint(30, 99):02d}{rng.randint(1, 12):02d}{rng.randint(1, 95):02d}{rng.randint(1, 990):03d}{rng.randint(1, 999):03d}"
    if body[5:7] == "20":
        body = body[:5] + "75" + body[7:]
    number = body + f"{97 - int(body) % 97:02d}"
    return rng.choice([number, _spaced(number, (1, 2, 2, 2, 3, 3, 2), " ")])


def _until(rng: random.Random, count: int, good: Callable[[str], bool], first: str = "123456789") -> str:
    while not good(number := digits(rng, count, first)):
        pass
    return number


def _bsn(rng: random.Random) -> str:
    return _until(rng, 9, lambda n: sums.weighted(n, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0)


def _pesel(rng: random.Random) -> str:
    body = f"{rng.randint(40, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{digits(rng, 4)}"
    return body + str(-sums.weighted(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10)


def _aadhaar(rng: random.Random) -> str:
    number = sums.verhoeff(digits(rng, 11, "23456789"))
    return rng.choice([number, _spaced(number, (4, 4, 4), " "), _spaced(number, (4, 4, 4), "-")])


def _pan(rng: random.Random) -> str:
    return (
        "".join(rng.choice(_LETTERS) for _ in range(3))
        + "P"
        + rng.choice(_LETTERS)
        + f"{rng.randint(1, 9999):04d}"
        + rng.choice(_LETTERS)
    )


def _tfn(rng: random.Random) -> str:
    number = _until(rng, 9, lambda n: sums.weighted(n, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0)
    return rng.choice([number, _spaced(number, (3, 3, 3), " ")])


def _abn(rng: random.Random) -> str:
    weights = (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)
    number = _until(rng, 11, lambda n: (sums.weighted(n, weights) - 10) % 89 == 0)
    return rng.choice([number, _spaced(number, (2, 3, 3, 3), " ")])


def _au_medicare(rng: random.Random) -> str:
    body = digits(rng, 8, "23456")
    number = body + str(sums.weighted(body, (1, 3, 7, 9, 1, 3, 7, 9)) % 10) + str(rng.randint(1, 4))
    return rng.choice([number, _spaced(number, (4, 5, 1), " ")])


def _nric(rng: random.Random) -> str:
    prefix, number = rng.choice("STFG"), digits(rng, 7)
    total = sums.weighted(number, (2, 7, 6, 5, 4, 3, 2)) + (4 if prefix in "TG" else 0)
    return prefix + number + ("JZIHGFEDCBA" if prefix in "ST" else "XWUTRQPNMLK")[total % 11]


def _hetu(rng: random.Random) -> str:
    body = f"{rng.randint(1, 28):02d}{rng.randint(1, 12):02d}{rng.randint(30, 99):02d}"
    serial = f"{rng.randint(2, 899):03d}"
    return body + "-" + serial + "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(body + serial) % 31]


def _rrn(rng: random.Random) -> str:
    body = f"{rng.randint(50, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{rng.choice('12')}{digits(rng, 5)}"
    check = (11 - sums.weighted(body, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return f"{body[:6]}-{body[6:]}{check}"


def _cpf(rng: random.Random) -> str:
    number = digits(rng, 9)
    for length in (10, 11):
        number += str(sums.weighted(number, tuple(range(length, 1, -1))) * 10 % 11 % 10)
    return rng.choice(
        [
            f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}",
            f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}",
            number,
        ]
    )


def _cnpj(rng: random.Random) -> str:
    number = digits(rng, 8) + "0001"
    for weights in ((5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2), (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)):
        rest = sums.weighted(number, weights) % 11
        number += str(0 if rest < 2 else 11 - rest)
    return f"{number[:2]}.{number[2:5]}.{number[5:8]}/{number[8:12]}-{number[12:]}"


def _sin(rng: random.Random) -> str:
    return _spaced(sums.luhn(digits(rng, 8, "1234567")), (3, 3, 3), rng.choice([" ", "-"]))


def _se_personal(rng: random.Random) -> str:
    body = f"{rng.randint(40, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{rng.randint(1, 999):03d}"
    number = sums.luhn(body)
    return rng.choice(["19", ""]) + f"{number[:6]}-{number[6:]}"


def _cn(rng: random.Random) -> str:
    body = (
        rng.choice(["110105", "310104", "440305", "510107"])
        + f"19{rng.randint(50, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{digits(rng, 3)}"
    )
    total = sum(int(c) * pow(2, 17 - i, 11) for i, c in enumerate(body))
    return body + "10X98765432"[total % 11]


def _tr(rng: random.Random) -> str:
    body = digits(rng, 9, "123456789")
    tenth = (sum(map(int, body[0::2])) * 7 - sum(map(int, body[1::2]))) % 10
    return body + str(tenth) + str((sum(map(int, body)) + tenth) % 10)


def _za(rng: random.Random) -> str:
    return sums.luhn(
        f"{rng.randint(50, 99)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{digits(rng, 4)}{rng.choice('01')}8"
    )


def _dea(rng: random.Random) -> str:
    body = digits(rng, 6)
    total = int(body[0]) + int(body[2]) + int(body[4]) + 2 * (int(body[1]) + int(body[3]) + int(body[5]))
    return rng.choice("ABFM") + rng.choice(_LETTERS) + body + str(total % 10)


def _npi(rng: random.Random) -> str:
    return sums.luhn("80840" + digits(rng, 9, "12"))[5:]


def _aba(rng: random.Random) -> str:
    while True:
        body = rng.choice(["02", "03", "06", "11", "12", "26", "31"]) + digits(rng, 6)
        return body + str(-sums.weighted(body, (3, 7, 1, 3, 7, 1, 3, 7)) % 10)


def _mbi(rng: random.Random) -> str:
    a, n = "ACDEFGHJKMNPQRTUVWXY", string.digits
    body = rng.choice("123456789") + "".join(rng.choice(s) for s in (a, a + n, n, a, a + n, n, a, a, n, n))
    return rng.choice([body, _spaced(body, (4, 3, 4), "-")])


def _driver(rng: random.Random) -> str:
    return rng.choice(
        [
            rng.choice(_LETTERS) + digits(rng, 7),
            rng.choice(_LETTERS) + digits(rng, 12),
            digits(rng, 9),
            digits(rng, 8),
            rng.choice(_LETTERS) + f"{digits(rng, 3)}-{digits(rng, 4)}-{digits(rng, 4)}",
            rng.choice(_LETTERS) + rng.choice(_LETTERS) + digits(rng, 6),
        ]
    )


def _uk_driver(rng: random.Random) -> str:
    name = rng.choice(FAMILY).upper()
    name = "".join(c for c in name if c.isascii())[:5].ljust(5, "9")
    return f"{name}{rng.randint(0, 9)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}{rng.randint(0, 9)}{rng.choice(_LETTERS)}{rng.choice([*_LETTERS, '9'])}{rng.randint(2, 9)}{rng.choice(_LETTERS)}{rng.choice(_LETTERS)}"


def _crypto(rng: random.Random) -> str:
    seed = sha256(rng.randbytes(8)).digest()
    return rng.choice(
        [
            sums.base58check(b"\0" + seed[:20]),
            sums.base58check(b"\x05" + seed[:20]),
            sums.bech32("bc", seed[:20]),
            "0x" + seed[:20].hex(),
        ]
    )


def _uk_postcode(rng: random.Random) -> str:
    return rng.choice(["SW1A 2AA", "M1 1AE", "LS6 3HN", "EC1Y 8SY", "BS8 4JX", "NR2 1TF", "CB2 1TN"])


def _address(rng: random.Random, country: str) -> str:
    street, town, number = rng.choice(STREETS[country]), rng.choice(TOWNS[country]), str(rng.randint(1, 320))
    if country == "en":
        first = f"{rng.choice([number, digits(rng, 4, '1234')])} {street}" + rng.choice(
            ["", "", ", Apt 4B", ", Suite 210", " #12"]
        )
        return rng.choice(
            [
                first,
                f"{first}, {town}, {rng.choice(['IL', 'OR', 'TX', 'CO'])} {digits(rng, 5)}",
                f"{number} {street}, {town} {_uk_postcode(rng)}",
                f"{number} {street}, {town}",
            ]
        )
    if country == "de":
        return rng.choice(
            [
                f"{street} {number}",
                f"{street} {number}a, {digits(rng, 5, '12345678')} {town}",
                f"{street} {number}, {digits(rng, 5, '12345678')} {town}",
            ]
        )
    if country == "fr":
        return rng.choice(
            [
                f"{number} {street}",
                f"{number}, {street}, {digits(rng, 5, '1234567')} {town}",
                f"{number} bis {street}, {digits(rng, 5, '1234567')} {town}",
            ]
        )
    if country == "es":
        return rng.choice(
            [
                f"{street}, {number}",
                f"{street} {number}, {digits(rng, 5, '01234')} {town}",
                f"{street} {number}, 2º B, {digits(rng, 5, '01234')} {town}",
            ]
        )
    if country == "it":
        return rng.choice(
            [f"{street}, {number}", f"{street} {number}", f"{street} {number}, {digits(rng, 5)} {town}"]
        )
    letters = rng.choice("ABCDEHJKNPRSTVWXZ") + rng.choice("ABCDEGHJKNPRTVWXZ")
    return rng.choice(
        [f"{street} {number}", f"{street} {number}, {digits(rng, 4, '123456789')} {letters} {town}"]
    )


def name(rng: random.Random) -> str:
    """Return a person's name."""
    return f"{rng.choice(GIVEN)} {rng.choice(FAMILY)}"


_MAKERS: dict[str, Maker] = {
    "EMAIL_ADDRESS": _email,
    "PHONE_NUMBER": _phone,
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "IP_ADDRESS": _ip,
    "MAC_ADDRESS": _mac,
    "URL": _url,
    "US_SSN": _ssn,
    "DATE_TIME": _birth,
    "UK_NINO": _nino,
    "UK_NHS": _nhs,
    "ES_NIF": _nif,
    "ES_NIE": _nie,
    "IT_FISCAL_CODE": _fiscal,
    "DE_TAX_ID": _de_tax,
    "DE_ID_CARD": _de_id,
    "FR_NIR": _nir,
    "NL_BSN": _bsn,
    "PL_PESEL": _pesel,
    "IN_AADHAAR": _aadhaar,
    "IN_PAN": _pan,
    "AU_TFN": _tfn,
    "AU_ABN": _abn,
    "AU_MEDICARE": _au_medicare,
    "SG_NRIC_FIN": _nric,
    "FI_PERSONAL_IDENTITY_CODE": _hetu,
    "KR_RRN": _rrn,
    "BR_CPF": _cpf,
    "BR_CNPJ": _cnpj,
    "CA_SIN": _sin,
    "SE_PERSONNUMMER": _se_personal,
    "CN_RESIDENT_ID": _cn,
    "TR_NATIONAL_ID": _tr,
    "ZA_ID_NUMBER": _za,
    "MEDICAL_LICENSE": _dea,
    "US_NPI": _npi,
    "ABA_ROUTING_NUMBER": _aba,
    "US_MBI": _mbi,
    "US_DRIVER_LICENSE": _driver,
    "UK_DRIVING_LICENCE": _uk_driver,
    "CRYPTO": _crypto,
    "UK_POSTCODE": _uk_postcode,
    "US_ITIN": lambda r: (
        f"9{digits(r, 2)}{s}{r.choice(['50', '61', '70', '77', '84', '88', '90', '92', '94', '99'])}{s}{digits(r, 4)}"
        if (s := r.choice(["-", "-", " "]))
        else ""
    ),
    "US_PASSPORT": lambda r: r.choice([r.choice(_LETTERS) + digits(r, 8), digits(r, 9)]),
    "US_BANK_NUMBER": lambda r: digits(r, r.randint(8, 14), "123456789"),
    "STREET_EN": lambda r: _address(r, "en"),
    "STREET_DE": lambda r: _address(r, "de"),
    "STREET_FR": lambda r: _address(r, "fr"),
    "STREET_ES": lambda r: _address(r, "es"),
    "STREET_IT": lambda r: _address(r, "it"),
    "STREET_NL": lambda r: _address(r, "nl"),
}

ENTITIES = tuple(_MAKERS)
