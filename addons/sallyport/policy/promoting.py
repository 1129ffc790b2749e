"""Which part of a policy file a promotion is about, its next state, and whether a replay report allows it."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.policy.problems import choices, nearest
from sallyport.policy.promotion import Promotion
from sallyport.policy.sections import Policy, mode_of
from sallyport.policy.source import At
from sallyport.policy.states import STRENGTH, Canary, StageSection

FORMAT = "sallyport.replay/1"
WHOLE = "policy"
"""What the state of the file itself goes by."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is promoted. name: as messages call it. at: of its mapping in the file. mode, canary: as they stand.

    inherits: whether they stand elsewhere, in the section or the file.
    """

    name: str
    at: At
    mode: Mode
    canary: Canary | None
    inherits: bool = False


def targets(policy: Policy) -> dict[str, Target]:
    """Return all of a policy's own file that has a state and can be in a canary, by name."""
    found = {WHOLE: Target(WHOLE, (), policy.mode, policy.canary)}
    for name in Policy.model_fields:
        section = getattr(policy, name)
        if isinstance(section, StageSection):
            stated = section if section.mode is not None else policy
            mode = mode_of(policy, section)
            found[name] = Target(name, (name,), mode, stated.canary, stated is not section)
    for name, section in (("access", policy.access), ("limits", policy.limits)):
        own = section.rules if name == "access" else _of_company(policy)
        for index, rule in enumerate(own):
            stated = rule if rule.mode is not None else section if section.mode is not None else policy
            mode = mode_of(policy, section, rule)
            target = f"{name}.{rule.id}"
            found[target] = Target(target, (name, "rules", index), mode, stated.canary, stated is not rule)
    return found


def _of_company(policy: Policy) -> tuple[Any, ...]:
    """Return the limits of the company's file: those of tenants follow them."""
    theirs = {
        rule.id for rule in policy.limits.rules if rule.tenants and rule.id.startswith(f"{rule.tenants[0]}.")
    }
    return tuple(rule for rule in policy.limits.rules if rule.id not in theirs or not policy.tenants.files)


def target_of(policy: Policy, name: str) -> Target:
    """Return what an operator names: `access.no-shell`, `no-shell`, `injection`, `policy`. Raises OperatorError."""
    known = targets(policy)
    found = [known[name]] if name in known else [t for n, t in known.items() if n.partition(".")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise OperatorError(
            name, "both an access rule and a limit go by it", f"Write {choices(t.name for t in found)}"
        )
    near = nearest(name, (*known, *(n.partition(".")[2] for n in known if "." in n)))
    todo = f"Did you mean `{near}`?" if near else "Name a section, or a rule as access.ID or limits.ID"
    raise OperatorError(name, "the policy has no such section or rule of its own file", todo)


def next_state(
    target: Target, to: Literal[Mode.CANARY, Mode.ENFORCE], canary: Canary | None
) -> dict[str, str | None]:
    """Return the keys that are written for a promotion. Raises OperatorError where it would enforce for fewer."""
    if to is Mode.CANARY and canary is None:
        raise OperatorError("--to canary", "it says not for whom", "Add --percent, --role or --tenant")
    less = STRENGTH[to] < STRENGTH[target.mode] or (target.mode is to is Mode.ENFORCE)
    if target.mode is to is Mode.CANARY and target.canary is not None and canary is not None:
        moved = target.inherits and target.canary.percent is not None  # its own canary takes others
        less = moved or not canary.covers(target.canary) or canary == target.canary
    if less:
        what = f"it is in {target.mode} now, and this would enforce for no more calls"
        raise OperatorError(target.name, what, "To go back, edit the file: that needs no promotion")
    return {"mode": to.value, "canary": None if canary is None else _written(canary)}


def _written(canary: Canary) -> str:
    """Return a canary as it stands in YAML, on one line."""
    said = canary.model_dump(mode="json", exclude_none=True)
    percent = said.pop("percent", None)
    parts = [] if percent is None else [f"percent: {percent:g}"]
    return f"{{{', '.join([*parts, *(f'{key}: {json.dumps(names)}' for key, names in said.items())])}}}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a replay report says. until: of its last exchange, None where it has none."""

    candidate: str
    base: str
    exchanges: int
    newly_refused: int
    answers_ended: int
    masks_changed: int
    answers_changed: int
    result: str
    until: datetime | None
    base_rules: str = ""

    @classmethod
    def read(cls, text: str, name: str) -> "Evidence":
        """Read a report of `sallyport replay --json`. Raises OperatorError."""
        try:
            said: Mapping[str, Any] = json.loads(text)
            if said["format"] != FORMAT:
                raise ValueError
            period, changes = said["period"], said["changes"]
            return cls(
                str(said["candidate_policy"]),
                str(said["base_policy"]),
                int(said["sorts"]["exchange"]),
                int(changes["newly_refused"]),
                int(changes["answer_newly_ended"]),
                int(changes["masks_changed"]),
                int(changes["answer_changed"]),
                str(said["result"]),
                datetime.fromtimestamp(period["until"], UTC) if period else None,
                str(said.get("base_rules", "")),
            )
        except (ValueError, KeyError, TypeError, OverflowError, OSError):
            todo = "Write one: sallyport replay FLOWS --policy CANDIDATE --against FILE --report report.json"
            raise OperatorError(name, "it is no replay report", todo) from None


def objections(
    evidence: Evidence,
    base: str,
    candidate: str,
    demanded: Promotion,
    now: datetime,
    rules: Collection[str] = (),
) -> list[str]:
    """Return why a report does not allow a promotion from one revision to another, with the figures.

    rules: of the gateways that run the base, none where nobody knows.
    """
    found = []
    if evidence.base_rules and rules and evidence.base_rules not in rules:
        theirs = ", ".join(sorted(each[:12] for each in rules))
        found.append(f"it was made with rules {evidence.base_rules[:12]}; {theirs} are in force")
    if evidence.candidate != candidate:
        found.append(f"it is of the candidate {evidence.candidate}; the promoted policy is {candidate}")
    if evidence.base != base:
        found.append(f"it compares with {evidence.base}; the policy to be replaced is {base}")
    if evidence.exchanges < demanded.min_exchanges:
        found.append(
            f"it judged {evidence.exchanges} exchanges; at least {demanded.min_exchanges} are demanded"
        )
    if evidence.result == "incomplete":
        found.append(
            "not all of its recording could be read (cut_files, unreadable, websocket); see replay --allow-unread"
        )
    elif evidence.result not in ("none", "kept"):
        found.append("its own thresholds (--fail-on) were not kept")
    for counted, most in (
        (
            {"newly refused": evidence.newly_refused, "with an answer newly ended": evidence.answers_ended},
            demanded.max_newly_refused_share,
        ),
        (
            {
                "with other values masked": evidence.masks_changed,
                "with an answer changed": evidence.answers_changed,
            },
            demanded.max_masks_changed_share,
        ),
    ):
        count = sum(counted.values())
        if count > most * evidence.exchanges:
            what = " or ".join(name for name, some in counted.items() if some)
            share = count / max(1, evidence.exchanges)
            found.append(
                f"{count} of {evidence.exchanges} exchanges ({share:.2%}) are {what}; at most {most:.2%} may be"
            )
    oldest = now - timedelta(hours=demanded.max_age_h)
    if evidence.until is None or evidence.until < oldest:
        last = (
            "it has no exchange"
            if evidence.until is None
            else f"its last exchange is of {evidence.until:%Y-%m-%d %H:%M} UTC"
        )
        found.append(f"{last}; it must be of the last {demanded.max_age_h:g} hours")
    return found
