# ruff: noqa: E501
"""Values that look like somebody's and are nobody's: order numbers, versions, hashes, prices and their like."""

import random
import string
import uuid
from collections.abc import Callable

from quality.checksums import digits, luhn

_KINDS: dict[str, Callable[[random.Random], str]] = {
    "order": lambda r: r.choice(
        [
            f"{digits(r, 3)}-{digits(r, 7)}-{digits(r, 7)}",
            f"ORD-{digits(r, 6)}",
            f"#{digits(r, 7)}",
            f"PO{digits(r, 8)}",
            digits(r, 9),
            f"{digits(r, 3)}-{digits(r, 2)}-{digits(r, 4)}",
        ]
    ),
    "invoice": lambda r: r.choice(
        [f"INV-2024-{digits(r, 5)}", f"RE{digits(r, 9)}", f"2024/{digits(r, 4)}", digits(r, 10)]
    ),
    "version": lambda r: r.choice(
        [
            f"{r.randint(0, 20)}.{r.randint(0, 30)}.{r.randint(0, 99)}",
            f"v{r.randint(0, 20)}.{r.randint(0, 9)}.{r.randint(0, 9)}.{r.randint(0, 300)}",
            f"{r.randint(1, 9)}.{r.randint(0, 9)}.0-rc.{r.randint(1, 9)}",
        ]
    ),
    "hash": lambda r: r.choice(
        [
            f"{r.getrandbits(160):040x}",
            f"{r.getrandbits(256):064x}",
            f"{r.getrandbits(128):032x}",
            f"{r.getrandbits(28):07x}",
        ]
    ),
    "uuid": lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4)),
    "timestamp": lambda r: r.choice(
        [
            f"2024-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}T{r.randint(0, 23):02d}:{r.randint(0, 59):02d}:{r.randint(0, 59):02d}.{digits(r, 3)}Z",
            str(r.randint(1_600_000_000, 1_750_000_000)),
            str(r.randint(1_600_000_000_000, 1_750_000_000_000)),
            f"{r.randint(0, 23):02d}:{r.randint(0, 59):02d}:{r.randint(0, 59):02d},{digits(r, 3)}",
        ]
    ),
    "price": lambda r: r.choice(
        [
            f"${r.randint(1, 9999):,}.{digits(r, 2)}",
            f"{r.randint(1, 999)}.{digits(r, 3)},{digits(r, 2)} €",
            f"EUR {r.randint(10, 9999)}.00",
            f"{r.randint(100, 999)} {digits(r, 3)} {digits(r, 3)} kr",
        ]
    ),
    "coordinates": lambda r: f"{r.uniform(-90, 90):.6f}, {r.uniform(-180, 180):.6f}",
    "isbn": lambda r: r.choice(
        [
            f"978-{r.randint(0, 9)}-{digits(r, 2)}-{digits(r, 6)}-{digits(r, 1)}",
            f"9780{digits(r, 9)}",
            f"0-{digits(r, 3)}-{digits(r, 5)}-{digits(r, 1)}",
        ]
    ),
    "tracking": lambda r: r.choice(
        [
            f"1Z{''.join(r.choice(string.ascii_uppercase + string.digits) for _ in range(6))}{digits(r, 10)}",
            f"9400{digits(r, 18)}",
            digits(r, 12),
            f"RR{digits(r, 9)}DE",
            f"{digits(r, 4)} {digits(r, 4)} {digits(r, 4)}",
        ]
    ),
    "part": lambda r: r.choice(
        [
            f"{digits(r, 3)}-{digits(r, 4)}",
            f"AX{digits(r, 4)}-{digits(r, 2)}B",
            f"{digits(r, 2)}-{digits(r, 5)}-{digits(r, 3)}",
            f"{r.choice(string.ascii_uppercase)}{digits(r, 8)}",
            f"{digits(r, 3)}.{digits(r, 3)}.{digits(r, 2)}",
            f"M{digits(r, 7)}",
        ]
    ),
    "ean": lambda r: luhn(digits(r, 12)),
    "date": lambda r: r.choice(
        [
            f"2024-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}",
            f"{r.randint(1, 12):02d}/{r.randint(1, 28):02d}/2024",
            f"{r.randint(1, 28):02d}.{r.randint(1, 12):02d}.2024",
            f"March {r.randint(1, 28)}, 2025",
        ]
    ),
    "number": lambda r: r.choice(
        [
            str(r.randint(1, 99)),
            digits(r, 6),
            f"{r.uniform(0, 1):.16f}",
            f"{r.randint(1, 999):,}",
            digits(r, 11, "123456789"),
            digits(r, 16, "123456789"),
        ]
    ),
    "range": lambda r: r.choice(
        [
            f"{digits(r, 3)}-{digits(r, 3)}",
            f"pp. {digits(r, 3)}-{digits(r, 3)}",
            f"{digits(r, 4)}-{digits(r, 4)}",
        ]
    ),
    "ticket": lambda r: r.choice(
        [f"SUP-{digits(r, 5)}", f"JIRA-{digits(r, 4)}", f"CASE{digits(r, 8)}", f"CVE-2024-{digits(r, 5)}"]
    ),
    "local": lambda r: r.choice(
        ["127.0.0.1", "0.0.0.0", "255.255.255.0", "::1", "localhost:8080", "8.8.8.8"]
    ),
    "code": lambda r: r.choice(
        [
            "git@github.com:acme/app.git",
            "@types/node@20.11.5",
            "std::vector<int>::iterator",
            "#ff00aa",
            "0xDEADBEEF",
            "arn:aws:s3:::bucket/key",
            "node_modules/@babel/core",
            "a:b:c:d",
        ]
    ),
    "name": lambda r: r.choice(
        ["WIDGET-PRO", "blue / large", "standard", "EU-West", "pending", "n/a", "true"]
    ),
}

KINDS = tuple(_KINDS)


def make(kind: str, rng: random.Random) -> str:
    """Return a look-alike of a kind."""
    return _KINDS[kind](rng)
