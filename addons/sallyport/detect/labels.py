"""What a value is called where it stands: its key, the words right before it, or the head of its column.

A value whose name is known needs no guessing from the words around it: "order: 219-09-9987" names no person,
and "ssn" three fields before it changes nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from sallyport.detect import linear

REACH = 72
"""Characters before a value in which its key is looked for."""

_SET = linear.pattern(
    r"(?:=>|:=|::?|=|\s-|>|\.{3,}|\s(?:is|ist|est|es|lautet|was|son|sont)(?: now)?:?)[\s\"'`*(\[{<]*$"
)
"""What stands between a name and its value: an assignment, the end of a tag, a verb."""

_CELL = re.compile(
    r">([^<>]{1,40})</\w{1,12}>\s{0,8}"
    r"<(?:t[dh]|dd|li|p|div|span|b|i|em|strong|a|string|integer|real|date|value|val|data|cell|text|v|t)\b[^<>]{0,20}>\s{0,2}$",
    re.IGNORECASE,
)
"""An element whose text names the next element's, whose own name says nothing: <dt>name</dt><dd>."""

_KEY = re.compile(r"(?:[a-z_$@][\w$-]*\.)*[a-zA-Z_$@][\w$-]*")
_VAGUE = frozenset(
    [
        "value",
        "val",
        "number",
        "num",
        "no",
        "nr",
        "id",
        "data",
        "text",
        "content",
        "contents",
        "message",
        "msg",
        "body",
        "name",
        "answer",
        "input",
        "output",
        "prompt",
        "query",
        "question",
        "string",
        "field",
        "comment",
        "note",
        "notes",
        "description",
        "details",
        "info",
        "arg",
        "args",
        "result",
        "to",
        "from",
        "user",
        "title",
        "subject",
        "line",
        "row",
        "customer",
        "client",
        "contact",
        "person",
        "patient",
        "address",
        "key",
        "param",
        "request",
        "response",
        "payload",
        "reply",
        "say",
        "said",
    ]
)
"""Keys that say nothing of what their value is."""

_EDGE = re.compile(r"[\n\"`*:=<>|,;{}\[\]()]|[.!?] | '|^'")
_ITEMS = linear.pattern(r"(?:[\w#./-]*\d[\w#./-]*,? )+$")
_ENDS_WITH_NAME = " \"'`*]/#.°"
_WORDS = 4
"""Words right before a value that can be its name where nothing sets name and value apart."""

_QUOTED = " >|\t\r"
"""What a line begins with before its text, in quoted mails too."""

_SPENT = re.compile(r"\d{4}\S* ")
"""Another value: the words before it have named that one already."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_PARTS = re.compile(r"[_\W]+")
_SENTENCE = re.compile(r"\w{7,}\. ")
"""The end of a sentence; what is shorter before the full stop is an abbreviation ("Tel. privat")."""

_DELIMITERS = ("\t", "|", ";", ",")
_MAX_LINE = 4_000

_OTHER = linear.pattern(
    r"^id$|(?:^| )(?:order\w*|auftrag\w*|siparis|teile\w*|asset|asset tag|modified"
    r"|waybill|订单|주문|注文|bestell\w*|bestelling|commande|pedido|ordine|zamowienie|tilaus"
    r"|encomenda|bestallning|invoice|rechnung\w*"
    r"|facture|factura|fattura|factuur|faktura|receipt|part|artikel\w*|article|articulo|articolo|item"
    r"|sku|product|produkt\w*"
    r"|serial|seriennummer|model|modell|version|ver|build|release|firmware|commit|revision|sha\d*"
    r"|hash|checksum|digest"
    r"|uuid|guid|isbn|issn|doi|ean|upc|gtin|barcode|tracking|shipment|parcel|sendungs\w*|ticket|case"
    r"|issue|jira|bug|cve"
    r"|batch|stock|views|weight|etag|barcode|page|pages|page range|line|chapter|section|price|cost"
    r"|amount|total|subtotal|betrag|importe|montant|qty|quantity|menge|count"
    r"|date|datum|fecha|data|due|score|size|bytes|offset|width|height|port|pid|timestamp|ts|epoch"
    r"|created|updated|expires|duration|elapsed"
    r"|request|session|trace|span|job|batch|run|lot|quote|reference|ref|booking|transaction|txn|po|rma"
    r"|latitude|longitude|lat|lon|lng|coordinates|seed|priority|status|balance)s?"
    r"(?: (?:no|nr|num|number|nummer|numero|numaras?i?|n|id|code|key|ref|reference|hash|at|on|is))?$"
)


@dataclass(frozen=True, slots=True)
class Label:
    """A name in lower case with its parts apart: "orderNumber" is "order number".

    other: whether it is the name of a thing that is nobody's: an order, a version, a price.
    key: whether it is a field or column of its own, so that what stands around it is about other fields.
    """

    text: str
    other: bool
    key: bool


@dataclass(frozen=True, slots=True)
class _Table:
    """Lines [start, end) of which the first names the columns of the others."""

    start: int
    end: int
    delimiter: str
    heads: tuple[str, ...]


_NO_TABLE = _Table(0, 0, "", ())


@dataclass(frozen=True, slots=True)
class _Block:
    """Neighbouring lines [start, end) that all hold a delimiter, and the tables among them, in order."""

    start: int
    end: int
    tables: tuple[_Table, ...]


class Labels:
    """The labels of one text. Of its lines only those are read for tables that stand around a place asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[int, Label | None] = {}
        self._blocks: list[_Block] = []
        self._line, self._table, self._ends = -1, _NO_TABLE, list[int]()

    def of(self, start: int) -> Label | None:
        """Return what the value that begins at `start` is called; None where nothing says."""
        if start not in self._known:
            self._known[start] = self._read(start)
        return self._known[start]

    def column(self, start: int) -> str | None:
        """Return the head of the column in which a place stands, which may be far above it."""
        line = self._text.rfind("\n", max(0, start - _MAX_LINE - 1), start) + 1
        if line == 0 and start > _MAX_LINE:
            return None
        if line != self._line:
            self._line, self._table = line, self._table_of(line)
            if self._table.heads:
                self._ends = _ends(self._text[line : line + _MAX_LINE], self._table.delimiter)
        if not self._table.heads or line == self._table.start:
            return None
        column = bisect_left(self._ends, start - line)
        return self._table.heads[column] if column < len(self._table.heads) else None

    def _read(self, start: int) -> Label | None:
        column = self.column(start)
        name, key = (column, True) if column else self._before(start)
        if not name:
            return None
        plain = _PARTS.sub(" ", _HUMP.sub(" ", name).replace("'", "")).strip().lower()
        if not plain:
            return None
        return Label(plain, _OTHER.search(plain) is not None, key and plain.split(" ")[-1] not in _VAGUE)

    def _before(self, start: int) -> tuple[str, bool]:
        """Return the name before a value, and whether it is written as a key."""
        before = self._text[max(0, start - REACH) : start]
        line = before[before.rfind("\n") + 1 :]
        before = line if line.strip(_QUOTED) else before.rstrip(_QUOTED + "\n")
        if before.endswith(", ") and (items := _ITEMS.search(before)):
            before = before[: items.span()[0]]
        if before.endswith(">") and (cell := _CELL.search(before)):
            return cell.group(1), True
        found = _SET.search(before)
        name = before[: found.span()[0]] if found else before.rstrip(" \"'(")
        name = _EDGE.split(name.rstrip(_ENDS_WITH_NAME))[-1].strip()
        if not found:
            return _SPENT.split(" ".join(name.split()[-_WORDS:]))[-1], False
        setter = before[found.span()[0] :].strip()[:1]
        quoted = before[: found.span()[0]].endswith(('"', "'"))
        return name, _KEY.fullmatch(name) is not None and (quoted or setter in "=>")

    def _table_of(self, line: int) -> _Table:
        """Return the table to which the line that begins at `line` belongs; one without heads where there is none."""
        place = bisect_right(self._blocks, line, key=_start) - 1
        if place < 0 or line >= self._blocks[place].end:
            end = _line_end(self._text, line)
            if not _is_delimited(self._text[line:end]):
                return _NO_TABLE
            place += 1
            self._blocks.insert(place, self._block(line, end))
        tables = self._blocks[place].tables
        place = bisect_right(tables, line, key=_start) - 1
        return tables[place] if place >= 0 and line < tables[place].end else _NO_TABLE

    def _block(self, start: int, end: int) -> _Block:
        """Grow a line up and down to where a line holds no delimiter."""
        text = self._text
        while start > 0:
            above = text.rfind("\n", 0, start - 1) + 1
            if not _is_delimited(text[above:start]):
                break
            start = above
        while end < len(text):
            below = _line_end(text, end)
            if not _is_delimited(text[end:below]):
                break
            end = below
        return _Block(start, end, tuple(_tables(text[start:end], start)))


def _start(part: _Block | _Table) -> int:
    return part.start


def _line_end(text: str, start: int) -> int:
    """Return where the line after this one begins."""
    end = text.find("\n", start)
    return len(text) if end < 0 else end + 1


def _is_delimited(line: str) -> bool:
    return ";" in line or "|" in line or "\t" in line or line.count(",") > 1


def _tables(text: str, offset: int) -> list[_Table]:
    """Return the runs of lines that one delimiter parts as often as their first line, a row of names.

    offset: where the text stands in the one that the tables are told for.
    """
    found: list[_Table] = []
    open_table: _Table | None = None
    previous, previous_at, at = "", offset, offset
    for line in text.split("\n"):
        end = at + len(line) + 1
        if open_table is not None:
            if line.count(open_table.delimiter) >= len(open_table.heads) - 1:
                found[-1] = open_table = _Table(open_table.start, end, open_table.delimiter, open_table.heads)
            else:
                open_table = None
        if open_table is None and previous:
            open_table = _opened(previous, line, previous_at, end)
            if open_table is not None:
                found.append(open_table)
        previous, previous_at, at = line, at, end
    return found


def _opened(head: str, row: str, start: int, end: int) -> _Table | None:
    if len(head) > 2_000 or not row.strip():
        return None
    for delimiter in _DELIMITERS:
        count = head.count(delimiter)
        if count < (2 if delimiter == "," else 1) or row.count(delimiter) < count:
            continue
        heads = _listed(head).split(delimiter)
        if len(_ends(row[:_MAX_LINE].rstrip(" ),;\r"), delimiter)) + 1 == len(heads) and all(
            _is_name(h) for h in heads
        ):
            return _Table(start, end, delimiter, tuple(heads))
    return None


def _listed(head: str) -> str:
    """Return the names of an INSERT without what stands around them."""
    if head.lstrip().upper().startswith("INSERT") and "(" in head:
        return head[head.index("(") + 1 :].split(")")[0]
    return head


def _is_name(cell: str) -> bool:
    bare = cell.strip(" \"'*`")
    return (
        len(bare) <= 40
        and not any(c.isdigit() for c in bare[:1])
        and "@" not in bare
        and not _SENTENCE.search(bare)
    )


def _ends(line: str, delimiter: str) -> list[int]:
    """Return where a line has the delimiter, outside of quotes."""
    ends, at, quote = [], 0, ""
    for match in re.finditer(re.escape(delimiter) + "|[\"']", line):
        char, index = match.group(), match.start()
        if quote:
            quote = "" if char == quote else quote
        elif char == delimiter:
            ends.append(index)
            at = index + 1
        elif line[at:index].strip(" (") == "":
            quote = char
    return ends
