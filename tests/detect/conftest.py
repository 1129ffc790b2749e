"""One warm detector for all tests: building it is the slow part."""

from collections.abc import Callable

import pytest

from sallyport.data import rules_dir
from sallyport.decision import Finding
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.packs import Packs, load
from sallyport.exchange import Segment, Surface

type Found = list[tuple[str, str]]
type Scan = Callable[..., Found]


@pytest.fixture(scope="session")
def packs() -> Packs:
    return load(rules_dir())


@pytest.fixture(scope="session")
def detector(packs: Packs) -> Detector:
    detector = Detector(DetectionSettings(deadline_s=60.0), packs)
    detector.warm()
    return detector


@pytest.fixture(scope="session")
def scan(detector: Detector) -> Scan:
    """Scan one text; give (entity, matched text)."""

    def run(text: str, surface: Surface = Surface.USER) -> Found:
        return [(f.entity, text[f.start : f.end]) for f in findings(detector, text, surface)]

    return run


def findings(detector: Detector, text: str, surface: Surface = Surface.USER) -> tuple[Finding, ...]:
    return detector.scan([Segment("/text", surface, text)])
