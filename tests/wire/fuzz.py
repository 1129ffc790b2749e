"""Mutated cassettes meet every dialect: it reads them, or raises WireError, and nothing else.

Run as scripts/fuzz_wire [-n N] [--seed S] [--dialect NAME ...]; prints a table, exits 1 on a finding.
"""

import argparse
import contextlib
import json
import random
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

from sallyport.decision import Change, Edit
from sallyport.exchange import FALLBACK_MODEL, Parameter, Request
from sallyport.wire.dialect import Dialect
from sallyport.wire.errors import WireError
from sallyport.wire.settings import Settings
from wire.samples import Sample, call, operation_of, samples

VALUES = (
    *(None, True, False, 0, -1, 1.5, 10**20, 4111111111111111, "", "x", "x" * 300, "\u2028\U0001f600"),
    *("data:,x", "data:image/png;base64,AA", "http://x", "~k/~", [], {}, [[1, 2]], [None], {"": ""}),
    *(
        {"type": None},
        {"index": -1},
        {"index": True},
        {"role": []},
        {"error": {}},
        {"a": {"b": [{"c": "d"}]}},
    ),
)
BYTES = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\n\n", b"\x00", b"\xff", b"\\ud800"),
    *(b"\xef\xbb\xbf", b"data: ", b"data:", b"event: x\n", b": c\n", b"[DONE]", b"1e999", b"NaN", b"{}"),
)
KINDS = ("request", "response", "block", "error", "stream", "stream_error", "block_stream")


@dataclass
class Result:
    """What happened to the inputs of one dialect. findings: traces of anything but WireError."""

    read: int = 0
    refused: Counter = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest_s: float = 0.0

    @property
    def inputs(self) -> int:
        return self.read + sum(self.refused.values()) + len(self.findings)


def run(name: str, count: int, seed: int) -> Result:
    """Feed a dialect this many mutated samples of its own."""
    chance = random.Random(f"{seed}/{name}")
    own = [s for s in samples(*KINDS, every=True) if s.dialect.name == name]
    bodies = {s.name: s.body for s in own}
    result = Result()
    for number in range(count):
        sample = chance.choice(own)
        body = mutated(bodies[sample.name], chance)
        started = time.process_time()
        try:
            judge(sample, body, chance)
        except WireError as error:
            result.refused[error.reason] += 1
        except Exception:
            result.findings.append(f"{sample} #{number} seed {seed}\n{traceback.format_exc()}")
        else:
            result.read += 1
        result.slowest_s = max(result.slowest_s, time.process_time() - started)
    return result


def mutated(body: bytes, chance: random.Random) -> bytes:
    """Return the body with a few members or bytes changed."""
    if chance.random() < 0.6:
        body = with_other_members(body, chance)
        if chance.random() < 0.7:
            return body
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(body) + 1)
        to = min(len(body), at + chance.choice((0, 1, 1, 4, 60)))
        match chance.randrange(4):
            case 0:
                body = body[:at] + body[to:]
            case 1:
                body = body[:at] + chance.choice(BYTES) + body[to:]
            case 2:
                body = body[:to] + body[at:]
            case 3:
                body = body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]
    return body


def with_other_members(body: bytes, chance: random.Random) -> bytes:
    """Change values inside one JSON document of the body: the whole, or one data line."""
    lines = body.split(b"\n")
    data = [i for i, line in enumerate(lines) if line.startswith(b"data: {")]
    try:
        if not data:
            return json.dumps(
                with_other_value(json.loads(body), chance), ensure_ascii=chance.random() < 0.5
            ).encode()
        at = chance.choice(data)
        value = with_other_value(json.loads(lines[at][6:]), chance)
        lines[at] = b"data: " + json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return body
    return b"\n".join(lines)


def with_other_value(root, chance: random.Random):
    holder, key = {"": root}, ""
    top = holder
    while isinstance(holder[key], dict | list) and holder[key] and chance.random() < 0.9:
        holder = holder[key]
        key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    value = chance.choice(VALUES)
    if isinstance(holder[key], dict) and chance.random() < 0.4:
        holder[key] = {**holder[key], chance.choice(("x", "index", "type", "error", "a/b~", "text")): value}
    else:
        holder[key] = value
    return top[""]


def judge_change(dialect: Dialect, request: Request, body: bytes, chance: random.Random) -> None:
    """Set a setting that a request gives, or leaves out, and read it back; a place that holds none refuses."""
    places = [(p.name, p.at) for p in request.parameters] + list(request.unset)
    assert dialect.change(body, []) == body
    if not places:
        return
    name, at = chance.choice(places)
    with contextlib.suppress(WireError):
        changed = dialect.change(body, [Change(at, 7)])
        if request.dialect not in ("openai_batch", "openai_form") and name != FALLBACK_MODEL:
            read = Settings.read(dialect.settings, json.loads(changed))  # type: ignore[attr-defined]
            assert Parameter(name, 7, at) in read


def judge(sample: Sample, body: bytes, chance: random.Random) -> None:
    """Read a body as what its sample is; check the laws where it can be read."""
    dialect = sample.dialect
    if sample.kind in ("stream", "stream_error", "block_stream"):
        judge_stream(dialect, sample.content_type, body, chance)
        return
    if sample.kind == "request":
        request = dialect.read_request(body, call(operation_of(sample)))
        segments = request.segments
        judge_change(dialect, request, body, chance)
    else:
        segments = dialect.read_response(body, sample.status).segments
    assert dialect.edit(body, []) == body
    if not segments:
        return
    some = chance.sample(segments, min(3, len(segments)))
    edits = [Edit(s.at, len(s.text) // 2, len(s.text), "<X_1>") for s in some]
    changed = dialect.edit(body, edits)
    if any(s.at.endswith("~k") for s in some):
        return  # pointers below a changed name change with it
    if sample.kind == "request":
        again = dialect.read_request(changed, call(operation_of(sample))).segments
    else:
        again = dialect.read_response(changed, sample.status).segments
    texts = {s.at: s.text for s in again}
    for s in some:
        assert texts[s.at] == s.text[: len(s.text) // 2] + "<X_1>"


def judge_stream(dialect: Dialect, content_type: str, body: bytes, chance: random.Random) -> None:
    reader = dialect.open_stream(content_type)
    cuts = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(6)))
    events = []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        events += reader.feed(body[start:end])
    events += reader.end()
    assert b"".join(e.raw for e in events) == body
    again = dialect.open_stream(content_type)
    assert again.feed(body) + again.end() == events
    for event in events:
        if event.deltas:
            reader.rewrite(event, {d.at: "<X_1>" for d in event.deltas if not d.at.endswith("~k")})


def main(arguments: list[str] | None = None) -> int:
    """Fuzz the dialects and print what came of it."""
    names = sorted({s.dialect.name for s in samples(*KINDS, every=True)})
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100_000, help="inputs a dialect")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dialect", nargs="*", choices=names, default=names)
    options = parser.parse_args(arguments)
    found = 0
    heads = ("inputs", "read", "refused", "findings", "slowest ms")
    print(f"{'dialect':22}" + "".join(f"{head:>11}" for head in heads) + f"  seed {options.seed}")
    for name in options.dialect:
        result = run(name, options.n, options.seed)
        refused = sum(result.refused.values())
        print(
            f"{name:22}{result.inputs:11}{result.read:11}{refused:11}{len(result.findings):11}"
            f"{result.slowest_s * 1000:11.1f}",
            flush=True,
        )
        print("".join(result.findings[:3]), end="", file=sys.stderr)
        found += len(result.findings)
    return 1 if found else 0
