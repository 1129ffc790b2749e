"""Operators' own recognisers in Presidio's YAML format: what is taken, what is refused and where."""

from pathlib import Path

import pytest

from detect.scanning import findings
from sallyport.detect.engine import DetectionSettings, Detector, ScanIncomplete
from sallyport.detect.packs import Packs
from sallyport.errors import OperatorError

STAFF = r"""
recognizers:
  - name: staff
    supported_entity: STAFF_ID
    supported_language: en
    patterns:
      - {name: staff, regex: '\bST-\d{5}\b', score: 0.3}
    context: [staff, badge]
  - name: projects
    supported_entity: PROJECT
    deny_list: [Bluebird, Grünspecht]
"""

REGISTRY = r"""
supported_languages: [en, de, es]
global_regex_flags: 26
recognizers:
  - name: CreditCardRecognizer
    supported_languages:
      - {language: en, context: [credit, card]}
      - language: es
    type: predefined
  - name: Zip codes
    type: custom
    supported_entities: [ZIP]
    supported_languages:
      - language: en
        context: [zip, code]
      - language: de
        context: [Postleitzahl, PLZ]
    patterns:
      - name: zip (weak)
        regex: '\b\d{5}(?:-\d{4})?\b'
        score: 0.2
  - name: Titles
    type: custom
    supported_entity: TITLE
    enabled: false
    deny_list: [Dr.]
  - name: InPanRecognizer
    type: predefined
    supported_languages: [en]
  - name: Our NHS numbers
    class_name: NhsRecognizer
    type: predefined
    supported_entity: PATIENT_ID
    context: [patient]
"""

ONE_FILE = r"""
nlp_configuration: {nlp_engine_name: spacy}
recognizer_registry:
  global_regex_flags: 24
  recognizers:
    - UsItinRecognizer
    - name: codenames
      supported_entity: CODENAME
      deny_list: [Falcon]
      deny_list_score: 0.4
      context: [project]
    - name: tickets
      supported_entity: TICKET
      global_regex_flags: 2
      patterns: [{name: ticket, regex: 'acme-\d{4}', score: 0.9}]
"""


def make(tmp_path: Path, text: str, packs: Packs, deadline_s: float = 5.0) -> Detector:
    path = tmp_path / "own.yaml"
    path.write_text(text, "utf-8")
    return Detector(DetectionSettings(recognisers=(path,), deadline_s=deadline_s), packs)


def own(detector: Detector, text: str) -> list[tuple[str, str]]:
    return [
        (f.entity, text[f.start : f.end])
        for f in findings(detector, text)
        if f.rule.startswith("pii.custom.")
    ]


def test_own_recognisers_run_with_their_context(tmp_path: Path, packs: Packs) -> None:
    detector = make(tmp_path, STAFF, packs)
    found = findings(detector, "The badge ST-12345 belongs to Bluebird.")
    assert [(f.entity, f.start, f.end) for f in found] == [("STAFF_ID", 10, 18), ("PROJECT", 30, 38)]
    assert findings(detector, "Part ST-12345.") == ()


def test_words_with_accents_are_found_however_they_are_written(tmp_path: Path, packs: Packs) -> None:
    detector = make(tmp_path, STAFF, packs)
    assert own(detector, "Grünspecht and Gru\u0308nspecht") == [
        ("PROJECT", "Grünspecht"),
        ("PROJECT", "Gru\u0308nspecht"),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("my zip is 90210", [("ZIP", "90210")]),
        ("Postleitzahl 10115", [("ZIP", "10115")]),
        ("10115 apples", []),
        ("zip above; order number: 90210", []),
        ('{"zip": "1", "plz": "10115"}', [("ZIP", "10115")]),
        ("Dr. No", []),
        ("the patient has 401 023 2137", [("PATIENT_ID", "401 023 2137")]),
        ("401 023 2138", []),
    ],
    ids=["english", "german", "without", "named-otherwise", "key", "disabled", "renamed", "checksum"],
)
def test_a_registry_file_is_read_as_presidio_writes_it(
    tmp_path: Path, packs: Packs, text: str, found: list[tuple[str, str]]
) -> None:
    packs = Packs((), "none")
    assert own(make(tmp_path, REGISTRY, packs), text) == found


def test_settings_of_a_recogniser_go_before_those_of_the_file(tmp_path: Path, packs: Packs) -> None:
    registry = ONE_FILE.partition("recognizer_registry:\n")[2].replace("\n  ", "\n").removeprefix("  ")
    for text in (ONE_FILE, registry):
        detector = make(tmp_path, text, Packs((), "none"))
        assert own(detector, "see ACME-1234") == [("TICKET", "ACME-1234")]
        assert own(detector, "project Falcon, project falcon") == [("CODENAME", "Falcon")]
        assert own(detector, "a falcon, a Falcon") == []


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("recognizers: 3", 1, "no list"),
        ("recognizers: [", 1, "not YAML"),
        ("recognisers: []\nrecognizers: []", 1, "recognisers is unknown"),
        ("recognizers:\n  - name: a\n    deny_list: [x]", 2, "no supported_entity"),
        ("recognizers:\n  - name: a\n    supported_entity: A\n    type: custom", 2, "neither patterns nor"),
        ("recognizers:\n  - name: a\n    supported_entity: A\n    denylist: [x]", 4, "denylist is not supp"),
        (
            "recognizers:\n  - name: a\n    supported_entity: A\n    deny_list: [x]\n    supported_entities: [B]",
            5,
            "twice",
        ),
        ("recognizers:\n  - name: a\n    supported_entities: [A, B]\n    deny_list: [x]", 3, "2 types"),
        (
            "recognizers:\n  - name: a\n    supported_entity: A\n    deny_list: [no]\n    context: [1]",
            5,
            "texts",
        ),
        (
            "recognizers:\n  - name: a\n    supported_entity: A\n    patterns:\n      - {name: p, regex: '(', score: 1}",
            5,
            "does not compile",
        ),
        (
            "recognizers:\n  - name: a\n    supported_entity: A\n    patterns:\n      - {name: p, regex: x, score: 7}",
            5,
            "score is no number",
        ),
        ("recognizers:\n  - NoSuchRecognizer", 2, "is no recogniser of the installed Presidio"),
        ("recognizers:\n  - name: SpacyRecognizer\n    type: predefined", 2, "does not work by patterns"),
        (
            "recognizers:\n  - name: NhsRecognizer\n    type: predefined\n    deny_list: [x]",
            4,
            "does not fit",
        ),
        ("recognizers:\n  - name: NhsRecognizer\n    score_thresholds: {default: 1}", 3, "score_thresholds"),
        ("global_regex_flags: yes please\nrecognizers: []", 1, "global_regex_flags is no number"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(
    tmp_path: Path, packs: Packs, text: str, line: int, what: str
) -> None:
    with pytest.raises(OperatorError) as refused:
        make(tmp_path, text, packs).warm()
    assert f"own.yaml:{line}" in str(refused.value)
    assert what in str(refused.value)


def test_presidios_own_example_is_read(tmp_path: Path, packs: Packs) -> None:
    import presidio_analyzer

    example = Path(presidio_analyzer.__file__).parent / "conf" / "example_recognizers.yaml"
    detector = Detector(DetectionSettings(recognisers=(example,)), Packs((), "none"))
    assert own(detector, "Dear Mrs. Lovelace") == [("TITLE", "Mrs.")]


def test_a_pattern_that_exceeds_its_time_is_not_scanned(tmp_path: Path, packs: Packs) -> None:
    slow = STAFF.replace(r"\bST-\d{5}\b", "(?:a+)+(?:a+)+$")
    detector = make(tmp_path, slow, packs, deadline_s=0.5)
    with pytest.raises(ScanIncomplete):
        findings(detector, "a" * 5000 + "!")
