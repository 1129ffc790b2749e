"""A shape says, for every place of a JSON body, what a string there is; what no shape names is text.

One walk over the parsed body visits every string and every member name, so that nothing can be
forgotten: a dialect only says what differs from plain text. Names of members that a shape does not
know are texts themselves (pointer + "~k"), because a caller can write anything into them.
"""

from collections.abc import Callable, Mapping
from typing import Final

from sallyport.exchange import Attachment, Segment, Surface
from sallyport.wire.jsontext import LONG_INTEGER, Json, is_long, token

FLOW: Final = 1  # the text continues earlier text of its channel
SOURCE: Final = 2  # the text is JSON source

type Leaf = Callable[[Reading, str, str, Mapping[str, Json], Surface], None]
type Choose = Callable[[Mapping[str, Json]], Shape]


class Reading:
    """What a walk gathers, in the order of the body.

    marks: FLOW and SOURCE bits of a segment, by pointer, where there are any. cache_ttl: as of a Request.
    """

    __slots__ = ("attachments", "cache_ttl", "marks", "segments")

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.attachments: list[Attachment] = []
        self.marks: dict[str, int] = {}
        self.cache_ttl = ""

    def text(self, at: str, surface: Surface, text: str) -> None:
        """Add a text; an empty one says nothing and is left out."""
        if text:
            self.segments.append(Segment(at, surface, text))


class Shape:
    """What stands at one place of a body.

    surface: of the strings here, and of everything below that has no shape of its own.
    leaf: reads a string here; None means that it is plain text.
    fields: shapes of the members by name; items: shape of array elements (None: this one).
    rest: shape of members without an entry in fields; None means free-form text of this surface, or
        this shape itself where it neither has fields nor reads names.
    choose: picks the shape of an object by its members (its role, its type).
    tokens: an array of integers here is a text as token ids.
    names: names of members without an entry in fields, and long integers, are texts. Off only for
        random numbers, and in answers for what the provider made.
    """

    __slots__ = ("choose", "fields", "items", "leaf", "names", "rest", "surface", "tokens")

    def __init__(
        self,
        surface: Surface,
        fields: Mapping[str, "Shape"] | None = None,
        *,
        leaf: Leaf | None = None,
        items: "Shape | None" = None,
        rest: "Shape | None" = None,
        choose: Choose | None = None,
        tokens: bool = False,
        names: bool = True,
    ) -> None:
        self.surface = surface
        self.fields: dict[str, Shape] = dict(fields or {})
        self.leaf = leaf
        self.items = items or self
        unnamed = not self.fields and not names
        self.rest: Shape = rest or (self if unnamed else (FREE if names else QUIET)[surface])
        self.choose = choose
        self.tokens = tokens
        self.names = names


FREE: dict[Surface, Shape] = {}  # everything is text: strings, names, long integers
QUIET: dict[Surface, Shape] = {}  # strings are text, names are the provider's
for _surface in Surface:
    QUIET[_surface] = Shape(_surface, names=False)
    FREE[_surface] = Shape(_surface, rest=QUIET[_surface])
    FREE[_surface].rest = FREE[_surface]


def by(name: str, cases: Mapping[str, Shape], other: Shape) -> Choose:
    """Choose a shape by the value of a member; other serves where it is missing or unknown."""

    def choose(members: Mapping[str, Json]) -> Shape:
        value = members.get(name)
        return cases.get(value, other) if type(value) is str else other

    return choose


def walk(value: Json, shape: Shape) -> Reading:
    """Read every string of a body. The depth must have been bounded by parse()."""
    reading = Reading()
    if type(value) is dict:
        _object(reading, value, "", shape)
    elif type(value) is list:
        _array(reading, value, "", shape)
    elif type(value) is str:
        reading.text("", shape.surface, value)
    return reading


def _object(reading: Reading, members: dict[str, Json], at: str, shape: Shape) -> None:
    if shape.choose is not None:
        shape = shape.choose(members)
    fields = shape.fields
    add = reading.segments.append
    for name, value in members.items():
        child = fields.get(name)
        if child is not None:
            place = f"{at}/{name}"
        else:
            child = shape.rest
            place = f"{at}/{token(name)}"
            if shape.names and name:
                add(Segment(place + "~k", child.surface, name))
        kind = type(value)
        if kind is str:
            if child.leaf is not None:
                child.leaf(reading, place, value, members, child.surface)  # type: ignore[arg-type]
            elif value:
                add(Segment(place, child.surface, value))  # type: ignore[arg-type]
        elif kind is dict:
            _object(reading, value, place, child)  # type: ignore[arg-type]
        elif kind is list:
            _array(reading, value, place, child)  # type: ignore[arg-type]
        elif kind is int and child.names and not -LONG_INTEGER < value < LONG_INTEGER:  # type: ignore[operator]
            add(Segment(place, child.surface, str(value)))
        elif kind is float and child.names and is_long(value):  # type: ignore[arg-type]
            add(Segment(place, child.surface, str(int(value))))  # type: ignore[arg-type]


def _array(reading: Reading, values: list[Json], at: str, shape: Shape) -> None:
    if shape.tokens and values and type(values[0]) is int and all(type(v) is int for v in values):
        reading.attachments.append(Attachment(at, "application/x-token-ids", 4 * len(values)))
        return
    child = shape.items
    add = reading.segments.append
    for index, value in enumerate(values):
        kind = type(value)
        if kind is str:
            if child.leaf is not None:
                child.leaf(reading, f"{at}/{index}", value, {}, child.surface)  # type: ignore[arg-type]
            elif value:
                add(Segment(f"{at}/{index}", child.surface, value))  # type: ignore[arg-type]
        elif kind is dict:
            _object(reading, value, f"{at}/{index}", child)  # type: ignore[arg-type]
        elif kind is list:
            _array(reading, value, f"{at}/{index}", child)  # type: ignore[arg-type]
        elif kind is int and child.names and not -LONG_INTEGER < value < LONG_INTEGER:  # type: ignore[operator]
            add(Segment(f"{at}/{index}", child.surface, str(value)))
        elif kind is float and child.names and is_long(value):  # type: ignore[arg-type]
            add(Segment(f"{at}/{index}", child.surface, str(int(value))))  # type: ignore[arg-type]
