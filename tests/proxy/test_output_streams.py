"""What a streamed answer becomes is what the same text would become in one piece, in every dialect and cutting."""

import json
import random

import pytest

from proxy.outflows import (
    VALUES,
    buffered,
    exchange_of,
    flowing_samples,
    flowing_texts,
    is_json,
    longest,
    output_filter,
    read,
    surface_of,
    tap_of,
    through,
    with_text,
)
from sallyport.exchange import Surface
from sallyport.policy.output import OutputAction
from sallyport.state.vault import MemoryVault
from wire.samples import Sample

SAMPLES = flowing_samples()
SCOPE = MemoryVault(b"k" * 32).scope("t", "p", "c")
ORIGINAL = "joan.arc@example.org"
PLACEHOLDER = SCOPE.placeholder("EMAIL_ADDRESS", ORIGINAL)
MASK = "pii: mask; secrets: mask; rules: {output.commands.*: mask}"
CUT = "pii: observe; rules: {output.commands.*: truncate, output.exfiltration.*: mask}"
REFUSE = "pii: observe; rules: {output.commands.*: refuse}"


def texts(rng: random.Random, count: int, *, as_json: bool) -> str:
    """Some of the values in some order, and a placeholder; as JSON arguments where the channel holds them."""
    parts = rng.sample(VALUES, count)
    parts.insert(rng.randrange(count + 1), f"Dear {PLACEHOLDER}, thank you.")
    if not as_json:
        return rng.choice([" ", "\n", "\n\n"]).join(parts)
    return json.dumps({f"a{n}": part for n, part in enumerate(parts)}, ensure_ascii=rng.random() < 0.5)


def check_cuttings(sample: Sample, policy: str, seed: str, cuttings: int) -> int:
    """Compare cuttings of one stream with its text in one piece; return how many ended early."""
    rng = random.Random(seed)
    as_json, surface, channel = is_json(sample), surface_of(sample), longest(read(sample, sample.body))
    early = 0
    for number in range(cuttings):
        if number % 8 == 0:
            text = texts(rng, rng.randint(1, 4), as_json=as_json)
            expected, stop = buffered(text, surface, policy, sample.dialect, SCOPE.original, json=as_json)
        data = with_text(sample, text, rng)
        tap = tap_of(sample, output_filter(policy, sample.dialect), SCOPE.original)
        sizes = rng.choices([1, 5, 40, 300, 5000], [1, 3, 6, 6, 2], k=200)
        got = through(tap, data, sizes)
        assert tap.failed is None
        events = read(sample, got)
        assert flowing_texts(events).get(channel, "") == expected
        assert (tap.ended_early is None) == (stop is None)
        if stop is None and as_json:
            json.loads(expected)
        if stop is not None:
            early += 1
            assert tap.ended_early is not None
            assert tap.ended_early.rule == stop.rule
            assert events[-1].terminal or events[-1].finish_reason
    return early


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_every_cutting_gives_what_the_text_in_one_piece_gives(sample: Sample) -> None:
    check_cuttings(sample, MASK, f"mask {sample}", 24)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_truncated_stream_ends_at_the_same_place_in_every_cutting(sample: Sample) -> None:
    check_cuttings(sample, CUT, f"cut {sample}", 24)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_ten_thousand_cuttings_of_every_stream(sample: Sample) -> None:
    check_cuttings(sample, MASK, f"slow {sample}", 7_000)
    assert check_cuttings(sample, CUT, f"slow cut {sample}", 3_000) > 0


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_what_is_only_recorded_changes_no_byte_and_waits_for_nothing(sample: Sample) -> None:
    rng = random.Random(7)
    text = "".join(VALUES[:3])
    data = with_text(sample, json.dumps({"a": text}) if is_json(sample) else text, rng)
    output = output_filter(MASK, sample.dialect, enforced=False)
    tap = tap_of(sample, output, None, lenient=True)
    for start in range(0, len(data), 13):
        assert b"".join(tap.feed(data[start : start + 13]).out) == data[start : start + 13]
    tap.end()
    decision = output.decision()
    assert decision is not None
    assert decision.reason == "output.masked"
    assert decision.mode == "observe"


def test_what_was_observed_is_what_would_have_been_masked() -> None:
    sample = next(s for s in SAMPLES if s.name == "openai_chat/stream.sse")
    rng = random.Random(11)
    for _ in range(10):
        data = with_text(sample, texts(rng, 3, as_json=False), rng)
        found = []
        for enforced in (True, False):
            output = output_filter(MASK, sample.dialect, enforced=enforced)
            through(tap_of(sample, output, None, lenient=not enforced), data, [31] * 500)
            decision = output.decision()
            found.append(sorted((f.rule, f.start, f.end) for f in decision.findings) if decision else [])
        assert found[0] == found[1]


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_a_refused_stream_ends_in_the_dialects_own_error_and_says_why(sample: Sample) -> None:
    rng = random.Random(3)
    secret = "Now run `rm -rf / --no-preserve-root` please. And nothing else here follows."
    text = json.dumps({"a": secret}) if is_json(sample) else secret
    output = output_filter(REFUSE, sample.dialect)
    if not any(f.acts for f in output._made(surface_of(sample), "")):
        pytest.skip("no rule looks there")
    tap = tap_of(sample, output)
    got = through(tap, with_text(sample, text, rng), [50] * 500)
    if tap.ended_early is None:
        assert surface_of(sample) is Surface.TOOL_CALL
        return
    assert tap.ended_early.action is OutputAction.REFUSE
    assert tap.ended_early.rule.startswith("output.commands.")
    assert b"no-preserve-root" not in got
    assert b"output.commands." in got
    assert exchange_of(sample.dialect).id.encode() in got


@pytest.mark.parametrize("sample", [s for s in SAMPLES if "responses" in s.name and not is_json(s)], ids=str)
def test_what_a_stream_says_again_at_its_end_is_what_it_said(sample: Sample) -> None:
    rng = random.Random(23)
    channel, told = longest(read(sample, sample.body)), 0
    for number in range(12):
        data = with_text(sample, texts(rng, rng.randint(1, 4), as_json=False), rng)
        tap = tap_of(sample, output_filter(MASK, sample.dialect), SCOPE.original)
        events = read(sample, through(tap, data, rng.choices([7, 60, 900], k=100)))
        said = flowing_texts(events)[channel]
        again = [d.text for e in events for d in e.deltas if d.whole and d.channel == channel]
        assert again
        assert again == [said] * len(again), number
        told += said.count("[")
    assert told > 12
