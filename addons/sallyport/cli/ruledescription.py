"""One rule as `sallyport rules show` tells it: names and values, in the order in which they are read."""

from sallyport.decision import Kind
from sallyport.detect.packs import Rule, Unless
from sallyport.detect.watching.rulefile import OutputRule


def described(rule: Rule | OutputRule) -> list[tuple[str, str]]:
    """Return the lines of a rule; a value may be empty."""
    specific = _of_answers(rule) if isinstance(rule, OutputRule) else _of_texts(rule)
    return [
        ("title", rule.title),
        ("description", rule.description),
        ("file", rule.where.split(" ")[0]),
        ("severity", rule.severity.value),
        ("entity", rule.entity),
        ("paranoia level", str(rule.paranoia)),
        ("surfaces", ", ".join(sorted(rule.surfaces)) or "all"),
        ("tags", ", ".join(rule.tags)),
        *specific,
        *(("reference", r) for r in rule.references),
        *(("known false positive", k) for k in rule.known_false_positives),
        *(("match", e.text) for e in rule.match),
        *(("pass", e.text) for e in rule.clean),
    ]


def _of_texts(rule: Rule) -> list[tuple[str, str]]:
    return [
        ("points" if rule.kind is Kind.INJECTION else "score", _score(rule)),
        ("judged", "yes" if rule.judged else ""),
        ("views", ", ".join(sorted(rule.views))),
        ("across messages", "yes" if rule.across_messages else "no"),
        ("keywords", ", ".join(rule.keywords)),
        ("pattern", rule.source),
        ("group", str(rule.group) if rule.group else ""),
        ("validator", rule.validator or ""),
        ("recogniser", rule.recogniser or ""),
        ("context", ", ".join(rule.context)),
        *((f"unless ({_where(u)})", f"{u.pattern.pattern}  - {u.why}") for u in rule.unless),
    ]


def _of_answers(rule: OutputRule) -> list[tuple[str, str]]:
    return [
        ("behind", rule.behind.pattern if rule.behind is not None else ""),
        ("begins with", rule.opening.whole),
        ("is decided at", rule.closer.pattern if rule.closer is not None else ""),
        ("or after", f"{rule.max_chars} characters"),
        ("pattern", rule.source),
        ("group", str(rule.group) if rule.group else ""),
        ("check", rule.check or ""),
        *((f"unless ({u.on})", f"{u.pattern.pattern}  - {u.why}") for u in rule.unless),
    ]


def _where(unless: Unless) -> str:
    return ", ".join([unless.on, *sorted(unless.surfaces)])


def _score(rule: Rule) -> str:
    return f"{rule.score * 10:g}" if rule.kind is Kind.INJECTION else f"{rule.score:g}"
