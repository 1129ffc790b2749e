"""Texts with known spans: values of entities and look-alikes, set into surroundings.

A template holds [[ENTITY]] for a value that counts, [[~kind]] for a look-alike that does not, [[=name]] and
the like for words. A record is a list of labelled fields that a renderer writes as JSON, CSV, a form ...
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quality import lookalikes, values
from quality.names import FIRMS, TOWNS, WORDS

_SLOT = re.compile(r"\[\[([~=]?)(\w+)\]\]")


@dataclass(frozen=True, slots=True)
class Span:
    """What ought to be found; offsets in code points."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True, slots=True)
class Text:
    """A generated text. surrounding: the name of what it was set into."""

    surrounding: str
    text: str
    spans: tuple[Span, ...]


def entity_of(slot: str) -> str:
    """Return the entity a slot is scored as: addresses of all countries are one."""
    return "STREET_ADDRESS" if slot.startswith("STREET_") else slot


class Writer:
    """Collects pieces of text and where the values stand."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._parts: list[str] = []
        self._length = 0
        self._spans: list[Span] = []

    def add(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def value(self, slot: str, spell: Callable[[str], str] = str) -> None:
        """Add a value of an entity."""
        text = spell(values.make(slot, self.rng))
        self._spans.append(Span(self._length, self._length + len(text), entity_of(slot)))
        self.add(text)

    def template(self, template: str) -> None:
        """Add a template with its slots filled."""
        done = 0
        for match in _SLOT.finditer(template):
            self.add(template[done : match.start()])
            sort, name = match.groups()
            if sort == "~":
                self.add(lookalikes.make(name, self.rng))
            elif sort == "=":
                self.add(_word(name, self.rng))
            else:
                self.value(name)
            done = match.end()
        self.add(template[done:])

    def text(self, surrounding: str) -> Text:
        return Text(surrounding, "".join(self._parts), tuple(self._spans))


def _word(kind: str, rng: random.Random) -> str:
    if kind == "name":
        return values.name(rng)
    if kind == "firm":
        return rng.choice(FIRMS)
    if kind == "town":
        return rng.choice(TOWNS["en"])
    return rng.choice(WORDS)


type Field = tuple[str, str]
"""A label and its slot; slots of look-alikes begin with ~."""

type Renderer = Callable[[Writer, Sequence[Sequence[Field]]], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Prose templates by name, labelled fields, and the renderers that write records of them."""

    prose: dict[str, str]
    fields: Sequence[Field]
    clean_fields: Sequence[Field]
    renderers: dict[str, Renderer]


def generate(surroundings: Surroundings, seed: int, prose_rounds: int, record_rounds: int) -> list[Text]:
    """Return every prose template prose_rounds times and every renderer record_rounds times."""
    rng = random.Random(seed)  # noqa: S311 - samples, not secrets
    made = []
    for name, template in surroundings.prose.items():
        for _ in range(prose_rounds):
            writer = Writer(rng)
            writer.template(template)
            made.append(writer.text(name))
    for name, render in surroundings.renderers.items():
        for _ in range(record_rounds):
            writer = Writer(rng)
            chosen = rng.sample(list(surroundings.fields), 4) + rng.sample(list(surroundings.clean_fields), 3)
            rng.shuffle(chosen)
            render(writer, [chosen] * rng.randint(1, 3))
            made.append(writer.text(name))
    return made


def put(writer: Writer, slot: str) -> None:
    """Write a field's value, or a look-alike."""
    if slot.startswith("~"):
        writer.add(lookalikes.make(slot[1:], writer.rng))
    else:
        writer.value(slot)


def snake(label: str) -> str:
    """Return a label as a column name."""
    return re.sub(r"\W+", "_", label.lower()).strip("_")


def camel(label: str) -> str:
    """Return a label as a JSON name."""
    first, *rest = snake(label).split("_")
    return first + "".join(part.capitalize() for part in rest)
