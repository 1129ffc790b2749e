"""Time the detector against stock Presidio on the same texts; prints milliseconds and ratios.

Run from a checkout: scripts/bench detect. No assertions: read the table.
"""

import time
from collections.abc import Callable

from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.exchange import Segment, Surface

CLEAN = (
    "The parser reads one line at a time and keeps the position of every token, so that an error can "
    "name the column. When the buffer is empty it asks the reader for more, and the reader returns "
    "what the socket has. Nothing else is copied: slices are views, and the tree holds offsets. "
    "def read(self, size):\n    while len(self.buffer) < size and not self.closed:\n"
    "        self.buffer += self.source.read(4096)\n    return self.buffer[:size]\n\n"
)
PII = (
    "Please call Ada on +44 20 7946 0958 or write to ada.lovelace@example.com. The card on file is "
    "4111 1111 1111 1111, her account DE89 3704 0044 0532 0130 00 and the last login came from "
    "84.17.52.119. "
)


def main() -> None:
    """Print one row per text: ours cold, ours cached, stock Presidio, and how many times faster."""
    detector = Detector(DetectionSettings(cache_entries=0, deadline_s=60.0))
    cached = Detector(DetectionSettings(deadline_s=60.0))
    for engine in (detector, cached):
        engine.warm()
    stock = _stock()
    print(f"{'text':<22}{'cold ms':>10}{'cached ms':>11}{'presidio ms':>13}{'ratio':>8}{'findings':>10}")
    for name, text in _texts():
        segment = [Segment("/text", Surface.USER, text)]
        cold = _best(lambda s=segment: detector.scan(s))
        again = _best(lambda s=segment: cached.scan(s))
        theirs = _best(lambda t=text: stock(t), runs=3)
        found = len(detector.scan(segment))
        print(f"{name:<22}{cold:>10.3f}{again:>11.4f}{theirs:>13.2f}{theirs / cold:>7.0f}x{found:>10}")


def _texts() -> list[tuple[str, str]]:
    rows = []
    for label, size in (("200 B", 200), ("2 KB", 2_000), ("20 KB", 20_000), ("200 KB", 200_000)):
        clean = (CLEAN * (size // len(CLEAN) + 1))[:size]
        rows.append((f"clean {label}", clean))
        rows.append((f"with PII {label}", (PII + clean)[:size]))
    dense = (PII * (20_000 // len(PII) + 1))[:20_000]
    rows += [
        ("dense PII 20 KB", dense),
        ("Chinese 20 KB", "解析器一次读取一行，并保留每个标记的位置。" * 950),
    ]
    return rows


def _stock() -> Callable[[str], object]:
    """Return stock Presidio with a blank spaCy pipeline, kept off the network."""
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
    analyzer = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
    return lambda text: analyzer.analyze(text, language="en")


def _best(call: Callable[[], object], runs: int = 15) -> float:
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best * 1000


if __name__ == "__main__":
    main()
