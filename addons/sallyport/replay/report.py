"""A replay as JSON: the same bytes for the same flows and policies, whoever did the work. The form is kept.

Whoever demands a report of a candidate (`sallyport policy promote`) reads this.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sallyport.proxy.recorded import Ruling
from sallyport.replay.difference import Difference, Sample
from sallyport.replay.ruling import Change, Sort
from sallyport.replay.samples import Content
from sallyport.replay.thresholds import Threshold, Unread, result_of
from sallyport.stages.outcome import Outcome

FORMAT = "sallyport.replay/1"


@dataclass(frozen=True, slots=True)
class About:
    """What was replayed. base: revision of the policy, or `recorded`. flows_sha256: of the files, see digest.

    candidate_rules, base_rules: revisions of what decided beside the policies, `recorded` likewise.
    left_out: flows that cannot be judged, by what they are. cut_files: files that end inside a flow.
    allowed_unread: so many of these, and of flows that cannot be read, may be.
    """

    candidate: str
    base: str
    flows_sha256: str
    left_out: dict[str, int]
    cut_files: int
    candidate_rules: str = ""
    base_rules: str = ""
    allowed_unread: int = 0

    def unread(self, found: Difference) -> Unread:
        """Return what could not be read, of the files and of their flows."""
        unreadable, sessions = found.sorts[Sort.UNREADABLE], found.sorts[Sort.SESSION]
        return Unread(self.cut_files, unreadable, self.allowed_unread, sessions)

    def left(self, found: Difference) -> dict[str, int]:
        """Return the counts of what is left out and can be no flow of a policy, by what it is."""
        sessions = found.sorts[Sort.SESSION]
        return self.left_out | ({Sort.SESSION.value: sessions} if sessions else {})


def report(
    found: Difference, about: About, thresholds: Sequence[Threshold], contents: Sequence[Content] = ()
) -> str:
    """Return the report, with the line break at its end. contents: of the samples, in their order; none to show."""
    return json.dumps(_object(found, about, thresholds, contents), indent=1, ensure_ascii=True) + "\n"


def _object(
    found: Difference, about: About, thresholds: Sequence[Threshold], contents: Sequence[Content]
) -> dict[str, object]:
    shown: Sequence[Content | None] = contents or [None] * len(found.samples)
    return {
        "format": FORMAT,
        "candidate_policy": about.candidate,
        "base_policy": about.base,
        "candidate_rules": about.candidate_rules,
        "base_rules": about.base_rules,
        "recorded_rules": dict(sorted(found.rules.items())),
        "flows_sha256": about.flows_sha256,
        "left_out": dict(sorted(about.left(found).items())),
        "cut_files": about.cut_files,
        "allowed_unread": about.allowed_unread,
        "flows": found.flows,
        "period": found.period and {"since": found.period[0], "until": found.period[1]},
        "sorts": {sort: found.sorts[sort] for sort in Sort if sort is not Sort.SESSION},
        "changes": {change: found.changes[change] for change in Change},
        "thresholds": [
            {
                "change": each.change,
                "most": each.most,
                "is_share": each.is_share,
                "count": found.changes[each.change],
                "exceeded": each.is_passed(found),
            }
            for each in thresholds
        ],
        "result": result_of(found, thresholds, about.unread(found)),
        "base": _side(found, 0),
        "candidate": _side(found, 1),
        "by": {
            dimension: {
                value: {change: counts[change] for change in Change if counts[change]}
                for value, counts in sorted(values.items())
            }
            for dimension, values in found.by.items()
        },
        "samples": [_sample(*pair) for pair in zip(found.samples, shown, strict=True)],
    }


def _sample(sample: Sample, content: Content | None) -> dict[str, object]:
    judged = sample.judged
    told: dict[str, object] = {
        "id": judged.id,
        "began": judged.began,
        "change": sample.change,
        "host": judged.host,
        "endpoint": judged.endpoint,
        "model": judged.model,
        "principal": judged.principal,
        "tenant": judged.tenant,
        "base": _ruling(sample.base),
        "candidate": _ruling(sample.candidate),
    }
    if content is not None:
        told["content"] = {"masked": content.masked, "request": content.request, "answer": content.answer}
    return told


def _side(found: Difference, side: int) -> dict[str, object]:
    return {
        "refused": found.refused[side],
        "masked": dict(sorted(found.masked[side].items())),
        "cost_micro_usd": found.spent[side],
        "unpriced": found.unpriced[side],
        "answers_ended": found.ended[side],
        "answers_edited": dict(sorted(found.edited[side].items())),
        "waited": found.waited[side].flows,
        "waited_s": round(found.waited[side].seconds, 3),
    }


def _ruling(ruling: Ruling) -> dict[str, object]:
    return {
        "action": ruling.action.name.lower(),
        "would_be": ruling.would_be.name.lower(),
        "stage": ruling.stage,
        "reason": ruling.reason,
        "masked": dict(ruling.masked),
        "cost_micro_usd": ruling.cost,
        "answer": None if ruling.answer is None else _outcome(ruling.answer),
    }


def _outcome(answer: Outcome) -> dict[str, object]:
    return {
        "action": answer.action,
        "would_be": answer.would_be,
        "rule": answer.rule,
        "edited": dict(answer.edited),
    }
