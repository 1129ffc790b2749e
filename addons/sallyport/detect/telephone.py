"""Telephone numbers by the numbering plans of the phonenumbers library, at a cost a hostile text cannot raise.

The library spends some 100 microseconds on a number, so that a megabyte of digits held a processor for twenty
seconds. Its data are compiled here into patterns instead: one pass of one automaton says in which regions a
number is valid and which of them writes it so. A plan's prefixes may be there or not, so that a few numbers more
are valid than the library says, and none less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from sallyport.detect import linear
from sallyport.errors import OperatorError

if TYPE_CHECKING:
    from phonenumbers import PhoneMetadata

type Candidates = Iterator[tuple[int, int, float]]

_DIGITS = re.compile(r"[0-9]+")
_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager",
    "uan", "voicemail",
)  # fmt: skip
_MOST_DIGITS = 17
"""Digits of the longest national number, its prefix included."""

_ABROAD = ("00", "011")
"""What is dialled for the plus sign in the regions that have numbers of their own here."""

_EXTENSION = re.compile(r"[^\W\d_]")
"""A letter: there begins the word for the number of a desk, in whatever language."""

_TRUNK = "(0)"
"""What is dialled inside the country only."""

_LIST = 80
"""Characters before a number in which a list of numbers is seen."""

_BEHIND = linear.pattern(
    r"(?:^|[^\d-])(?:\(\d{3}\) ?|\d{3}-)[2-9]\d\d-\d{4}(?: ?[/;|,] ?\d{3}[ .-]\d{3}[ .-]\d{4})* ?[/;|,] ?$"
)

_REFERENCE = re.compile(r"\\(\d)")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What belongs to one country calling code. lengths: of possible numbers, incomplete ones included."""

    dialled: linear.Pattern
    lengths: frozenset[int]


def phone(text: str, start: int, end: int, regions: tuple[str, ...]) -> Candidates:
    """Yield a telephone number by the numbering plans; a national one also by how it is grouped.

    regions: whose numbers count without a country code.
    """
    value = text[start:end]
    if value.upper() != value.lower():
        value = _EXTENSION.split(value, maxsplit=1)[0]
    groups = _DIGITS.findall(value)
    if value.startswith(("+", "(+", "00", "(00")):
        valid, possible = international("".join(groups).removeprefix("00"))
        if not possible and _TRUNK in value:
            groups = _DIGITS.findall(value.replace(_TRUNK, " "))
            valid, possible = international("".join(groups).removeprefix("00"))
        if valid:
            yield start, end, 1.0
        elif possible and value[0] == "+":
            yield start, end, 0.8 if len(groups) > 1 else 0.5
        elif [len(g) for g in groups] == [3, 3, 3, 4] and groups[0] == "001":
            yield start, end, 0.8
        return
    lead = 0.5 if start and text[start - 1] in "./:-_=#$" else 1.0
    if _is_north_american(groups):
        weight = 1.0 if groups[-3][0] in "23456789" else 0.4
        spaced = "(" not in value and "-" not in value and "." not in value and not _listed(text, start)
        yield start, end, weight * lead * (0.6 if spaced else 1.0)
        return
    weight = plans(regions).national(groups)
    if weight:
        yield start, end, weight * lead


def _listed(text: str, start: int) -> bool:
    """Say whether a number stands in a list that begins with one whose hyphens make it a North American one."""
    before = text[max(0, start - _LIST) : start]
    return before.rstrip(" ").endswith(("/", ";", "|", ",")) and _BEHIND.search(before) is not None


@lru_cache(maxsize=8)
def plans(regions: tuple[str, ...]) -> Plans:
    """Return the plans of some regions, compiled once (20 ms)."""
    return Plans(regions)


class Plans:
    """The plans of the regions whose numbers count without a country code. Threads may share it.

    regions: CLDR codes. The text that the patterns see is the digits, a bar, and the digits in their groups.
    """

    def __init__(self, regions: Sequence[str]) -> None:
        sources: list[str] = []
        self._valid: list[int] = []
        self._grouped: dict[int, int] = {}
        for region in regions:
            home = _read(region, "")
            code = str(home.country_code)
            valid = len(sources)
            self._valid.append(valid)
            sources.append(rf"^(?:{code})?{_dialled(home, code)}\|")
            for pattern in _written(_read(_regions(code)[0], code), _optional_prefix(home)):
                self._grouped[len(sources)] = valid
                sources.append(pattern)
        self._set = linear.PatternSet(sources)

    def national(self, groups: Sequence[str]) -> float:
        """Return 0.8 for digits grouped as one of the regions writes them, 0.5 for another valid number, else 0."""
        digits = "".join(groups)
        if len(digits) > _MOST_DIGITS:
            return 0.0
        found = self._set.matches(f"{digits}|{' '.join(groups)}".encode("ascii"))
        if found is None:
            return 0.5
        if len(groups) > 1 and digits[0] == "0" and any(self._grouped.get(index) in found for index in found):
            return 0.8
        if any(index in self._valid for index in found):
            return 0.5
        abroad = next((p for p in _ABROAD if digits.startswith(p)), None)
        return 0.5 if abroad and international(digits.removeprefix(abroad))[0] else 0.0


def international(digits: str) -> tuple[bool, bool]:
    """Return whether digits behind a plus sign are a valid number, and whether they have a possible length."""
    for size in (1, 2, 3):
        code = digits[:size]
        if code in _all_codes():
            plan = _plan(code)
            rest = digits[size:]
            if plan.dialled.search(rest) is not None:
                return True, True
            return False, len(rest) in plan.lengths
    return False, False


def _is_north_american(groups: Sequence[str]) -> bool:
    sizes = [len(g) for g in groups]
    return sizes == [3, 3, 4] or (sizes == [1, 3, 3, 4] and groups[0] == "1")


@lru_cache(maxsize=1)
def _all_codes() -> dict[str, tuple[str, ...]]:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return {str(code): regions for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()}


def _regions(code: str) -> tuple[str, ...]:
    return _all_codes()[code]


@lru_cache(maxsize=512)
def _plan(code: str) -> _Plan:
    """Compile the plan of a country calling code; only existing ones come here, so nothing of a text is kept."""
    home = _read(_regions(code)[0], code)
    general = home.general_desc
    assert general is not None, "a plan without numbers"
    return _Plan(
        dialled=linear.pattern(f"^{_dialled(home, code)}$"),
        lengths=frozenset((*general.possible_length, *general.possible_length_local_only)),
    )


def _read(region: str, code: str) -> PhoneMetadata:
    from phonenumbers import PhoneMetadata

    found = (
        PhoneMetadata.metadata_for_nongeo_region(int(code))
        if region == "001"
        else PhoneMetadata.metadata_for_region(region)
    )
    if found is None:
        raise OperatorError(
            f"region {region}", "has no numbering plan", "Use CLDR region codes such as US or DE"
        )
    return found


def _dialled(home: PhoneMetadata, code: str) -> str:
    """Return a pattern of the numbers of a code, with or without the prefix of one of its regions."""
    numbers = (p for region in _regions(code) for p in _numbers(_read(region, code)))
    return f"{_optional_prefix(home)}(?:{'|'.join(dict.fromkeys(numbers))})"


def _numbers(plan: PhoneMetadata) -> Iterator[str]:
    for kind in _KINDS:
        desc = getattr(plan, kind)
        if desc is not None and desc.national_number_pattern:
            yield desc.national_number_pattern


def _optional_prefix(plan: PhoneMetadata) -> str:
    prefix = _prefix(plan)
    return f"(?:{prefix})?" if prefix else ""


def _prefix(plan: PhoneMetadata) -> str:
    """Return a pattern of what is cut off before a national number.

    Some plans take part of the number into the prefix and put it back by a rule: that part is left out.
    """
    prefix: str = plan.national_prefix_for_parsing or ""
    rule = plan.national_prefix_transform_rule
    if rule is None:
        return prefix
    kept = {int(group) for group in _REFERENCE.findall(rule)}
    groups = iter(range(1, 100))

    def without_kept(group: re.Match[str]) -> str:
        return "(?:)" if group[0][:2] != "(?" and next(groups) in kept else group[0]

    return re.sub(r"\(\?:|\([^()]*\)", without_kept, prefix)


def _written(plan: PhoneMetadata, prefix: str) -> Iterator[str]:
    """Yield a pattern per national format: its leading digits before the bar, its groups behind it."""
    for form in plan.number_format:
        groups = _top_groups(form.pattern or "")
        written = form.format or ""
        if form.national_prefix_formatting_rule:
            written = written.replace("\\1", form.national_prefix_formatting_rule, 1)
        runs = re.findall(r"(?:\\\d|\d)+", written)
        shape = " ".join(_with_groups(run, groups) for run in runs)
        leading = form.leading_digits_pattern
        yield rf"^{prefix}{f'(?:{leading[-1]})' if leading else ''}[0-9]*\|{shape}$"


def _with_groups(run: str, groups: Sequence[str]) -> str:
    return _REFERENCE.sub(lambda reference: groups[int(reference[1]) - 1], run)


def _top_groups(pattern: str) -> list[str]:
    """Return the outermost groups of a pattern, without capturing."""
    groups, depth, start = [], 0, 0
    for place, char in enumerate(pattern):
        if char == "(":
            start = place + 1 if depth == 0 else start
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                groups.append(f"(?:{pattern[start:place]})")
    return groups
