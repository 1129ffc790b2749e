"""One warm detector for all tests: building it is the slow part."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from detect.scanning import Scan, findings
from sallyport.data import rules_dir
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.packs import Packs, load
from sallyport.exchange import Surface


@pytest.fixture(scope="session")
def packs() -> Packs:
    return load(rules_dir())


@pytest.fixture(scope="session")
def detector(packs: Packs) -> Detector:
    detector = Detector(DetectionSettings(deadline_s=60.0, cpu_s=60.0), packs)
    detector.warm()
    return detector


@pytest.fixture(scope="session")
def scan(detector: Detector) -> Scan:
    """Scan one text; give (entity, matched text)."""

    def run(text: str, surface: Surface = Surface.USER) -> list[tuple[str, str]]:
        return [(f.entity, text[f.start : f.end]) for f in findings(detector, text, surface)]

    return run


@pytest.fixture(scope="session")
def calibrating() -> ModuleType:
    """What sets the thresholds of the injection classifier, of the scripts that train it."""
    scripts = str(Path(__file__).parents[2] / "scripts")
    sys.path.insert(0, scripts)
    try:
        from training.injection import calibrate
    finally:
        sys.path.remove(scripts)
    return calibrate
