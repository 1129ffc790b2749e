"""Numbers of accounts, persons, companies and wallets by what they hold themselves: check digits, dates, lengths."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence


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


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RIPPLE = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_TERMS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


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
