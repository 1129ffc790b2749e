"""Scanning one text, the way most tests want it."""

from collections.abc import Callable

from sallyport.decision import Finding
from sallyport.detect.engine import Detector
from sallyport.exchange import Segment, Surface

type Scan = Callable[..., list[tuple[str, str]]]


def findings(detector: Detector, text: str, surface: Surface = Surface.USER) -> tuple[Finding, ...]:
    return detector.scan([Segment("/text", surface, text)])
