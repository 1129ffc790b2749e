"""What a capture asks for is searched whole, or it gets nothing: never a part of the findings."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from sallyport.decision import Finding, Kind, Severity
from sallyport.exchange import Segment
from sallyport.proxy.scanning import ScanOnce
from samples import segment

MAIL = Finding("pii.EMAIL_ADDRESS", Kind.PII, "EMAIL_ADDRESS", Severity.MEDIUM, "/messages/0/content", 0, 5)
NAME = Finding("pii.ner.PERSON", Kind.PII, "PERSON", Severity.MEDIUM, "/messages/0/content", 6, 9)
TEXTS = [segment("a@b.c Ann")]


@dataclass
class Rules:
    asked: int = 0

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        self.asked += 1
        return (MAIL,)


@dataclass
class Names:
    revision: str = "r"
    deadline_s: float = 0.01
    future: "Future[tuple[Finding, ...]]" = field(default_factory=Future)

    def submit(self, segments: Sequence[Segment]) -> "Future[tuple[Finding, ...]]":
        return self.future


async def test_what_no_stage_asked_for_is_searched_and_what_one_did_is_not_again() -> None:
    rules, names = Rules(), Names()
    names.future.set_result((NAME,))
    scanner = ScanOnce(rules, TEXTS, 100, names)  # type: ignore[arg-type]
    assert {f.entity for f in scanner.everything()} == {"EMAIL_ADDRESS", "PERSON"}
    assert set(await scanner.with_names()) == set(scanner.everything())
    assert rules.asked == 1


def test_names_that_are_not_found_in_time_give_nothing() -> None:
    names = Names()
    scanner = ScanOnce(Rules(), TEXTS, 100, names)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        scanner.everything()
    assert names.future.cancelled()


def test_a_text_that_is_too_long_gives_nothing() -> None:
    with pytest.raises(ValueError, match="max_text_bytes"):
        ScanOnce(Rules(), TEXTS, 3).everything()  # type: ignore[arg-type]
