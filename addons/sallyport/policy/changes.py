"""What differs between two policies, setting by setting; rules are told apart by their ids, not their places."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sallyport.policy.sections import Policy

_NAMES = ("id", "rule", "fingerprint", "cidr", "name", "tool")
"""Keys by which an entry of a list is known, the first that all entries have."""

ABSENT = object()


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that differs. at: dotted path, `limits.rules[daily].limit`. before, after: ABSENT where it is not."""

    at: str
    before: Any
    after: Any


def settings_that_differ(before: Policy, after: Policy) -> list[Setting]:
    """Return the effective settings that differ, defaults included, those of tenants too, in a fixed order."""
    found = [*_differ("", _effective(before), _effective(after))]
    return sorted(found, key=lambda setting: setting.at)


def _effective(policy: Policy) -> dict[str, Any]:
    said: dict[str, Any] = policy.model_dump(mode="json")
    if policy.recogniser_digests:
        said["recogniser_files"] = dict(policy.recogniser_digests)
    if policy.of_tenants:
        said["of_tenants"] = {tenant: own.effective for tenant, own in sorted(policy.of_tenants.items())}
    return said


def _differ(at: str, before: Any, after: Any) -> Iterator[Setting]:
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            place = f"{at}.{key}" if at else str(key)
            yield from _differ(place, before.get(key, ABSENT), after.get(key, ABSENT))
        return
    if isinstance(before, list) and isinstance(after, list):
        ours, theirs = _named(before, after)
        if ours is not None and theirs is not None:
            for name in ours.keys() | theirs.keys():
                yield from _differ(f"{at}[{name}]", ours.get(name, ABSENT), theirs.get(name, ABSENT))
            if [n for n in ours if n in theirs] != [n for n in theirs if n in ours]:
                yield Setting(f"{at} (order)", [*ours], [*theirs])
            return
    yield Setting(at, before, after)


def _named(*lists: list[Any]) -> tuple[Mapping[str, Any] | None, ...]:
    """Return lists of rules by the names of their rules; None where they have none, or one twice."""
    for name in _NAMES:
        found = []
        for each in lists:
            if not all(isinstance(entry, dict) and isinstance(entry.get(name), str) for entry in each):
                break
            by = {entry[name]: entry for entry in each}
            if len(by) != len(each):
                break
            found.append(by)
        else:
            if any(lists):
                return tuple(found)
    return tuple(None for _ in lists)
