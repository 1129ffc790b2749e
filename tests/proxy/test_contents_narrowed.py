"""A rule that has less kept of what was found holds for what only the search before the writing finds, too."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sallyport.decision import Action, Decision, Finding, Kind, Mode, Severity, Verdict
from sallyport.exchange import Client, Exchange, Operation, Request, Segment, Surface
from sallyport.policy.content import ContentSection
from sallyport.proxy.contents import _Answer, _request
from sallyport.proxy.noted import Noted

CARD = Finding("pii.financial.card", Kind.PII, "CREDIT_CARD", Severity.HIGH, "/a", 0, 4, 1.0)
REFUSED = Verdict((Decision("limits", Action.DENY, "limits.requests", mode=Mode.ENFORCE),))


def begun(rules: list[dict[str, object]], search: Any, keep: str = "original") -> Any:
    """Return a request that was refused before anybody looked for anything."""
    asked = Request(
        "openai", "openai_chat", Operation.CHAT, None, segments=(Segment("/a", Surface.USER, "4111"),)
    )
    exchange = Exchange("x", "", datetime.now(UTC), "h", Client("10.0.0.9", "explicit"), asked)
    passage = SimpleNamespace(exchange=exchange, output=None, tap=None, output_stop=None)
    section = ContentSection.model_validate_json(json.dumps({"keep": keep, "rules": rules}))
    return _request(section, cast(Any, passage), Noted(search), REFUSED)


def rule(keep: str) -> dict[str, object]:
    return {"id": "cards", "found": ["pii.financial.*"], "keep": keep}


@pytest.mark.parametrize(
    ("rules", "keep", "found", "kept"),
    [
        ([], "original", [CARD], [("original", "4111")]),
        ([rule("masked")], "original", [CARD], [("masked", "[CREDIT_CARD]")]),
        ([rule("masked")], "original", [], [("original", "4111")]),
        ([rule("none")], "original", [CARD], []),
        ([rule("none")], "masked", [CARD], []),
        ([rule("original")], "masked", [CARD], [("masked", "[CREDIT_CARD]")]),
    ],
)
def test_never_more_is_kept_than_the_rules_say_of_all_that_was_found(
    rules: list[dict[str, object]], keep: str, found: Sequence[Finding], kept: list[tuple[str, str]]
) -> None:
    pages = begun(rules, lambda: found, keep).pages()
    assert [(page.form, page.texts[0].text) for page in pages] == kept


class Answered(_Answer):
    """An answer whose text and findings are given."""

    def _segments(self) -> list[Segment]:
        return [Segment("/a", Surface.ASSISTANT, "4111 and more")]

    def _found(self, segments: Sequence[Segment]) -> Sequence[Finding]:
        return [CARD]


@pytest.mark.parametrize(("keep", "forms"), [("masked", ["masked"] * 2), ("none", [])])
def test_what_is_found_in_the_answer_counts(keep: str, forms: list[str]) -> None:
    nothing = cast(Any, None)
    made = Answered(begun([rule(keep)], list), nothing, nothing, b"", 200, "", None, False)
    assert [page.form for page in made.pages()] == forms
    assert all("4111" not in page.texts[0].text for page in made.pages()[1:])


def test_where_nobody_knows_what_is_in_it_such_a_rule_keeps_nothing() -> None:
    def late() -> Sequence[Finding]:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        begun([rule("masked")], late).pages()
    assert begun([], late).pages()[0].form == "original"
