"""A report as JSON values and as one page, with the clauses that each part is asked for by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from sallyport.audit.events import EventKind
from sallyport.audit.paper import Cell, bars, columns, heading, page, paragraph, table
from sallyport.audit.reporting import (
    CHANGES,
    COVERAGE,
    DATA,
    ERASURES,
    REFUSED,
    USE,
    Act,
    Basis,
    DataClass,
    Report,
    Usage,
    ranked,
)

MOST_ROWS = 100
NO_ERASURES = "Nobody was erased. The log itself holds no content of anybody."

_USAGE = ("exchanges", "refused", "input tokens", "output tokens", "cost, USD")


def as_object(report: Report, about: Mapping[str, object]) -> dict[str, object]:
    """Return a report as JSON values. about: put at the top."""
    return {
        **about,
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        "tenant": report.tenant,
        "events": report.events,
        "exchanges": report.exchanges,
        "days": {
            day: {"left": left, "refused": refused} for day, (left, refused) in sorted(report.days.items())
        },
        "by_principal": [
            {"tenant": tenant, "principal": principal, **asdict(usage)}
            for (tenant, principal), usage in _by_use(report.by_principal)
        ],
        "by_model": [
            {"provider": provider, "model": model, **asdict(usage)}
            for (provider, model), usage in _by_use(report.by_model)
        ],
        "identified_by": dict(sorted(report.identified.items())),
        "refusals": [{"stage": s, "reason": r, "count": n} for s, r, n in ranked(report.refusals)],
        "tried": [{"stage": s, "reason": r, "count": n} for s, r, n in ranked(report.tried)],
        "would_refuse": [{"stage": s, "reason": r, "count": n} for s, r, n in ranked(report.would_refuse)],
        "data": [
            {
                "direction": each.direction,
                "kind": each.kind,
                "entity": each.entity,
                "provider": each.provider,
                "region": each.region,
                "treatment": each.treatment,
                "count": count,
            }
            for each, count in _data(report)
        ],
        "coverage": dict(sorted(report.coverage.items())),
        "not_intercepted": dict(sorted(report.not_intercepted.items())),
        "connections_refused": dict(sorted(report.connections_refused.items())),
        "broken": dict(sorted(report.broken.items())),
        "policies": dict(sorted(report.policies.items())),
        "acts": [
            {
                "at": act.at.isoformat(),
                "kind": act.kind,
                "by": act.by,
                "what": act.what,
                "detail": act.detail,
            }
            for act in report.acts
        ],
        "acts_left_out": report.acts_left_out,
        "erasures": [
            {"at": act.at.isoformat(), "by": act.by, "subject": act.what, "detail": act.detail}
            for act in _acts(report, EventKind.ERASED)
        ],
        "clauses": {
            basis.title: list(basis.clauses) for basis in (USE, REFUSED, DATA, COVERAGE, CHANGES, ERASURES)
        },
    }


def html(report: Report, about: Sequence[str]) -> str:
    """Return a report as one page. about: lines at its top."""
    whose = f" of tenant {report.tenant}" if report.tenant else ""
    title = f"AI use{whose}, {report.since:%Y-%m-%d} to {report.until:%Y-%m-%d}"
    return page(title, [*map(paragraph, about), *_parts(report)])


def _parts(report: Report) -> Iterator[str]:
    days = [(day, left, refused) for day, (left, refused) in sorted(report.days.items())]
    yield from _head(USE)
    yield paragraph(f"{report.exchanges:,} exchanges, {sum(report.refusals.values()):,} of them refused.")
    if days:
        yield columns(days, ("left", "refused"))
    yield table(("tenant", "principal", *_USAGE), _usages(report.by_principal))
    yield table(("provider", "model", *_USAGE), _usages(report.by_model))
    yield paragraph("How principals were known:", "note")
    yield bars(report.identified.most_common())
    yield from _head(REFUSED)
    yield _counted(("stage", "reason", "refused"), ranked(report.refusals), "Nothing was refused.")
    if report.tried:
        yield _counted(("stage", "reason", "tried: would be refused or changed"), ranked(report.tried), "")
    if report.would_refuse:
        yield paragraph("Left, since the rule only observes:", "note")
        yield _counted(("stage", "reason", "would be refused"), ranked(report.would_refuse), "")
    if report.connections_refused:
        head = ("connections refused before a request", "count")
        yield table(head, report.connections_refused.most_common()[:MOST_ROWS])
    yield from _head(DATA)
    yield paragraph(
        "By rule findings; a value that several requests repeat counts each time. `sent` was found in requests, "
        "`received` in answers. `left` means that it went on as it was: allowed or only observed.",
        "note",
    )
    rows = [
        (d.kind, d.entity, d.provider, d.region or "(not known)", d.treatment, n) for d, n in _data(report)
    ]
    yield _counted(("kind", "data", "provider", "region", "treatment", "count"), rows, "Nothing was found.")
    yield from _head(COVERAGE)
    yield bars(sorted(report.coverage.items(), key=lambda item: (-item[1], item[0])))
    if report.not_intercepted:
        head = ("connections to hosts that are not intercepted", "count")
        yield table(head, report.not_intercepted.most_common()[:MOST_ROWS])
    if report.broken:
        yield table(("exchanges that broke off", "count"), report.broken.most_common()[:MOST_ROWS])
    yield from _head(CHANGES)
    yield table(
        ("policy in force", "exchanges"), sorted(report.policies.items(), key=lambda p: -p[1])[:MOST_ROWS]
    )
    acts = [(f"{a.at:%Y-%m-%d %H:%M:%S}", a.kind.value, a.by, a.what, a.detail) for a in report.acts]
    yield _counted(("at (UTC)", "act", "by", "what", "detail"), acts, "None.", most=len(acts))
    if report.acts_left_out:
        yield paragraph(f"{report.acts_left_out} later acts are not listed: choose a shorter period.", "no")
    yield from _head(ERASURES)
    erased = [(f"{a.at:%Y-%m-%d %H:%M:%S}", a.by, a.what, a.detail) for a in _acts(report, EventKind.ERASED)]
    yield _counted(
        ("at (UTC)", "by", "subject, as a digest", "what went"), erased, NO_ERASURES, most=len(erased)
    )
    looks = [(f"{a.at:%Y-%m-%d %H:%M:%S}", a.by, a.detail) for a in _acts(report, EventKind.CONTENT_REVEALED)]
    yield _counted(
        ("at (UTC)", "by", "look at kept content"), looks, "Nobody looked at kept content.", most=len(looks)
    )


def _acts(report: Report, kind: EventKind) -> list[Act]:
    return [act for act in report.acts if act.kind is kind]


def _head(basis: Basis) -> Iterator[str]:
    yield heading(basis.title)
    yield paragraph("Asked for by: " + "; ".join(basis.clauses) + ".", "note")


def _counted(head: Sequence[str], rows: Sequence[Sequence[Cell]], none: str, *, most: int = MOST_ROWS) -> str:
    if not rows:
        return paragraph(none) if none else ""
    more = paragraph(f"{len(rows) - most} more rows are in the JSON.", "note") if len(rows) > most else ""
    return table(head, rows[:most]) + more


def _usages(group: Mapping[tuple[str, str], Usage]) -> Iterator[Sequence[Cell]]:
    for (first, second), usage in _by_use(group)[:MOST_ROWS]:
        cost = f"{usage.cost_micro_usd / 1e6:,.2f}" + (
            f" and {usage.unpriced} unpriced" if usage.unpriced else ""
        )
        counts = (usage.exchanges, usage.refused, usage.input_tokens, usage.output_tokens)
        yield (first, second or "(none)", *counts, cost)


def _by_use(group: Mapping[tuple[str, str], Usage]) -> list[tuple[tuple[str, str], Usage]]:
    return sorted(group.items(), key=lambda item: (-item[1].exchanges, item[0]))


def _data(report: Report) -> list[tuple[DataClass, int]]:
    return sorted(
        report.data.items(),
        key=lambda item: (
            -item[1],
            item[0].direction,
            item[0].kind,
            item[0].entity,
            item[0].provider,
            item[0].region,
        ),
    )
