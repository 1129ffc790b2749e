"""Names for who reads: where events hold pseudonyms of people, who has the keys is told whose they are."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol, cast

from sqlalchemy import RowMapping

from sallyport.audit.text import coded, storable

PSEUDONYM, SEALED, CLIENT = "person:", "sealed:", "client:"
"""What stands for a person, a text sealed under its key, and the name of a caller nobody knew but by its address."""

_COLUMNS = ("principal", "by_principal", "client")
_IN_DETAIL = f":{PSEUDONYM}"


class Names(Protocol):
    """Who pseudonyms stand for; "" where nobody can tell any more."""

    def prepare(self, pseudonyms: Iterable[str]) -> None: ...

    def name(self, pseudonym: str) -> str: ...

    def text(self, pseudonym: str, sealed: str) -> str: ...

    def pseudonyms(self, principal: str) -> Collection[str]: ...

    def close(self) -> None: ...


def told(rows: Sequence[RowMapping], names: Names | None) -> Sequence[RowMapping]:
    """Return rows of events, or of sums over them, with names where they can be told; `alias` is what is stored."""
    if names is None:
        return rows
    found = {pseudonym for row in rows for pseudonym in _pseudonyms_in(row)}
    if not found:
        return rows
    names.prepare(found)
    return [_told(row, names) if any(_pseudonyms_in(row)) else row for row in rows]


def _pseudonyms_in(row: RowMapping) -> Iterable[str]:
    for column in _COLUMNS:
        value = row.get(column)
        if value and value.startswith(PSEUDONYM):
            yield value
    before, found, pseudonym = (row.get("detail") or "").partition(_IN_DETAIL)
    if found and before:
        yield PSEUDONYM + pseudonym


def _told(row: RowMapping, names: Names) -> RowMapping:
    shown: dict[Any, Any] = dict(row)
    who, client = row.get("principal") or "", row.get("client") or ""
    shown["alias"] = (who, client)
    for column in ("principal", "by_principal"):
        value = row.get(column) or ""
        if value.startswith(PSEUDONYM):
            shown[column] = storable(names.name(value)) or value
    if client.startswith(PSEUDONYM):
        shown["client"] = storable(names.name(client).removeprefix(CLIENT)) or client
    elif client.startswith(SEALED) and who.startswith(PSEUDONYM):
        shown["client"] = storable(names.text(who, client)) or client
    act, found, pseudonym = (row.get("detail") or "").partition(_IN_DETAIL)
    if found and act:
        shown["detail"] = f"{act}:{coded(names.name(PSEUDONYM + pseudonym)) or PSEUDONYM + pseudonym}"
    return cast(RowMapping, shown)
