"""What an export of another directory says, before anybody decides what of it is ours."""

from collections.abc import Mapping
from dataclasses import dataclass

from sallyport.errors import OperatorError


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody in an export. where: file and line or entry. key: how groups refer to it, lower case.

    values: attributes by lower-case name. groups: keys of groups that the account itself names.
    """

    where: str
    key: str
    values: Mapping[str, tuple[str, ...]]
    groups: tuple[str, ...] = ()
    active: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """A group in an export. members: keys of accounts and groups, lower case; name: as people call it."""

    where: str
    key: str
    name: str
    members: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of a list that a server gave. kind: of its resources, "" of an empty one. total: of the list."""

    where: str
    kind: str
    found: int
    total: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that some files say. skipped: entries that are neither an account nor a group."""

    accounts: tuple[Account, ...] = ()
    groups: tuple[Group, ...] = ()
    skipped: int = 0
    pages: tuple[Page, ...] = ()

    def __add__(self, other: "Gathered") -> "Gathered":
        return Gathered(
            self.accounts + other.accounts,
            self.groups + other.groups,
            self.skipped + other.skipped,
            self.pages + other.pages,
        )

    def check_pages(self) -> None:
        """Refuse lists of which pages are missing: whoever is on them would seem to be gone.

        Raises OperatorError.
        """
        found: dict[str, int] = {}
        for page in self.pages:
            found[page.kind] = found.get(page.kind, 0) + page.found
        for page in self.pages:
            has = found[page.kind] if page.kind else max(found.values())
            if page.total > has:
                raise OperatorError(
                    page.where, f"it holds {has} of {page.total} resources", "Import the other pages with it."
                )
