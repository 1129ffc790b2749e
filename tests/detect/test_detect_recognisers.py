"""Operators' own recognisers in Presidio's YAML format, and what a slow pattern means."""

from pathlib import Path

import pytest

from detect.scanning import findings
from sallyport.detect.engine import DetectionSettings, Detector, ScanIncomplete
from sallyport.detect.packs import Packs
from sallyport.errors import OperatorError

YAML = """
recognizers:
  - name: staff
    supported_entity: STAFF_ID
    supported_language: en
    patterns:
      - {name: staff, regex: '\\bST-\\d{5}\\b', score: 0.3}
    context: [staff, badge]
  - name: projects
    supported_entity: PROJECT
    deny_list: [Bluebird]
"""


def make(tmp_path: Path, text: str, packs: Packs, deadline_s: float = 5.0) -> Detector:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return Detector(DetectionSettings(recognisers=(path,), deadline_s=deadline_s), packs)


def test_own_recognisers_run_with_their_context(tmp_path: Path, packs: Packs) -> None:
    detector = make(tmp_path, YAML, packs)
    found = findings(detector, "The badge ST-12345 belongs to Bluebird.")
    assert [(f.entity, f.start, f.end) for f in found] == [("STAFF_ID", 10, 18), ("PROJECT", 30, 38)]
    assert findings(detector, "Part ST-12345.") == ()


def test_a_broken_file_says_so(tmp_path: Path, packs: Packs) -> None:
    with pytest.raises(OperatorError, match=r"own\.yaml"):
        make(tmp_path, "recognizers: 3", packs).warm()


def test_a_pattern_that_exceeds_its_time_is_not_scanned(tmp_path: Path, packs: Packs) -> None:
    slow = YAML.replace(r"\bST-\d{5}\b", "(?:a+)+(?:a+)+$")
    detector = make(tmp_path, slow, packs, deadline_s=0.5)
    with pytest.raises(ScanIncomplete):
        findings(detector, "a" * 5000 + "!")
