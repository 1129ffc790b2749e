"""Generated texts with known spans: what is found, what is falsely found, and keys of vendors without a rule."""

import random
import sys
from pathlib import Path

import pytest

from detect.scanning import findings
from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.packs import Packs
from sallyport.detect.shapes import fill

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "benchmarks"))

from quality.fresh import FRESH
from quality.measure import Tally, mistakes
from quality.texts import Surroundings, generate
from quality.tuned import TUNED

FORMS = [
    "export FROBNIK_API_KEY={key}", '"frobnikApiKey": "{key}",', "frobnik:\n  secret_key: {key}\n", "const token = '{key}';",
    "frobnik.client-secret={key}", "<apiToken>{key}</apiToken>", 'frobnik_token = "{key}"', "curl -H 'Authorization: Bearer {key}' https://api.test",
    "X-Frobnik-Key: {key}", "Here is my frobnik key, please debug the request: {key}", "Die Zugangsdaten für frobnik: {key} - warum kommt 401?",
    "-e FROBNIK_ACCESS_TOKEN={key}", 'os.environ["FROBNIK_SECRET"] = "{key}"', 'builder.apiKey = "{key}"', "- name: FROBNIK_API_KEY\n  value: {key}\n", "my api key is {key}",
]  # fmt: skip
SHAPES = [
    "{{alnum 32}}",
    "{{hex 40}}",
    "{{loweralnum 40}}",
    "frob_{{alnum 36}}",
    "frb-live-{{loweralnum 32}}",
    "{{urlsafe 43}}",
]


@pytest.mark.parametrize(
    ("surroundings", "floor"), [pytest.param(TUNED, 0.95, id="tuned"), pytest.param(FRESH, 0.94, id="fresh")]
)
def test_generated_persons_are_found_and_look_alikes_left_alone(
    packs: Packs, surroundings: Surroundings, floor: float
) -> None:
    detector = Detector(DetectionSettings(kinds=frozenset({Kind.PII}), deadline_s=60.0), packs)
    tallies: dict[str, Tally] = {}
    for _ in mistakes(detector, generate(surroundings, 7, 2, 10), tallies):
        pass
    scored = [tally.f1 for tally in tallies.values() if tally.found + tally.missed]
    assert sum(scored) / len(scored) >= floor
    clean = [text for text in generate(surroundings, 7, 5, 0) if text.surrounding.startswith("clean")]
    false = sum(len(findings(detector, text.text)) for text in clean)
    assert false / len(clean) <= 0.1


def test_a_key_of_a_vendor_without_a_rule_is_found_by_what_is_written_around_it(packs: Packs) -> None:
    generic = tuple(rule for rule in packs.rules if rule.id.startswith("secrets.generic."))
    detector = Detector(DetectionSettings(deadline_s=60.0), Packs(generic, "generic"))
    cases = [
        form.format(key=fill(shape, f"{form}{n}")) for form in FORMS for shape in SHAPES for n in range(3)
    ]
    found = sum(bool(findings(detector, case)) for case in cases)
    assert found / len(cases) >= 0.95


@pytest.mark.parametrize(
    "text",
    [
        "commit key: {{hex 40}}",
        "sha256:{{hex 64}}",
        "call_{{alnum 24}} chatcmpl-{{alnum 29}} msg_{{alnum 24}}",
        "image: registry/app@sha256:{{hex 64}}",
        "request id {{hex 8}}-{{hex 4}}-4{{hex 3}}-a{{hex 3}}-{{hex 12}}",
        "data:image/png;base64,{{base64 200}}",
        "API_KEY=your-api-key-here TOKEN=<token> PASSWORD=${DB_PASSWORD} SECRET=xxxxxxxxxxxxxxxx",
    ],
)
def test_random_values_that_open_nothing_are_no_secrets(packs: Packs, text: str) -> None:
    detector = Detector(DetectionSettings(kinds=frozenset({Kind.SECRET}), deadline_s=60.0), packs)
    rng = random.Random(text)
    for _ in range(5):
        assert [f.rule for f in findings(detector, fill(text, str(rng.random())))] == []
