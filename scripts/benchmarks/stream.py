"""What looking at a streamed answer costs: processor time per chunk, and how many events a chunk waits.

The answers are made of this repository: prose and tables of its pages, code of its package; cut as models write
them, a word with the space in front. Figures are for one core; `--policy` takes an output section in one line.
"""

import argparse
import gc
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sallyport.cli.detection import make_answer_rules
from sallyport.data import rules_dir
from sallyport.decision import Refusal
from sallyport.detect.packs import load
from sallyport.exchange import Client, Exchange, Operation, Principal, Request, Surface
from sallyport.policy.load import parse_policy
from sallyport.proxy.tap import AnswerTap, Looking
from sallyport.stages.followers import AnswerRules
from sallyport.stages.judge import Judge
from sallyport.stages.output import OutputFilter
from sallyport.wire.dialect import Stamp
from sallyport.wire.dialects import DIALECTS

ROOT = Path(__file__).parent.parent.parent
MASKING = "pii: mask, secrets: mask, rules: {output.commands.*: mask}"
_CHUNK = re.compile(r"\s*\S{1,24}|\s+")
_CANDIDATE = re.compile(r"[\d@=:/_<>\[\](){}|`#*\\]|[A-Z]{2}")
CHARS = 2_000


@dataclass(frozen=True)
class Answer:
    """kind: prose, code or table. chunks: its text as it arrives."""

    kind: str
    chunks: tuple[str, ...]


def answers(count: int) -> list[Answer]:
    """Return as many answers, of the three kinds in turn."""
    pages = "\n\n".join(p.read_text() for p in sorted((ROOT / "docs").glob("*.md")))
    prose = "\n\n".join(p for p in pages.split("\n\n") if p[:1].isalpha() and "|" not in p)
    tables = "\n".join(line for line in pages.splitlines() if line.startswith("|"))
    code = "\n".join(p.read_text() for p in sorted((ROOT / "addons/sallyport/wire").glob("*.py")))
    kinds = {"prose": prose, "code": code, "table": tables}
    found = []
    for number in range(count):
        kind = ("prose", "code", "table")[number % 3]
        start = number // 3 * CHARS % max(1, len(kinds[kind]) - CHARS)
        found.append(Answer(kind, tuple(_CHUNK.findall(kinds[kind][start : start + CHARS].rstrip()))))
    return found


def output_filter(policy: str, rules: AnswerRules) -> OutputFilter:
    section = parse_policy(f"version: 1\noutput: {{{policy}}}\n").output
    request = Request("bench", "openai_chat", Operation.CHAT, "m", stream=True)
    who = Principal("bench", "bench")
    exchange = Exchange("id", "c", datetime.now(UTC), "h", Client("::1", "regular"), request, who)
    return OutputFilter(section, Judge(section, exchange), rules.of(section, 4096))


def tap(output: OutputFilter | None) -> AnswerTap:
    dialect = DIALECTS["openai_chat"]
    refusal = Refusal("bench", "", "id")
    looking = None
    if output is not None:
        request = Request("bench", "openai_chat", Operation.CHAT, "m", stream=True)
        looking = Looking(output, dialect.ending(request, Stamp("id", 0)), lambda stop: refusal)
    return AnswerTap(
        dialect, dialect.open_stream(), refusal, lookup=None, remember=lambda text: None, looking=looking
    )


def events(answer: Answer) -> Iterator[bytes]:
    for chunk in answer.chunks:
        choice = {"index": 0, "delta": {"content": chunk}, "finish_reason": None}
        yield b"data: " + json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode() + b"\n\n"


def times_us(answer: Answer, output: OutputFilter | None) -> list[float]:
    """Return the processor time of each chunk in microseconds."""
    following, spent = tap(output), []
    for data in events(answer):
        started = time.thread_time_ns()
        following.feed(data)
        spent.append((time.thread_time_ns() - started) / 1000)
    return spent


def delays(answer: Answer, output: OutputFilter) -> Iterator[tuple[bool, int]]:
    """Yield of each chunk whether it is ordinary words, and how many events its last character waits."""
    channel = output.channel("choices/0/content", Surface.ASSISTANT)
    waiting: list[tuple[int, int, str]] = []
    fed = 0
    for number, chunk in enumerate((*answer.chunks, "")):
        fed += len(chunk)
        waiting.append((number, fed, chunk))
        if number == len(answer.chunks):
            channel.end()
        else:
            channel.feed(chunk)
        while waiting and waiting[0][1] <= fed - channel.held_chars:
            came, _, what = waiting.pop(0)
            if what:
                yield _CANDIDATE.search(what) is None, number - came


def share(counts: Counter[int], least: int) -> str:
    total = counts.total()
    return f"{100 * sum(n for d, n in counts.items() if d >= least) / max(1, total):.2f} %"


def report(policy: str, rules: AnswerRules, texts: Sequence[Answer]) -> None:
    print(f"output: {{{policy}}}")
    plain = [t for a in texts for t in times_us(a, None)]
    looked = [t for a in texts for t in times_us(a, output_filter(policy, rules))]
    median, base = statistics.median(looked), statistics.median(plain)
    print(f"  chunks {len(looked)}; tap alone {base:.1f} us, with the policy {median:.1f} us (median),")
    print(
        f"  so the policy takes {median - base:.1f} us; 99 % within {sorted(looked)[len(looked) * 99 // 100]:.0f} us"
    )
    for kind in ("prose", "code", "table"):
        words: Counter[int] = Counter()
        others: Counter[int] = Counter()
        for answer in (a for a in texts if a.kind == kind):
            for ordinary, waited in delays(answer, output_filter(policy, rules)):
                (words if ordinary else others)[waited] += 1
        print(
            f"  {kind:5}  words {words.total()}: longest wait {max(words, default=0)} events, more than one "
            f"{share(words, 2)}; other chunks {others.total()}: more than one {share(others, 2)}, "
            f"longest {max(others, default=0)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=100)
    parser.add_argument("--policy", action="append", help="keys of an output section, `pii: mask`")
    options = parser.parse_args()
    rules = make_answer_rules(parse_policy("version: 1\n"), load(rules_dir()))
    texts = answers(options.answers)
    gc.collect()
    gc.freeze()  # as the gateway does with its rules
    for policy in options.policy or ["", MASKING]:
        report(policy, rules, texts)


if __name__ == "__main__":
    main()
