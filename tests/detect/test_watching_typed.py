"""Values in an answer: the same in every cutting, and the same as the engine finds in the whole text."""

import random
from collections import Counter

import pytest

from sallyport.data import rules_dir
from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.packs import load
from sallyport.detect.watching.regions import Regions
from sallyport.detect.watching.typed import UNSCANNED, TypedWatcher
from sallyport.detect.watching.watcher import Match
from sallyport.exchange import Segment, Surface

SETTINGS = DetectionSettings(
    kinds=frozenset({Kind.PII, Kind.SECRET}), cache_entries=0, deadline_s=60.0, cpu_s=60.0
)

DIFFERENT = frozenset(
    {
        "pii.places.street_br",
        "pii.places.street_commonwealth",
        "pii.places.street_de",
        "pii.places.street_en",
        "pii.places.street_en_full",
        "pii.places.street_es",
        "pii.places.street_fr",
        "pii.places.street_it",
        "pii.places.street_nl",
        "pii.identity.birth_date_named",
        "pii.identity.uk_driving_licence",
        "secrets.services.facebook_app",
    }
)
"""Rules with an example that is found otherwise in an answer; docs/output.md says why of each."""

PROSE = (
    "The parcel of 2024 goes to Anna Berg, 12 Baker Street, on 3 March 2025.\nI said 5 Python 3 scripts: ok? x = y\n"
    "| a | 1 | 22 |\n* 1. `foo(bar)` [link](https://x.example/a?b=c) “quoted” — 你好 12 世界 é ñ ½ ①② -----BEGIN X-----\n"
)
WORDS = PROSE.split(" ")


@pytest.fixture(scope="module")
def detector() -> Detector:
    detector = Detector(SETTINGS)
    detector.warm()
    return detector


def watched(detector: Detector, text: str, sizes: list[int], max_held: int = 4096) -> list[Match]:
    """Matches of a text fed in pieces of these sizes, the rest at once; checks the law of held_from."""
    watcher = TypedWatcher(detector, max_held)
    found: list[Match] = []
    position = shown = 0
    for size in [*sizes, len(text)]:
        matches = watcher.feed(text[position : position + size])
        position += size
        assert all(match.start >= shown for match in matches)
        shown = watcher.held_from
        found += matches
    found += watcher.end()
    assert watcher.held_from == len(text)
    return found


def facts(found: list[Match]) -> list[tuple[str, int, int]]:
    return [(match.rule, match.start, match.end) for match in found]


def texts(rng: random.Random, examples: list[str], count: int) -> list[str]:
    """Prose, code and tables with values in them, some touching."""
    made = []
    for _ in range(count):
        parts = [rng.choice(examples) if rng.random() < 0.3 else rng.choice(WORDS) for _ in range(30)]
        made.append(rng.choice([" ", " ", "\n", ""]).join(parts))
    return made


def examples_of(detector: Detector) -> list[str]:
    return [example.text for rule in detector.rules for example in rule.match]


def test_every_example_is_found_as_in_the_whole_text_but_for_what_the_page_lists(detector: Detector) -> None:
    different: Counter[str] = Counter()
    for rule in detector.rules:
        for example in rule.match:
            whole = detector.scan([Segment("", Surface.ASSISTANT, example.text)])
            if facts(watched(detector, example.text, [])) != [(f.rule, f.start, f.end) for f in whole]:
                different[rule.id] += 1
    assert set(different) <= DIFFERENT
    assert different.total() <= 25


def test_every_cutting_finds_the_same(detector: Detector) -> None:
    rng = random.Random(5)
    for text in texts(rng, examples_of(detector), 24):
        whole = facts(watched(detector, text, []))
        for _ in range(4):
            sizes = rng.choices([1, 2, 3, 5, 9, 30], k=len(text))
            assert facts(watched(detector, text, sizes)) == whole


@pytest.mark.parametrize("max_held", [8, 64, 300])
def test_a_bound_on_what_is_held_holds_in_every_cutting(detector: Detector, max_held: int) -> None:
    rng = random.Random(max_held)
    for text in texts(rng, examples_of(detector), 6):
        whole = facts(watched(detector, text, [], max_held))
        sizes = rng.choices([1, 2, 7, 40], k=len(text))
        assert facts(watched(detector, text, sizes, max_held)) == whole
        watcher = TypedWatcher(detector, max_held)
        for number, char in enumerate(text, 1):
            watcher.feed(char)
            assert number - watcher.held_from <= max_held + 1


def test_generated_texts_are_found_as_in_the_whole_text(detector: Detector) -> None:
    """Values whose rules are alike in both, each between two sentences."""
    rng = random.Random(9)
    alike = [
        e.text
        for rule in detector.rules
        if rule.id not in DIFFERENT and (not rule.surfaces or Surface.ASSISTANT in rule.surfaces)
        for e in rule.match
        if len(e.text) < 300
    ]
    missed = total = 0
    for example in rng.sample(alike, 150):
        text = f"Here is what you asked for.\n\n{example}\n\nThat is all I have."
        whole = {(f.rule, f.start, f.end) for f in detector.scan([Segment("", Surface.ASSISTANT, text)])}
        total += len(whole)
        missed += len(whole - set(facts(watched(detector, text, rng.choices([2, 5], k=len(text))))))
    assert total > 100
    assert missed <= total * 0.02


def test_regions_cover_all_that_is_no_gap() -> None:
    rng = random.Random(2)
    words = [word for word in WORDS if "BEGIN" not in word]
    for _ in range(50):
        text = " ".join(rng.choice(words) for _ in range(40))
        cutter = Regions(4096)
        regions = [*cutter.feed(text), *cutter.end()]
        covered = "".join(text[region.start : region.end] for region in regions)
        letters = [char for char in covered if not char.isspace()]
        assert letters == [c for c in text if not c.isspace() and c not in "你好世界"]


@pytest.mark.parametrize(
    "prose",
    [
        "The quick brown fox jumps over the lazy dog, and nobody minds at all.",
        "Ein Satz mit Umlauten wie größer und schöner, der niemanden aufhält.",
        "def main(argv):\n    return run(argv, check=True)\n",
        "你好，世界。今天天气很好，我们去公园吧。",
        "Of 403 answers (the others were 12 events late) level 2, on 5 texts [how it goes], took **38** more.",
    ],
)
def test_prose_waits_for_one_more_piece_at_most(prose: str) -> None:
    """Pieces as models write them, words with the space in front; code in its own."""
    regions = Regions(4096)
    pieces = [w if n == 0 else " " + w for n, w in enumerate(prose.split(" "))]
    fed = 0
    for piece in pieces:
        regions.feed(piece)
        assert regions.open_from >= fed, (piece, regions.open_from)
        fed += len(piece)


def test_chinese_passes_at_once() -> None:
    regions = Regions(4096)
    text = "你好世界今天天气很好"
    regions.feed(text)
    assert regions.open_from == len(text)


def test_a_region_that_could_not_be_searched_is_a_match_of_its_own() -> None:
    class Late:
        def suspects(self, text: str, surface: object) -> None:
            return None

        def scan(self, segments: object) -> tuple[()]:
            raise ScanIncomplete("late")

    watcher = TypedWatcher(Late())
    (match, *_) = [*watcher.feed("call 030 901820 now"), *watcher.end()]
    assert match.rule == UNSCANNED
    assert (match.start, match.end) == (5, 15)


def test_the_packs_that_are_shipped_are_the_packs_of_the_examples(detector: Detector) -> None:
    rules = load(rules_dir(), {Kind.PII, Kind.SECRET}).rules
    assert {rule.id for rule in detector.rules} <= {rule.id for rule in rules}


VALUES = (
    "ann@example.com",
    "+49 170 1234567",
    "4111 1111 1111 1111",
    "DE89 3704 0044 0532 0130 00",
    "12 Main Street",
    "10 12 13 14 15 16 17 18 19 20",
    "192.168.1.77",
    "-----BEGIN x",
    "-----BEGIN PRIVATE KEY-----\nMIIB\nabc\n-----END PRIVATE KEY-----",
)


@pytest.mark.parametrize("max_held", [40, 4096])
def test_much_text_at_once_gives_what_small_pieces_give(detector: Detector, max_held: int) -> None:
    """Where much comes at once, most of it is passed over after one look."""
    chosen = random.Random(max_held)
    found = 0
    for _ in range(30):
        parts = [
            chosen.choice((*WORDS, *VALUES, "plain words of a line that holds nothing.\n"))
            for _ in range(150)
        ]
        text = " ".join(parts)
        small = watched(detector, text, [7] * (len(text) // 7), max_held)
        large = watched(detector, text, [chosen.choice((3, 200, 900)) for _ in range(8)], max_held)
        assert TypedWatcher(detector, max_held).end(text) == small
        assert large == small
        found += len(small)
    assert found > 300


def test_a_scan_finds_nothing_where_nothing_is_suspect(detector: Detector) -> None:
    chosen = random.Random(5)
    for _ in range(200):
        text = " ".join(chosen.choice((*WORDS, *VALUES)) for _ in range(60))
        suspects = detector.suspects(text, Surface.ASSISTANT)
        if suspects is not None:
            for finding in detector.scan([Segment("", Surface.ASSISTANT, text)]):
                assert any(start < finding.end and finding.start < end for start, end in suspects)


def test_what_is_encoded_makes_all_of_a_text_suspect(detector: Detector) -> None:
    assert detector.suspects("see YW5uQGV4YW1wbGUuY29tIGlzIG15IGFkZHJlc3M= for it", Surface.ASSISTANT) is None
    assert detector.suspects("nothing in here", Surface.ASSISTANT) == []
