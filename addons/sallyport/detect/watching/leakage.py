"""Whether an answer tells the system prompt of its own conversation.

A leak is a run of words that stands in the prompt. A match begins with the run's fourth word, so that no
prose waits because its first three words stand there too. What the conversation's other texts say as well
(instructions that a user quotes) is no leak.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from sallyport.decision import Kind, Severity
from sallyport.detect.watching.encodedtokens import EncodedTokens
from sallyport.detect.watching.systemtext import (
    GRAM,
    MAX_PLACES,
    MAX_WORD,
    WORD,
    SystemText,
    spelled,
    weight,
    words,
)
from sallyport.detect.watching.watcher import Match

SPOKEN = "output.leak.system_prompt"
ENCODED = "output.leak.system_prompt_encoded"

MAX_HELD = 4096
"""Characters after which a leak that goes on is reported, and followed further as another."""

_LEAST_ENCODED = 5
"""Words of the prompt in one encoded token: nobody encodes them by accident."""

_PIECE = 2048


class _Run:
    """Words in a row that stand at one place of the prompt. fourth: where its fourth word begins, -1 before."""

    __slots__ = ("confirmed", "fourth", "weight")

    def __init__(self, total: float) -> None:
        self.weight = total
        self.fourth = -1
        self.confirmed = False


class LeakWatcher:
    """Follows one channel; see Watcher for what holds.

    known: texts of the conversation that are not the system's; what stands there too is no leak.
    """

    def __init__(self, system: SystemText, known: Sequence[str] = ()) -> None:
        self._system = system
        self._known = _Known(known)
        self._tokens = EncodedTokens(self._tells)
        self._buffer = ""
        self._base = 0
        self._total = 0
        self._said: deque[str] = deque(maxlen=2 * system.least + GRAM)
        self._runs: dict[int, _Run] = {}
        self._last_end = 0
        self._leak: tuple[int, int] | None = None

    @property
    def held_from(self) -> int:
        held = min(self._total, self._tokens.held_from)
        if self._leak is not None:
            held = min(held, self._leak[0])
        for run in self._runs.values():
            if run.fourth >= 0:
                held = min(held, run.fourth)
            elif self._buffer:
                held = min(held, self._base)
        return held

    def feed(self, text: str) -> list[Match]:
        if self._system.empty:
            self._pass(text)
            return []
        found: list[Match] = []
        for at in range(0, len(text), _PIECE):
            piece = text[at : at + _PIECE]
            found += [_match(ENCODED, *span) for span in self._tokens.feed(piece)]
            found += self._feed(piece, final=False)
        return found

    def end(self, text: str = "") -> list[Match]:
        if not self._total and not self._tokens.may_be_in(text) and not self._system.may_be_in(text):
            self._pass(text)
            return []
        found = self.feed(text) if text else []
        found += (_match(ENCODED, *span) for span in self._tokens.end())
        found += self._feed("", final=True)
        found += self._broken()
        return found

    def _pass(self, text: str) -> None:
        self._total += len(text)
        self._base = self._total
        self._tokens.skip(len(text))

    def _feed(self, text: str, *, final: bool) -> Iterator[Match]:
        """Take all words that are complete; what remains in the buffer is the beginning of one."""
        buffer, base = self._buffer + text, self._base
        self._total += len(text)
        rest = len(buffer)
        for match in WORD.finditer(buffer):
            if match.end() == len(buffer) and not final and weight(match.group()) == 1.0:
                rest = match.start()
                break
            yield from self._word(match.group(), base + match.start(), base + match.end())
        self._buffer, self._base = buffer[rest:], base + rest
        if len(self._buffer) > MAX_WORD or self._base - self._last_end > MAX_WORD:
            yield from self._broken()
            self._buffer = self._buffer[-MAX_WORD - 1 :]
            self._base = self._total - len(self._buffer)

    def _word(self, raw: str, start: int, end: int) -> Iterator[Match]:
        if start - self._last_end > MAX_WORD or len(raw) > MAX_WORD:
            yield from self._broken()
        word = spelled(raw)
        if not word:
            return
        self._last_end = end
        if len(raw) > MAX_WORD:
            return
        said = self._said
        said.append(word)
        places = self._system.places((said[-3], said[-2], word)) if len(said) >= GRAM else ()
        if not places and not self._runs:
            return
        self._runs = self._grown(word, start, places)
        for run in self._runs.values():
            if not run.confirmed and run.weight >= self._system.least:
                if self._is_known():
                    run.weight, run.fourth = 0.0, -1
                else:
                    run.confirmed = True
        confirmed = [run.fourth for run in self._runs.values() if run.confirmed and run.fourth >= 0]
        if confirmed:
            start = min(confirmed) if self._leak is None else self._leak[0]
            self._leak = (start, end)
            if end - start > MAX_HELD:
                for run in self._runs.values():
                    run.fourth = -1
                yield from self._finished()
        else:
            yield from self._finished()

    def _grown(self, word: str, start: int, places: Sequence[int]) -> dict[int, _Run]:
        """Return the runs that go on with this word, and those that begin with the words up to it."""
        runs: dict[int, _Run] = {}
        for at, run in self._runs.items():
            if self._system.words[at + 1] == word:
                run.weight += weight(word)
                if run.fourth < 0:
                    run.fourth = start
                runs[at + 1] = run
        for at in places:
            if at not in runs and len(runs) < MAX_PLACES:
                runs[at] = _Run(sum(weight(self._said[index]) for index in range(-GRAM, 0)))
        return runs

    def _is_known(self) -> bool:
        """Say whether the last words, as many as make a leak, stand in what is known."""
        total, last = 0.0, []
        for word in reversed(self._said):
            last.append(word)
            total += weight(word)
            if total >= self._system.least:
                break
        return self._known.says(last[::-1])

    def _tells(self, text: str) -> bool:
        return self._system.longest_run([*words(text)]) >= _LEAST_ENCODED

    def _broken(self) -> Iterator[Match]:
        """Forget the words so far: no run goes on over a gap."""
        self._runs = {}
        self._said.clear()
        yield from self._finished()

    def _finished(self) -> Iterator[Match]:
        if self._leak is not None:
            leak, self._leak = self._leak, None
            yield _match(SPOKEN, *leak)


class _Known:
    """Texts, read when they are asked about for the first time."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._read: str | None = None

    def says(self, said: Sequence[str]) -> bool:
        if self._read is None:
            self._read = "\n".join(f" {' '.join(words(text))} " for text in self._texts)
        return f" {' '.join(said)} " in self._read


def _match(rule: str, start: int, end: int) -> Match:
    return Match(rule, Kind.OUTPUT, "SYSTEM_PROMPT", Severity.HIGH, start, end)
