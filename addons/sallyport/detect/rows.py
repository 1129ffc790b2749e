"""The heads of the columns in which values stand: in tables, and in the rows of an INSERT or a COPY."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sallyport.detect import linear

_INSERTED = linear.pattern(
    r"(?i)\b(?:into|copy)\s+[\w.`\"\[\]]+\s*\(([^()]{1,800})\)\s*(?:values\s*|from\s+stdin\b[^\n]*\n)"
)
"""The columns that an INSERT or a COPY names, up to its values."""

_DONE = re.compile(r"\)\s{0,4};|\n\\\.")
"""The end of an INSERT or a COPY."""

_NEXT_ROW = re.compile(r"\)\s*,\s*\(")

_WORDED = re.compile(r"[^\s](?:[^\n ]| (?=[^\s]))*")
"""A cell between two spaces or more."""

_PAIR = re.compile(
    r"(?:\"[^\"\n]{0,60}\"|[^\s,\"][^,\n]{0,60}),(?:\"[^\"\n]{0,60}\"|[^\s,\"][^,\n]{0,60})?\r?\n?$"
    r"|,[^\s,][^,\n]{0,60}\r?\n?$"
)
"""A line of two cells, of which one may be empty."""

_PLAIN = re.compile(r"[\w\" -]*\r?")
"""The name of a column and nothing else, or none."""

_RULE = re.compile(
    r"[\s+|:\u2500-\u257f-]*(?:-[+|]-|\u2500[\u252c\u2534\u253c]\u2500|[\u250c\u251c\u2514]\u2500)"
    r"[\s+|:\u2500-\u257f-]*$"
)
"""A line that is drawn below the head of a table, or around it."""

_SENTENCE = re.compile(r"\w{7,}\. ")
"""The end of a sentence; what is shorter before the full stop is an abbreviation ("Tel. privat")."""

_AROUND_CELL = " \t\"'`*"
_DELIMITERS = ("\t", "|", "\u2502", ";", ",")
_MAX_LINE = 4_000
_MOST_TITLES = 3
"""Lines of which one is the head of columns that only spaces part: a title or two may stand above it."""


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


@dataclass(frozen=True, slots=True)
class _Spaced:
    """A line of cells that only spaces part, and the heads above it: where the cells of both stand."""

    head: str = ""
    heads: tuple[tuple[int, int], ...] = ()
    cells: tuple[tuple[int, int], ...] = ()


class Rows:
    """The columns of one text, of which only the lines around a place asked for are read for tables."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._blocks: list[_Block] = []
        self._line, self._table, self._ends = -1, _NO_TABLE, list[int]()
        self._spaced_line, self._spaced = -1, _Spaced()
        self._statements: list[tuple[int, list[str]]] | None = None

    @property
    def text(self) -> str:
        return self._text

    def has_head(self, start: int) -> bool:
        """Say whether a place has a head, of whatever kind, that may be far above it."""
        return (self.column(start) or self.spaced(start)) is not None

    def column(self, start: int) -> str | None:
        """Return the head of the column in which a place stands: of a table, an INSERT or a COPY."""
        return self._delimited(start) or self._inserted(start)

    def spaced(self, start: int) -> str | None:
        """Return the head of a column that only spaces part: what pandas, sqlplus and kubectl print."""
        if self._text[start - 1 : start] != " ":
            return None
        low = self._text.rfind("\n", max(0, start - _MAX_LINE), start) + 1
        if low != self._spaced_line:
            self._spaced_line, self._spaced = low, self._spaced_at(low)
        row = self._spaced
        mine = next(((a, b) for a, b in row.cells if a <= start - low < b), (0, 0))
        over = [row.head[a:b] for a, b in row.heads if a < mine[1] and mine[0] < b]
        return over[0] if len(over) == 1 and _is_name(over[0]) else None

    def beside(self, start: int) -> str:
        """Return the first of two cells where a value is the second: it may be the name of it."""
        column = self._delimited(start)
        heads = self._table.heads
        held = [0, 1] if len(heads) == 2 else [place for place, head in enumerate(heads) if head.strip()]
        if column is None or len(held) != 2 or len(self._ends) <= held[0]:
            return ""
        low, high = (self._ends[held[0] - 1] + 1 if held[0] else 0), self._ends[held[0]]
        first = self._text[self._line + low : self._line + high]
        return first if start - self._line > high and _is_name(first) else ""

    def below(self, start: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of the cells of the column at whose head a place stands, without quotes and blanks."""
        line = self._text.rfind("\n", max(0, start - _MAX_LINE), start) + 1
        table = self._table_of(line)
        if table.start != line or not table.heads:
            return
        end = _line_end(self._text, line)
        column = bisect_left(_ends(self._text[line:end], table.delimiter), start - line)
        last = min(table.end, len(self._text))
        while (line := end) < last:
            end = _line_end(self._text, line)
            row = self._text[line : min(end, line + _MAX_LINE)].rstrip("\r\n")
            if _is_rule(row):
                continue
            ends = [-1, *_ends(row, table.delimiter), len(row)]
            if column + 1 < len(ends):
                cell = row[ends[column] + 1 : ends[column + 1]]
                bare = cell.strip(_AROUND_CELL)
                low = line + ends[column] + 1 + cell.find(bare)
                yield low, low + len(bare)

    def _delimited(self, start: int) -> str | None:
        line = self._text.rfind("\n", max(0, start - _MAX_LINE - 1), start) + 1
        if line == 0 and start > _MAX_LINE:
            return None
        if line != self._line:
            self._line, self._table = line, self._table_of(line)
            if self._table.heads:
                end = min(_line_end(self._text, line), line + _MAX_LINE)
                self._ends = _ends(self._text[line:end], self._table.delimiter)
        if not self._table.heads or line == self._table.start:
            return None
        column = bisect_left(self._ends, start - line)
        return self._table.heads[column] if column < len(self._table.heads) else None

    def _inserted(self, start: int) -> str | None:
        """Return the column of a value in the rows of an INSERT or a COPY."""
        if self._statements is None:
            found = [(m.span()[1], m.span(1)) for m in _INSERTED.finditer(self._text)]
            self._statements = [(end, self._text[low:high].split(",")) for end, (low, high) in found]
        place = bisect_right(self._statements, start, key=_first) - 1
        if place < 0 or start - self._statements[place][0] > _MAX_LINE:
            return None
        begin, columns = self._statements[place]
        rows = self._text[begin:start]
        if _DONE.search(rows):
            return None
        if "(" in rows:
            column = len(_ends(_NEXT_ROW.split(rows)[-1].lstrip(" \n\r\t("), ","))
        else:
            column = rows.rsplit("\n", 1)[-1].count("\t")
        return columns[column] if column < len(columns) else None

    def _spaced_at(self, low: int) -> _Spaced:
        """Return the head above a line, its cells and those of the line; nothing where they are no table."""
        above = self._text[max(0, low - _MAX_LINE) : low]
        blank = above.rfind("\n\n", 0, len(above) - 1)
        if not above or (blank < 0 and low > _MAX_LINE):
            return _Spaced()
        block = above[blank + 2 if blank >= 0 else 0 :].lstrip("\n").split("\n", _MOST_TITLES)
        head = next((line for line in block[:_MOST_TITLES] if "  " in line.strip()), "")
        row = self._text[low : min(_line_end(self._text, low), low + _MAX_LINE)]
        if "  " not in head or "  " not in row:
            return _Spaced()
        heads = tuple(m.span() for m in _WORDED.finditer(head))
        cells = tuple(m.span() for m in _WORDED.finditer(row))
        if (
            len(heads) < 2
            or "|" in head
            or "\u2502" in head
            or len(cells) < 3
            or len(cells) - len(heads) not in (-1, 0, 1)
            or any(head[a].isdigit() for a, _ in heads)
        ):
            return _Spaced()
        return _Spaced(head, heads, cells)

    def _table_of(self, line: int) -> _Table:
        """Return the table to which the line at `line` belongs; one without heads where there is none."""
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


def _first(statement: tuple[int, list[str]]) -> int:
    return statement[0]


def _line_end(text: str, start: int) -> int:
    """Return where the line after this one begins."""
    end = text.find("\n", start)
    return len(text) if end < 0 else end + 1


def _is_delimited(line: str) -> bool:
    if ";" in line or "|" in line or "\t" in line or "\u2502" in line or line.count(",") > 1:
        return True
    return _is_rule(line) or _PAIR.match(line) is not None


def _is_rule(line: str) -> bool:
    return len(line) <= 400 and _RULE.match(line) is not None


def _tables(text: str, offset: int) -> list[_Table]:
    """Return the runs of lines that one delimiter parts as often as their first line, a row of names.

    Rows may be shorter, since what is empty at their end is left out, and the first of them may be such a one.
    offset: where the text stands in the one that the tables are told for.
    """
    found: list[_Table] = []
    table: _Table | None = None
    above: list[tuple[str, int]] = []
    """The two lines before this one, with where they begin: one of them may be the names of a table."""
    at = offset
    for line in text.split("\n"):
        end = at + len(line) + 1
        if _is_rule(line) and (above or table is not None):
            if table is not None:
                found[-1] = table = replace(table, end=end)
        elif table is not None and line.count(table.delimiter) >= len(table.heads) - 1:
            found[-1] = table = replace(table, end=end)
            above = [(line, at)]
        else:
            opened = _begun(above, line, end, table)
            if opened is not None:
                table = opened
                found.append(opened)
            elif table is not None and table.delimiter in line:
                found[-1] = table = replace(table, end=end)
            else:
                table = None
            above = [*above[-1:], (line, at)]
        at = end
    return found


def _begun(above: list[tuple[str, int]], row: str, end: int, table: _Table | None) -> _Table | None:
    """Return the table of which a line is the first row or, behind a shorter one, the second.

    table: the one that goes on else; shorter rows of names alone are its own.
    """
    for place, (head, start) in enumerate(above):
        opened = _opened(head, row, start, end)
        if opened is None:
            continue
        if table is not None and all(map(_is_name, row.split(opened.delimiter))):
            continue
        if place + 1 < len(above) and not 0 < above[-1][0].count(opened.delimiter) < len(opened.heads) - 1:
            continue
        return opened
    return None


def _opened(head: str, row: str, start: int, end: int) -> _Table | None:
    if len(head) > 2_000 or not row.strip(" \r"):
        return None
    for delimiter in _DELIMITERS:
        count = head.count(delimiter)
        if count < 1 or row.count(delimiter) < count:
            continue
        if delimiter == "," and count == 1 and not (_PAIR.match(head) and _PAIR.match(row)):
            continue
        heads = _listed(head).split(delimiter)
        bare = row[:_MAX_LINE].rstrip(" \r")
        # Behind the rows of a statement stands what is no cell; behind others the last cell may be empty.
        fits = any(len(_ends(line, delimiter)) + 1 == len(heads) for line in (bare, bare.rstrip(" ),;")))
        if fits and _is_head(heads):
            return _Table(start, end, delimiter, tuple(heads))
    return None


def _listed(head: str) -> str:
    """Return the names of an INSERT without what stands around them."""
    if head.lstrip().upper().startswith("INSERT") and "(" in head:
        return head[head.index("(") + 1 :].split(")")[0]
    return head


def _is_head(cells: list[str]) -> bool:
    """Say whether cells name columns. A last one without a name is a frame's, or stands behind two and more names; a
    statement that ends with a semicolon is none.
    """
    if not all(map(_is_name, cells)):
        return False
    framed = not cells[0].strip()
    named = sum(any(map(str.isalnum, cell)) for cell in cells)
    return framed or bool(cells[-1].strip()) or (named > 1 and all(map(_PLAIN.fullmatch, cells)))


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
