"""What a policy says about names: which engine, where it lies, and whether anybody would use what it finds."""

from pathlib import Path

import pytest

from sallyport.cli.detection import ner_settings
from sallyport.policy.load import load_policy, parse_policy
from sallyport.policy.problems import PolicyError


def ner(words: str, rest: str = "") -> str:
    return f"version: 1\n{rest}detection: {{ner: {{{words}}}}}\n"


def test_names_are_not_looked_for_unless_asked() -> None:
    policy = parse_policy("version: 1\n")
    assert not policy.uses_names
    assert ner_settings(policy) is None


@pytest.mark.parametrize(
    "engine", ["on", "builtin:x", "spacy", "spacy:", "magic:folder", "https://models.example"]
)
def test_what_is_no_engine_is_refused_with_those_that_are(engine: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(ner(f"engine: '{engine}'"))
    (problem,) = error.value.problems
    assert problem.key == "detection.ner.engine"
    assert "builtin" in problem.todo


def test_a_folder_is_looked_for_beside_the_policy(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(ner("engine: 'onnx:models/people'"))
    with pytest.raises(PolicyError) as error:
        load_policy(file)
    (problem,) = error.value.problems
    assert (problem.key, problem.what) == ("detection.ner.engine", "there is no such folder")
    (tmp_path / "models" / "people").mkdir(parents=True)
    settings = ner_settings(load_policy(file))
    assert settings is not None
    assert settings.engine == f"onnx:{(tmp_path / 'models' / 'people').resolve()}"


def test_a_spacy_package_is_a_name_and_a_spacy_path_has_a_slash(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(ner("engine: 'spacy:en_core_web_sm'"))
    settings = ner_settings(load_policy(file))
    assert settings is not None
    assert settings.engine == "spacy:en_core_web_sm"
    file.write_text(ner("engine: 'spacy:./en_core_web_sm'"))
    with pytest.raises(PolicyError, match="no such folder"):
        load_policy(file)


def test_an_engine_has_no_more_time_than_all_detection() -> None:
    text = "version: 1\ndetection: {deadline_s: 0.5, ner: {engine: builtin, deadline_s: 3.0}}\n"
    settings = ner_settings(parse_policy(text))
    assert settings is not None
    assert settings.deadline_s == 0.5


BOTH_ALLOWED = "masking: {entities: {PERSON: allow, LOCATION: allow}}\n"
READS = "access: {rules: [{id: r, effect: forbid, when: 'size(findings) > 3', message: no}]}\n"


@pytest.mark.parametrize(
    ("rest", "used"),
    [
        ("", True),
        ("masking: {entities: {LOCATION: allow}}\n", True),
        (BOTH_ALLOWED, False),
        ("masking: {unlisted: allow}\n", False),
        (BOTH_ALLOWED + READS, True),
        ("masking: {mode: observe}\n", True),
        ("mode: observe\n", True),
    ],
)
def test_an_engine_runs_only_where_something_is_done_with_names(rest: str, used: bool) -> None:
    assert parse_policy(ner("engine: builtin", rest)).uses_names is used
