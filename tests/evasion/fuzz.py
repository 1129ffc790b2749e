"""Laws of detection and masking over generated texts: values, tricks and noise in any mixture.

Scanning raises nothing but ScanIncomplete. A finding's place is real, tight and of its kind. What is masked comes
back exactly, also when it is streamed in any cutting.
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass

from evasion.payloads import payloads
from evasion.tricks import apart, characters, encodings, layered
from sallyport.decision import Finding, Kind
from sallyport.detect.engine import DetectionSettings, Detector, ScanIncomplete
from sallyport.detect.normalise import normalise
from sallyport.exchange import Segment, Surface
from sallyport.stages.restoring import Restorer
from sallyport.state.vault import MemoryVault

_NOISE = (
    " ", "\n", ". ", ", ", "x", "\u200b", "é", "ﬁ", "\U0001f600", "&amp;", "\\n", "\\u0041", "%41", "=\n", "=41", "<", ">",
    "<b>", "\ud800", "\x00", "汉字", "שלום", "\u202e", "(", ")", '"', "'", "\t", "0", "12", "word ", "The ", "e\u0301", "\\",
    "&#", "`", "{", "}", "+", "-", "_", "/", "@", ":", "http://a.b/?c=", "<EMAIL_ADDRESS_abcdefghij>",
)  # fmt: skip


@dataclass
class Fuzz:
    """One detector and one conversation. counts: texts, findings, texts not scanned whole."""

    detector: Detector
    texts: int = 0
    findings: int = 0
    incomplete: int = 0

    def check(self, text: str, rng: random.Random) -> None:
        """Raise AssertionError if a law does not hold for this text."""
        self.texts += 1
        try:
            found = self.detector.scan([Segment("/t", Surface.USER, text)])
        except ScanIncomplete:
            self.incomplete += 1
            return
        self.findings += len(found)
        for finding in found:
            _is_tight(finding, text)
        _comes_back([f for f in found if f.kind is not Kind.INJECTION], text, rng)


def drawn(rng: random.Random, disguises: Sequence[object]) -> str:
    """Return a text: noise, values as they are, values in disguise."""
    parts: list[str] = []
    for _ in range(rng.randrange(1, 9)):
        dice = rng.random()
        if dice < 0.5:
            parts += rng.choices(_NOISE, k=rng.randrange(1, 6))
        else:
            payload = rng.choice(_PAYLOADS)
            value = payload.frame.format(payload.value) if dice < 0.7 else payload.value
            if dice > 0.8:
                value = rng.choice(disguises).disguise(value)  # type: ignore[attr-defined]
            parts.append(value)
    return "".join(parts)


_PAYLOADS = payloads()


def _is_tight(finding: Finding, text: str) -> None:
    assert 0 <= finding.start < finding.end <= len(text), "a place that is not in the text"
    if finding.kind is Kind.INJECTION:
        return
    piece = text[finding.start : finding.end]
    view = normalise(piece)
    if not view.text:
        return  # written in invisible characters
    assert view.text.strip(), "a finding that covers nothing"
    first, last = view.span(0, 1), view.span(len(view.text) - 1, len(view.text))
    assert first[0] == 0 or "\\" in text or "&" in text, "what a reader does not see stands at the left edge"
    assert last[1] == len(piece) or "\\" in text or "&" in text, (
        "what a reader does not see stands at the right edge"
    )


def _comes_back(found: Sequence[Finding], text: str, rng: random.Random) -> None:
    scope = MemoryVault(b"f" * 32).scope("t", "p", "c")
    masked, at = "", 0
    for finding in sorted(found, key=lambda f: (f.start, -f.end)):
        if finding.start < at:
            continue
        masked += text[at : finding.start] + scope.placeholder(
            finding.entity, text[finding.start : finding.end]
        )
        at = finding.end
    masked += text[at:]
    plain = masked
    for finding in found:
        holder = scope.placeholder(finding.entity, text[finding.start : finding.end])
        plain = plain.replace(holder, text[finding.start : finding.end])
    assert plain == text or any("<" in text[f.start : f.end] for f in found), "a mask that does not come back"
    whole = _restored(scope, [masked])
    cuts = sorted(rng.choices(range(len(masked) + 1), k=4))
    pieces = [masked[a:b] for a, b in zip([0, *cuts], [*cuts, len(masked)], strict=True)]
    assert _restored(scope, pieces) == whole, "a cutting that gives another text"


def _restored(scope: object, pieces: Sequence[str]) -> str:
    restorer = Restorer(scope.original)  # type: ignore[attr-defined]
    return "".join(restorer.feed(piece) for piece in pieces) + restorer.end()


def run(texts: int, seed: int) -> Fuzz:
    """Check this many texts. Raises AssertionError with the seed of the text that breaks a law."""
    detector = Detector(DetectionSettings(cache_entries=0, deadline_s=60.0, cpu_s=60.0))
    detector.warm()
    fuzz = Fuzz(detector)
    disguises = [*characters(), *encodings(), *layered(), *apart()]
    for number in range(texts):
        rng = random.Random(f"{seed}/{number}")
        text = drawn(rng, disguises)
        try:
            fuzz.check(text, rng)
        except Exception as broken:
            raise AssertionError(f"text {number} of seed {seed}: {broken}") from broken
    return fuzz


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100_000, help="how many texts")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    fuzz = run(options.n, options.seed)
    print(
        f"{fuzz.texts:,} texts, {fuzz.findings:,} findings, {fuzz.incomplete} not scanned whole; every law held"
    )
    return 0
