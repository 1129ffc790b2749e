"""What is wrong in a file a person wrote: every problem at once, each with its place and its cure.

No text here ever holds a value of the file: a key may have been pasted into the wrong line.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice

from sallyport.errors import OperatorError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. where: file:line:column; key: dotted path inside the file, "" for the whole."""

    where: str
    key: str
    what: str
    todo: str

    def __str__(self) -> str:
        place = f"{self.where}: {self.key}" if self.key else self.where
        return f"{place}: {self.what}. {self.todo}"


class PolicyError(OperatorError):
    """A policy or catalogue file that cannot be used. Printed, it lists every problem, one a line.

    Beyond 200 problems the rest is left out: such a file is no policy.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(islice(problems, 200))
        first = self.problems[0]
        super().__init__(first.where, f"{first.key}: {first.what}" if first.key else first.what, first.todo)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class Wrong(ValueError):
    """A value that breaks a rule of its model.

    at: path below the value that was checked, for a problem that lies deeper than the check.
    """

    def __init__(self, what: str, todo: str, at: tuple[str | int, ...] = ()) -> None:
        super().__init__(f"{what}. {todo}")
        self.what = what
        self.todo = todo
        self.at = at


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that a misspelling most likely meant, None if nothing is near."""
    by_fold = {k.casefold(): k for k in known}
    found = get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def choices(words: Iterable[str]) -> str:
    """Return words as an operator reads them: `a`, `b` or `c`."""
    quoted = [f"`{w}`" for w in words]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
