"""Where our findings differ from stock Presidio's on texts whose truth is known, by class and type."""

from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum

from quality.measure import findings
from quality.texts import Span, Text
from sallyport.detect.engine import Detector

MIN_SCORE = 0.5

type Stock = Callable[[str], list[Span]]


class Difference(StrEnum):
    """What a difference is, by the truth of the text."""

    STRICTER = "theirs alone, nobody's value"
    RENAMED = "theirs alone, a value of another type"
    MISSED = "theirs alone, a true value"
    MORE = "ours alone, a true value"
    FALSE = "ours alone, no such value"


def stock() -> tuple[Stock, frozenset[str]]:
    """Return Presidio as it comes, with a blank English pipeline and kept off the network, and its types."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers.generic import email_recognizer

    class Blank(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__()
            self.nlp = {"en": spacy.blank("en")}

        def load(self) -> None:
            """Nothing to load."""

    offline = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    email_recognizer.tldextract = type("Offline", (), {"extract": staticmethod(offline)})
    engine = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"], default_score_threshold=MIN_SCORE)
    types = frozenset(engine.get_supported_entities("en"))

    def run(text: str) -> list[Span]:
        return [Span(f.start, f.end, f.entity_type) for f in engine.analyze(text, "en")]

    return run, types


def differences(
    detector: Detector, theirs: Stock, types: frozenset[str], texts: Iterable[Text]
) -> Counter[tuple[Difference, str]]:
    """Count differences by class and type, of the types that stock Presidio knows."""
    counted: Counter[tuple[Difference, str]] = Counter()
    for text in texts:
        ours = [f for f in findings(detector, text.text) if f.entity in types]
        stock_found = [f for f in theirs(text.text) if f.entity in types]
        for found in stock_found:
            if not _among(found, ours):
                counted[_alone(found, text.spans), found.entity] += 1
        for found in ours:
            if not _among(found, stock_found):
                true = _among(found, text.spans)
                counted[Difference.MORE if true else Difference.FALSE, found.entity] += 1
    return counted


def _alone(found: Span, truth: Iterable[Span]) -> Difference:
    if _among(found, truth):
        return Difference.MISSED
    inside = any(_overlap(found, span) for span in truth)
    return Difference.RENAMED if inside else Difference.STRICTER


def _among(found: Span, spans: Iterable[Span]) -> bool:
    return any(span.entity == found.entity and _overlap(span, found) for span in spans)


def _overlap(a: Span, b: Span) -> bool:
    return a.start < b.end and b.start < a.end
