"""Token counts: estimates that hold without the network, exact ones only from files that are what they claim."""

import socket
from pathlib import Path

import pytest

from sallyport.metering.tokens import RANKS, Count, TokenCounter, encoding_of, estimate

# Tokens counted with the real o200k_base encoder.
COUNTED = {
    "The quick brown fox jumps over the lazy dog. It was not amused, and said so at length.": 21,
    "Sehr geehrte Damen und Herren, hiermit kündige ich meinen Vertrag zum nächstmöglichen Zeitpunkt.": 21,
    "def add(first: int, second: int) -> int:\n    return first + second\n": 19,
    '{"id": 17, "name": "Ada", "tags": ["a", "b"], "active": true}': 26,
    "人工智能正在改变世界，我们需要认真对待它。": 12,
}


def test_an_estimate_is_near_what_the_encoder_counts() -> None:
    for text, tokens in COUNTED.items():
        assert 0.6 * tokens <= estimate(text * 20) / 20 <= 1.6 * tokens, text


def test_an_estimate_never_fails_and_grows_with_the_text() -> None:
    assert estimate("") == 0
    for text in ("\ud800", "\x00", "🎉" * 50, "a" * 10_000, "\u200b" * 100):
        assert 1 <= estimate(text) <= estimate(text * 2)


def test_without_ranks_counts_are_estimates_with_a_margin() -> None:
    counter = TokenCounter(Path("/nonexistent"))
    assert counter.load() == ()
    count = counter.count(["Hello there, how are you today?"] * 30, "gpt-4o")
    assert not count.exact
    assert count.reserved > count.tokens
    assert Count(10, exact=True).reserved == 10


def test_ranks_that_are_not_what_they_claim_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("the network was reached for")

    monkeypatch.setattr(socket.socket, "connect", connect)
    for ranks in RANKS.values():
        (tmp_path / ranks.file).write_bytes(b"IQ== 0\n")
    assert TokenCounter(tmp_path).load() == ()


def test_the_encoding_of_a_model() -> None:
    assert encoding_of("gpt-4o") == "o200k_base"
    assert encoding_of("gpt-4-0613") == "cl100k_base"
    assert encoding_of("claude-sonnet-4-5") is None
    assert encoding_of(None) is None
