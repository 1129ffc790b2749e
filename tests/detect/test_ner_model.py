"""The built-in recogniser of names: parity of its answers, a floor under its quality, offsets, bounded cost."""

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sallyport.cli.scanning.scanner import Choice, Scanner
from sallyport.decision import Kind
from sallyport.detect.ner import builtin, decode, words
from sallyport.detect.ner.engine import Engine, Span
from sallyport.exchange import Surface

HERE = Path(__file__).parent
PROMPTS = [json.loads(line) for line in (HERE / "ner_prompts.jsonl").read_text("utf-8").splitlines()]
BUSINESS = [json.loads(line) for line in (HERE / "ner_business.jsonl").read_text("utf-8").splitlines()]
EVERYDAY = [json.loads(line) for line in (HERE / "ner_everyday.jsonl").read_text("utf-8").splitlines()]
TYPED = [json.loads(line) for line in (HERE / "ner_typed.jsonl").read_text("utf-8").splitlines()]
RECORDED = json.loads((HERE / "ner_recorded.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return builtin.load()


def names(engine: Engine, text: str) -> list[tuple[str, str]]:
    (spans,) = engine.spans([text])
    return [(text[s.start : s.end], s.entity) for s in spans]


def figures(engine: Engine, rows: list[dict], threshold: float) -> tuple[float, float, float]:
    """Span-exact precision, recall, F1 of PERSON and LOCATION together."""
    count: Counter[str] = Counter()
    for row, spans in zip(rows, engine.spans([r["text"] for r in rows]), strict=True):
        given = {
            (s.start, s.end, s.entity) for s in spans if s.score >= threshold and s.entity != "ORGANIZATION"
        }
        gold = {(s["start"], s["end"], s["type"]) for s in row["spans"] if s["type"] != "ORGANIZATION"}
        count += Counter(hit=len(given & gold), given=len(given), gold=len(gold))
    precision, recall = count["hit"] / count["given"], count["hit"] / count["gold"]
    return precision, recall, 2 * precision * recall / (precision + recall)


def test_answers_are_those_recorded_when_the_weights_were_made(engine):
    assert engine.revision == RECORDED["revision"], (
        "weights changed: record the answers again, see docs/models/ner.md"
    )
    for row in RECORDED["texts"]:
        (spans,) = engine.spans([row["text"]])
        assert [(s.start, s.end, s.entity) for s in spans] == [tuple(s[:3]) for s in row["spans"]]
        assert [s.score for s in spans] == pytest.approx([s[3] for s in row["spans"]], abs=0.01)


def test_prompts_are_recognised_above_the_floor(engine):
    precision, recall, f1 = figures(engine, PROMPTS, 0.3)
    assert f1 >= 0.85, (precision, recall, f1)


def test_tables_logs_and_code_without_names_are_mostly_left_alone(engine):
    bare = [row["text"] for row in BUSINESS if not row["spans"]]
    flagged = [
        text
        for text, spans in zip(bare, engine.spans(bare), strict=True)
        if any(s.score >= 0.3 for s in spans)
    ]
    assert len(bare) > 80
    assert len(flagged) <= len(bare) / 4
    _, recall, _ = figures(engine, BUSINESS, 0.3)
    assert recall >= 0.7


@pytest.mark.parametrize(("part", "most"), [("clean", 0.1), ("clean_long", 0.25)])
def test_recipes_notices_and_forms_without_names_are_mostly_left_alone(engine, part, most):
    texts = [row["text"] for row in EVERYDAY if row["part"] == part]
    flagged = [
        text
        for text, spans in zip(texts, engine.spans(texts), strict=True)
        if any(s.score >= 0.3 and s.entity != "ORGANIZATION" for s in spans)
    ]
    assert len(texts) >= 60
    assert len(flagged) <= most * len(texts)


def test_names_in_everyday_texts_of_nine_languages_are_recognised_above_the_floor(engine):
    precision, recall, f1 = figures(engine, [row for row in EVERYDAY if row["part"] == "named"], 0.3)
    assert f1 >= 0.88, (precision, recall, f1)


def test_prompts_full_of_brands_terms_and_identifiers_called_as_people_are(engine):
    precision, recall, f1 = figures(engine, TYPED, 0.3)
    assert f1 >= 0.87, (precision, recall, f1)
    bare = [row["text"] for row in TYPED if not row["spans"]]
    flagged = [
        text
        for text, spans in zip(bare, engine.spans(bare), strict=True)
        if any(s.score >= 0.3 and s.entity != "ORGANIZATION" for s in spans)
    ]
    assert len(bare) > 300
    assert len(flagged) <= len(bare) / 6


@pytest.mark.parametrize("gap", ["  ", "     ", "\t", " \t "], ids=["two blanks", "blanks", "tab", "mixed"])
def test_names_in_columns_are_names_each(engine, gap):
    text = f"Mon{gap}Carla{gap}Bogdan\nTue{gap}Elsie{gap}Carla"
    assert names(engine, text) == [(name, "PERSON") for name in ("Carla", "Bogdan", "Elsie", "Carla")]


def test_two_blanks_after_a_sentence_are_no_gap():
    assert words.TAB not in words.words_of("It rained.  We left!   Then?  Home.")[0]


def test_the_careful_threshold_is_precise_on_prompts(engine):
    precision, recall, _ = figures(engine, PROMPTS, 0.5)
    assert precision >= 0.93, (precision, recall)
    assert recall >= 0.70, (precision, recall)


def test_a_scan_without_a_policy_counts_names_from_the_score_that_policies_use(engine):
    text, span = next(
        (row["text"], span)
        for row in PROMPTS
        for span in engine.spans([row["text"]])[0]
        if 0.31 < span.score < 0.49 and "@" not in row["text"]
    )
    wanted = {"start": span.start, "end": span.end, "type": span.entity, "rule": f"pii.ner.{span.entity}"}
    pii = frozenset({Kind.PII})
    assert wanted in Scanner(Choice(kinds=pii)).answer(text, Surface.USER).spans()
    assert wanted not in Scanner(Choice(kinds=pii, min_score=0.5)).answer(text, Surface.USER).spans()


@pytest.mark.parametrize(
    "text",
    [
        "Please ask the system administrator to restart the server.",
        "class UserController(BaseController):\n    pass",
        "In May and August the office is closed on Fridays.",
        "Install Docker, then open Visual Studio Code.",
        "Write a function that reverses a linked list in Rust.",
        "SELECT id, name, city FROM users WHERE id = 7;",
        "2024-05-01 10:00:00 ERROR PaymentService Connection refused",
    ],
)
def test_roles_identifiers_months_and_products_are_no_persons(engine, text):
    (spans,) = engine.spans([text])
    assert [s for s in spans if s.entity == "PERSON" and s.score >= 0.3] == []


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        ("\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 Hi ", "Anna Schmidt", ", how are you?"),
        ("Ze\u0301ro de\u0301ja\u0300, monsieur ", "Rene\u0301 Dupont", " est absent."),
        ("Dear team,\r\n\r\nplease call ", "Peter Jones", " today.\r\nThanks\r\n"),
        ("word " * 3000 + "my name is ", "Maria Lopez", " and I live here. " + "word " * 3000),
        ("\ufeff\u200bHello, I am ", "John Smith", ".\x00\x0b"),
    ],
    ids=["emoji", "combining", "crlf", "long line", "invisible"],
)
def test_offsets_are_code_points_of_the_text_as_given(engine, before, name, after):
    text = before + name + after
    (spans,) = engine.spans([text])
    assert (len(before), len(before) + len(name), "PERSON") in [(s.start, s.end, s.entity) for s in spans]
    assert all(
        0 <= s.start < s.end <= len(text) and text[s.start : s.end].strip() == text[s.start : s.end]
        for s in spans
    )
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))


def test_texts_are_answered_one_by_one_and_in_order(engine):
    texts = ["", " \n\t ", "My name is Peter Jones.", "nothing here", "My name is Peter Jones."]
    answers = engine.spans(texts)
    assert [len(a) for a in answers[:2]] == [0, 0]
    assert answers[2] == answers[4] == engine.spans([texts[2]])[0]
    assert answers[2] != ()


def test_a_long_text_answers_as_its_words_do_in_one_piece(engine):
    recogniser = builtin.load()
    assert isinstance(recogniser, builtin.Recogniser)
    text = " ".join(row["text"] for row in PROMPTS)
    found, starts, ends = words.words_of(text)
    assert len(found) > 2 * builtin.WINDOW
    whole = recogniser.logits(found, starts, ends)
    spans = decode.decode(whole, np.array([w[0] in "\n\t" for w in found]))
    assert [(starts[t.first], ends[t.last]) for t in spans] == [
        (s.start, s.end) for s in engine.spans([text])[0]
    ]


@pytest.mark.parametrize("unit", ["a", "Anna", "A.", "\u0301", "\U0001f600", "李,"])
def test_two_hundred_kilobytes_without_spaces_are_read_once_in_small_steps(monkeypatch, unit):
    steps: list[int] = []
    stretches: list[int] = []
    logits, stretch = builtin.Recogniser.logits, decode._stretch
    monkeypatch.setattr(
        builtin.Recogniser, "logits", lambda self, w, s, e: steps.append(len(w)) or logits(self, w, s, e)
    )
    monkeypatch.setattr(decode, "_stretch", lambda p, at: stretches.append(len(p)) or stretch(p, at))
    text = unit * (200_000 // len(unit))
    (spans,) = builtin.load().spans([text])
    count = len(words.words_of(text)[0])
    assert len(steps) == -(-count // builtin.WINDOW)
    assert max(steps) <= builtin.WINDOW + 100
    assert sum(stretches) <= count
    assert max(stretches, default=0) <= decode.LONGEST
    assert all(0 <= s.start < s.end <= len(text) for s in spans)


def test_spellings_kept_are_bounded_and_forgetting_changes_nothing(monkeypatch):
    text = "Peter Jones flew from Berlin to Madrid with Anna Schmidt."
    recogniser = builtin.load()
    assert isinstance(recogniser, builtin.Recogniser)
    before = recogniser.spans([text])
    monkeypatch.setattr(builtin, "KEPT_SPELLINGS", 2000)
    for start in range(0, 6000, 500):
        recogniser.spans([" ".join(f"word{n}x" for n in range(start, start + 500))])
        assert len(recogniser._rows) <= 2000
    assert recogniser.spans([text]) == before


def test_decoding_gives_the_best_way_and_its_share_of_all_ways():
    probability = np.full((3, decode.TAGS), 0.001)
    probability[0, 1], probability[0, 0] = 0.7, 0.2  # begin person
    probability[1, 3], probability[1, 0] = 0.8, 0.1  # end person
    probability[2, 0] = 0.99
    logits = np.log(probability / probability.sum(axis=1, keepdims=True)).astype(np.float32)
    (tagged,) = decode.decode(logits, np.zeros(3, bool))
    assert (tagged.first, tagged.last, tagged.entity) == (0, 1, 0)
    share = 1 / (1 + np.exp(-tagged.log_odds))
    assert share == pytest.approx(brute_force_share(np.exp(logits[:2].astype(float))), abs=1e-6)


def brute_force_share(probability: np.ndarray) -> float:
    """Probability of begin-end of entity 0 among all allowed pairs of tags with outside on both sides."""

    def follows(a: int, b: int) -> bool:
        if a == 0 or (a - 1) % 4 in (2, 3):
            return b == 0 or (b - 1) % 4 in (0, 3)
        return b != 0 and (b - 1) // 4 == (a - 1) // 4 and (b - 1) % 4 in (1, 2)

    ways = {
        (a, b): probability[0, a] * probability[1, b]
        for a in range(13)
        for b in range(13)
        if follows(0, a) and follows(a, b) and follows(b, 0)
    }
    return ways[1, 3] / sum(ways.values())


def test_no_name_goes_across_a_line_break(engine):
    text = "\n".join(["Anna", "Schmidt", "Peter", "Jones", "Berlin", "Madrid"] * 5)
    assert all("\n" not in name for name, _ in names(engine, text))


def test_scores_are_probabilities(engine):
    spans = [s for answer in engine.spans([row["text"] for row in PROMPTS]) for s in answer]
    assert spans
    assert all(isinstance(s, Span) and 0.0 <= s.score <= 1.0 and s.entity in builtin.ENTITIES for s in spans)
    assert any(s.score < 0.6 for s in spans)
    assert any(s.score > 0.95 for s in spans)
