# ruff: noqa: E501
"""A small grammar: {name} is replaced by one of a list, {a|b|} by one of its alternatives, innermost first.

{Name} is {name} with a capital, {name2} another {name}; an alternative that is the name of a list of names
or addresses stands for one of them.
"""

import random
import re
from collections.abc import Mapping, Sequence

_SLOT = re.compile(r"\{([^{}]*)\}")
_NAMES = frozenset(
    [
        "person",
        "mail",
        "url",
        "phone",
        "account",
        "topic",
        "product",
        "company",
        "city",
        "amount",
        "persona",
        "secretthing",
    ]
)

type Lists = Mapping[str, Sequence[str]]


class Grammar:
    """Expands templates from lists; every choice comes from the generator that is passed in."""

    def __init__(self, *lists: Lists) -> None:
        self.lists = {name: values for group in lists for name, values in group.items()}

    def one(self, rng: random.Random, name: str) -> str:
        """Return an expansion of one of the templates of a list."""
        return self.expand(rng, rng.choice(self.lists[name]))

    def expand(self, rng: random.Random, template: str) -> str:
        text = template
        while (match := _SLOT.search(text)) is not None:
            inner = match.group(1)
            value = rng.choice(inner.split("|")) if "|" in inner else "{" + inner + "}"
            name = value.strip("{}")
            if name in _NAMES or value.startswith("{"):
                value = self._slot(rng, name)
            text = text[: match.start()] + value + text[match.end() :]
        text = text.replace("\x04", "{").replace("\x05", "}")
        return re.sub(r" +([,.!?])", r"\1", re.sub(r"(?<=\S)  +", " ", text)).strip()

    def _slot(self, rng: random.Random, name: str) -> str:
        if name in self.lists:
            return rng.choice(self.lists[name])
        if name[:1].lower() + name[1:].rstrip("2") not in self.lists:
            return f"\x04{name}\x05"
        lower = name[0].lower() + name[1:]
        value = self.one(rng, lower.rstrip("2"))
        return value[:1].upper() + value[1:] if name[0].isupper() else value


def numbers(rng: random.Random) -> Lists:
    """Return lists of fresh values: amounts, dates, mail addresses, codes."""
    word = [
        "alder",
        "bright",
        "cobalt",
        "delta",
        "ember",
        "fjord",
        "grove",
        "harbor",
        "indigo",
        "juniper",
        "krill",
        "lumen",
        "meadow",
        "north",
        "onyx",
        "pebble",
        "quartz",
        "ridge",
        "sable",
        "tundra",
    ]
    tld = ["com", "net", "org", "io", "example", "co", "info", "de", "fr", "shop", "online", "xyz"]
    first = [
        "ann",
        "ben",
        "carla",
        "dmitri",
        "elif",
        "farid",
        "gina",
        "hugo",
        "ines",
        "jonas",
        "kim",
        "lena",
        "marco",
        "nadia",
        "omar",
        "petra",
        "rosa",
        "sam",
        "tara",
        "viktor",
    ]
    domains = [
        f"{rng.choice(word)}{rng.choice(['', '-', ''])}{rng.choice(word)}.{rng.choice(tld)}" for _ in range(6)
    ]
    return {
        "mail": [
            f"{rng.choice(first)}{rng.choice(['.', '_', ''])}{rng.choice(word)}{rng.choice(['', str(rng.randint(1, 99))])}@{d}"
            for d in domains
        ],
        "url": [
            f"{rng.choice(['https://', 'http://', 'https://www.', 'www.'])}{d}/{rng.choice(word)}{rng.choice(['', '/' + rng.choice(word), '?id=' + str(rng.randint(10, 9999))])}"
            for d in domains
        ],
        "amount": [
            f"{rng.choice(['$', '€', '£', 'USD ', 'EUR '])}{rng.choice([rng.randint(5, 99), rng.randint(100, 999), f'{rng.randint(1, 90)},{rng.randint(100, 999)}'])}{rng.choice(['', '.00', '.50'])}"
            for _ in range(4)
        ],
        "num": [str(rng.randint(2, 99)) for _ in range(4)],
        "big": [str(rng.randint(100, 99999)) for _ in range(4)],
        "account": [
            f"{rng.choice(['GB', 'DE', 'FR', 'CH', 'US'])}{rng.randint(10, 99)}{rng.randint(10**11, 10**14)}"
            for _ in range(3)
        ]
        + [str(rng.randint(10**7, 10**9)) for _ in range(3)],
        "phone": [
            f"+{rng.randint(1, 99)} {rng.randint(100, 999)} {rng.randint(1000000, 9999999)}" for _ in range(3)
        ],
        "date": [
            f"{rng.randint(1, 28)} {rng.choice(['January', 'March', 'April', 'June', 'August', 'October', 'December'])}"
            for _ in range(3)
        ]
        + [f"20{rng.randint(19, 27)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}" for _ in range(3)]
        + ["Monday", "Tuesday", "Thursday", "Friday"],
        "time": [f"{rng.randint(6, 21)}:{rng.choice(['00', '15', '30', '45'])}" for _ in range(3)],
        "code": [
            f"{rng.choice('ABCDEFKLMNPRSTX')}{rng.choice('ABCDEFKLMNPRSTX')}-{rng.randint(100, 99999)}"
            for _ in range(4)
        ],
    }
