"""What a value is called where it stands: its key, the words right before it, or the head of its column.

A value whose name is known needs no guessing from the words around it: "order: 219-09-9987" names no person,
and "ssn" three fields before it changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sallyport.detect import linear
from sallyport.detect.rows import Rows

REACH = 72
"""Characters before a value in which its key is looked for."""

_NAMED_BEHIND = 40
"""Characters behind a value in which a sentence may name it."""

_SENTENCE = 130
"""Characters before a value in which the sentence that asks for it is looked for."""

_SET = linear.pattern(
    r"(?:=>|:=|::?|[=!]?==?|\s-|>|\.{3,}|\s(?:is|ist|est|es|lautet|was|son|sont|reads|being)(?: now)?:?"
    r"|,?\s(?:on (?:file|record)|in (?:the|my|his|her|your|our|their) (?:chart|files?|records?|system|form|notes))"
    r"(?:,|\s(?:is|was|reads|says|shows))?)[\s\"'`*(\[{<]*$"
)
"""What stands between a name and its value: an assignment, the end of a tag, a verb, where it is written."""

_TOLD = linear.pattern(
    r"([^\n.?!;:\"]{3,60}?)(?:, please)?[.?!][\"']?\s{1,3}(?:[\w ]{1,16}:\s)?"
    r"(?:(?:sure|yes|yeah|ok|okay|right|well|ja|oui|si|sim|tak"
    r"|(?:i|he|she|we|they) (?:told|gave|said|wrote)(?: [a-z]{2,8}){0,3}),? ){0,2}"
    r"(?:it'?s|it is|it was|that is|that's|es ist|sie ist|sie lautet|er lautet|c'est|es el|es la|e il|e la|e o|e a"
    r"|het is|det er|det ar|se on)\s[\"'(]?$",
    case_sensitive=False,
)
"""A sentence that asks for a value or names it, before the one that tells it: "My NHS number? It is ..."."""

_BEHIND = linear.pattern(
    r"^[\"')]?\s(?:is|was|as (?:my|your|his|her|our|their|the|a|an)"
    r"|als|ist|war|est|como|comme|come|som|jako)\s([^\n.,;:?!\"()\d]{3,40})",
    case_sensitive=False,
)
"""The name behind its value: "943 476 5919 is my NHS number", "9798 110671 als Sozialversicherungsnummer"."""

_CELL = re.compile(
    r">([^<>]{1,40})</\w{1,12}>\s{0,8}"
    r"<(?:t[dh]|dd|li|p|div|span|b|i|em|strong|a|input|string|integer|real|date|value|val|data|cell|text|v|t)"
    r"\b[^<>]{0,20}>\s{0,2}$",
    re.IGNORECASE,
)
"""An element whose text names the next element's, whose own name says nothing: <dt>name</dt><dd>."""

_WRAPPED = re.compile(
    r"(?:\b(?:name|key|field|label|id|type|system|column|attribute|property|param|document|kind|scheme"
    r"|(?:id|doc|document|identifier)[_ ]?(?:type|kind|name)|(?:id|doc|document|identifier)(?:Type|Kind|Name))[\"']?"
    r"\s{0,2}[:=]\s{0,2}[\"']([^\"'\n]{1,40})[\"']\s{0,2},?\s{0,12}"
    r"|([\w$-]{1,40})[\"']?\s{0,2}(?::|=>?)\s{0,2}\{\s{0,12})"
    r"[\"']?[\w$#]{1,16}[\"']?\s{0,2}(?::|=>?)\s{0,2}[\"']?$"
)
"""What a key that says nothing stands in: {"name": "dob", "value": ...}, "dob": {"value": ...}."""

_APART = re.compile(
    r"\b(?:name|key|field|label|column|attribute|property|param)[\"']?\s{0,2}[:=]\s{0,2}[\"']([^\"'\n]{1,40})[\"']"
    r"(?:[\s,]{1,3}[\"']?(?!name|key|field|label|column|attribute|property|param)[\w$-]{1,20}[\"']?\s?[:=]\s?[\"'][^\"'<>\n]{0,24}[\"']){1,3}"
    r"[\s,]{1,3}[\"']?(?:value|val|content|answer)[\"']?\s{0,2}[:=]\s{0,2}[\"']?$"
)
"""The same with other fields between, none of which is a name: <input name="dob" type="text" value="...">."""

_PAIR = re.compile(r"[(\[]\s?[\"']([A-Za-z][\w .-]{1,30})[\"']\s?,\s?[\"']?$")
"""The first of two in brackets names the second: ("dob", "1980-03-12")."""

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
        "document",
        "doc",
        "identifier",
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
        "s",
        "n",
        "raw",
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

SPEAKERS = frozenset(["caller", "patient", "doctor", "physician", "driver"])
"""Who speaks in a transcript: they name a value, and say not that it is nothing else."""

_EDGE = re.compile(r"[\n\"`*:=<>|,;{}\[\]()]|[.!?] | '|^'")
_ITEMS = linear.pattern(r"(?:[\w#./-]*\d[\w#./-]*,? )+$")
_ASIDE = re.compile(
    r"\s?\(([^()\n]{1,24})\)((?:\s(?:no|nr|num|number|nummer|numero|n)[.°]{0,2})?)\s?$", re.IGNORECASE
)
"""What brackets add to a name, or say of it in another language: "Phone (work):", "MyKad (NRIC) no.:"."""

_MARKUP = re.compile(
    r"<(?:code|b|strong|em|i|u|tt|kbd|samp|pre|mark|small|big|font|span|p|div|li|td|th|tr|dd|a)\b[^<>]{0,80}>\s{0,3}$",
    re.IGNORECASE,
)
"""An element that says how its text looks and not what it is."""

_NUMBERED = re.compile(r"(?<![^\s:(>\"'#])[A-Z]{1,5}[-_/]$")
"""The letters with which the number of a document may begin: its name stands before them."""

_ENDS_WITH_NAME = " \"'`*]/#.°"
_WORDS = 4
"""Words right before a value that can be its name where nothing sets name and value apart."""

_NAME_FIRST = ("number, ", "nummer, ", "numero, ", "numer, ")
"""Ends of a name whose value stands behind a comma: "my real AVS number, 756..., is wrong"."""

_QUOTED = " >|\t\r"
"""What a line begins with before its text, in quoted mails too."""

_SPENT = re.compile(r"\d{4}\S* ")
"""Another value: the words before it have named that one already."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_PARTS = re.compile(r"[_\W]+")
_OTHER = linear.pattern(
    r"^id$|(?:^| )(?:order\w*|ordre\w*|auftrag\w*|siparis|teile\w*|asset|asset tag|modified"
    r"|waybill|订单|주문|注文|bestell\w*|bestelling|commande|pedido|ordine|zamowienie|tilaus"
    r"|encomenda|bestallning|invoice|rechnung\w*"
    r"|facture|factura|fattura|factuur|faktura|lasku(?:n(?:umero|ro))?|receipt|part|artikel\w*|article"
    r"|articulo|articolo|artykul|indeks|item"
    r"|melding|meldung|vorgang|zaak"
    r"|sku|product|produkt\w*"
    r"|serial|seriennummer|model|modell|version|versione|versao|versie|versjon|versio|verze|wersja"
    r"|ver|build|release|firmware|commit|revision|rev"
    r"|semver|tag name|sha\d*"
    r"|hash|checksum|digest"
    r"|uuid|guid|isbn|issn|doi|ean|upc|gtin|barcode|tracking|shipment|parcel|sendungs\w*|ticket|case"
    r"|issue|jira|bug|cve"
    r"|batch|stock|views|weight|etag|barcode|page|pages|page range|line|chapter|section|price|cost"
    r"|amount|total|subtotal|betrag|importe|montant|qty|quantity|menge|count"
    r"|date|datum|fecha|data|due|score|size|bytes|offset|width|height|port|pid|timestamp|ts|epoch"
    r"|created|updated|expires|duration|elapsed"
    r"|request|session|trace|span|job|batch|run|lot|quote|reference|ref|booking|transaction|txn|po|rma"
    r"|placeholder|latitude|longitude|lat|lon|lng|coordinates|seed|priority|status|balance)s?"
    r"(?: (?:no|nr|num|number|nummer|numero|numaras?i?|n|id|code|key|ref|reference|hash|at|on|is|ist|est|es|e))?$"
    r"|(?:^| )(?:loan|mortgage|lease|policy|claim|contract|permit|complaint|incident|darlehens?|kredit|vertrags?"
    r"|contrato?|contratto|poliza|polizza|police|apolice|umowa) (?:no|nr|num|number|nummer|numero|n|id|ref|reference)$"
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


class Labels:
    """The labels of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[int, Label | None] = {}
        self._rows = Rows(text)

    def of(self, start: int) -> Label | None:
        """Return what the value that begins at `start` is called; None where nothing says."""
        if start not in self._known:
            self._known[start] = self._read(start)
        return self._known[start]

    def is_headed(self, start: int) -> bool:
        """Say whether a place has a head, of whatever kind, that may be far above it."""
        return self._rows.has_head(start)

    def _read(self, start: int) -> Label | None:
        column, other = self._rows.column(start), False
        name, aside, key = (column, "", True) if column else self._before(start)
        if not key and (spaced := self._rows.spaced(start)):
            column, name, aside, key = spaced, spaced, "", True
        if not name or not (plain := _plain(name)):
            return None
        words = plain.split(" ")
        key = key and words[-1] not in _VAGUE
        if not column and _VAGUE.issuperset(words):
            before = self._text[max(0, start - REACH) : start]
            wrapped = _APART.search(before) or _WRAPPED.search(before)
            if wrapped is not None:
                inner, plain = plain, _plain(next(filter(None, wrapped.groups()))) or plain
                other = _OTHER.search(f"{plain} {inner}") is not None
        other = other or _OTHER.search(plain) is not None or (not column and self._is_numbered(start))
        plain = f"{plain} {_plain(aside)}" if aside else plain
        if column and (beside := _plain(self._rows.beside(start))):
            plain, other = f"{plain} {beside}", other or _OTHER.search(beside) is not None
        return Label(plain, other, key)

    def _is_numbered(self, start: int) -> bool:
        """Say whether letters and a hyphen before a value make it the number of what is named before them."""
        prefix = _NUMBERED.search(self._text, max(0, start - 6), start)
        if prefix is None:
            return False
        name, _, _ = self._before(prefix.start())
        return _OTHER.search(_plain(name)) is not None

    def _before(self, start: int) -> tuple[str, str, bool]:
        """Return the name before a value, what brackets add to it, and whether it is written as a key."""
        asked = self._text[max(0, start - _SENTENCE) : start]
        if (told := _TOLD.search(asked)) is not None:
            first, last = told.span(1)
            return asked[first:last].strip(), "", False
        before = self._text[max(0, start - REACH) : start]
        line = before[before.rfind("\n") + 1 :]
        if not (line.lstrip().startswith("<") and _CELL.search(before)):
            before = line if line.strip(_QUOTED) else before.rstrip(_QUOTED + "\n")
        if before.endswith(", ") and (items := _ITEMS.search(before)):
            before = before[: items.span()[0]]
        if before.endswith(">") and (cell := _CELL.search(before)):
            return cell.group(1), "", True
        while before.rstrip().endswith(">") and (markup := _MARKUP.search(before)):
            before = before[: markup.start()]
        if "," in before[-4:] and (pair := _PAIR.search(before)):
            return pair.group(1), "", False
        found = _SET.search(before)
        if not found and before.endswith(_NAME_FIRST):
            before = before.removesuffix(", ")
        name = before[: found.span()[0]] if found else before.rstrip(" \"'(")
        aside = _ASIDE.search(name)
        if aside is not None and aside.start() > 0:
            name = name[: aside.start()] + aside.group(2)
        said = aside.group(1) if aside is not None and found else ""
        name = _EDGE.split(name.rstrip(_ENDS_WITH_NAME))[-1].strip()
        if not found:
            return _SPENT.split(" ".join(name.split()[-_WORDS:]))[-1], "", False
        setter = before[found.span()[0] :].strip()[:1]
        quoted = before[: found.span()[0]].endswith(('"', "'"))
        return name, said, _KEY.fullmatch(name) is not None and (quoted or setter in "=>")


def behind(text: str, end: int) -> str:
    """Return what a sentence calls the value that ends at `end` by the words behind it; "" where none does."""
    after = text[end : end + _NAMED_BEHIND]
    found = _BEHIND.search(after)
    if found is None:
        return ""
    first, last = found.span(1)
    return _plain(after[first:last])


def _plain(name: str) -> str:
    return _PARTS.sub(" ", _HUMP.sub(" ", name).replace("'", "")).strip().lower()
