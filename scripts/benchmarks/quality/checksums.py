"""Check digits of identity numbers, written apart from the detector's own so that each can prove the other."""

import random
import string
from hashlib import sha256

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VERHOEFF_D = [[(j + k) % 5 if j < 5 and k < 5 else 0 for k in range(10)] for j in range(10)]
for _j in range(10):
    for _k in range(10):
        if _j < 5 <= _k:
            _VERHOEFF_D[_j][_k] = (_j + _k) % 5 + 5
        elif _k < 5 <= _j:
            _VERHOEFF_D[_j][_k] = (_j - _k) % 5 + 5
        elif _j >= 5:
            _VERHOEFF_D[_j][_k] = (_j - _k) % 5
_VERHOEFF_P = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def digits(rng: random.Random, count: int, first: str = string.digits) -> str:
    """Draw digits, the first one out of `first`."""
    return rng.choice(first) + "".join(rng.choice(string.digits) for _ in range(count - 1))


def weighted(number: str, weights: tuple[int, ...]) -> int:
    """Return the sum of digits times weights, as far as both go."""
    return sum(int(d) * w for d, w in zip(number, weights, strict=False))


def luhn(body: str) -> str:
    """Return the body and its Luhn digit."""
    total = 0
    for index, char in enumerate(reversed(body)):
        value = int(char) * (2 if index % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def mod_97(body: str) -> int:
    """Return letters-as-numbers modulo 97."""
    return int("".join(str(int(c, 36)) for c in body)) % 97


def verhoeff(body: str) -> str:
    """Return the body and its Verhoeff digit."""
    for last in string.digits:
        state = 0
        for place, char in enumerate(reversed(body + last)):
            value = int(char)
            for _ in range(place % 8):
                value = _VERHOEFF_P[value]
            state = _VERHOEFF_D[state][value]
        if state == 0:
            return body + last
    raise AssertionError(body)


def mod_11_10(body: str) -> str:
    """Return the body and its digit by ISO 7064 MOD 11,10."""
    product = 10
    for char in body:
        product = ((int(char) + product) % 10 or 10) * 2 % 11
    return body + str((11 - product) % 10)


def icao(body: str) -> str:
    """Return the body and the check digit of machine-readable travel documents (ICAO 9303)."""
    return body + str(sum(int(c, 36) * (7, 3, 1)[i % 3] for i, c in enumerate(body)) % 10)


def base58check(payload: bytes) -> str:
    """Return a payload with its double SHA-256 check in base 58."""
    raw = payload + sha256(sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(raw), ""
    while number:
        number, index = divmod(number, 58)
        text = _BASE58[index] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def bech32(prefix: str, program: bytes) -> str:
    """Return a version 0 witness address (BIP 173)."""
    bits = "".join(f"{b:08b}" for b in program)
    bits += "0" * (-len(bits) % 5)
    data = [0, *(int(bits[i : i + 5], 2) for i in range(0, len(bits), 5))]
    spread = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    checksum = _polymod([*spread, *data, 0, 0, 0, 0, 0, 0]) ^ 1
    data += [checksum >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(_BECH32[d] for d in data)


def _polymod(values: list[int]) -> int:
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for index, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            state ^= generator if top >> index & 1 else 0
    return state


def fiscal_code(body: str) -> str:
    """Return an Italian fiscal code from its first fifteen characters."""
    odd = dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True))
    letters = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    odd |= dict(zip(string.ascii_uppercase, letters, strict=True))
    total = sum(
        odd[c] if i % 2 == 0 else (int(c) if c.isdigit() else ord(c) - 65) for i, c in enumerate(body)
    )
    return body + chr(65 + total % 26)
