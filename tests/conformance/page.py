"""The page of the matrix, docs/conformance.md: written from results, read back by the test that it is not stale."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from conformance.cases import NOT_HELD, RAW_1, RAW_2, SDKS, Case, Outcome, cases, not_run, suite

HELD, FAILED, NONE = "✓", "✗", "·"
_CLIENTS = (RAW_1, RAW_2, *(sdk.name for sdk in SDKS))
_ROW = re.compile(
    r"^\| `(?P<row>[^`]+)` \| (?P<client>[^|]+) \| (?P<form>[^|]+) \| (?P<cells>.*) \|$", re.MULTILINE
)
_INTRODUCTION = """\
# Conformance matrix

Written by `scripts/conformance --write docs/conformance.md`; a test fails when the catalogue has a case that is not here.

Every cell is one exchange through a running gateway, from a client to a stand-in of the provider. It holds if the client
shows what it must, the provider received what it may, and the audit has exactly one end of the right kind and class.
Clients are official SDKs, unmodified, and httpx with requests written by hand over HTTP/1.1 and h2 (then h2 on both sides).
Over WebSocket a cell is one session with one turn: an exchange for the upgrade and for each event, every one with its end.
What a row of files and batches asks for (a file, a batch, its results) was made through the gateway just before, in exchanges
of their own; an SDK that asks where to find it first has two exchanges in its cell. Results are filtered and restored as answers are.
Sums of frames and the like are checked by the SDKs' own readers. The requests of the SDKs go over HTTP/1.1, as they do by default.

| outcome | what happens | what must be true |
| --- | --- | --- |
| pass | nothing is found | the provider receives the text, the client its answer |
| mask | an e-mail address is masked and restored | the provider never sees it, the client sees no placeholder |
| refuse | the request holds an injection | nothing leaves; the SDK raises its own permission error, once |
| stop | the answer holds what the policy refuses | an error; in a stream the dialect's own, after what was said before |
| truncate | the answer holds what the policy ends it at | it ends there as if the provider had ended it |
| garbled | the answer cannot be read | an error; in a stream the dialect's own, and the provider is cut |
| error | the provider answers 429 | the SDK raises its own rate-limit error |
| broken | the provider's connection breaks in its answer | an error that says so; in a stream the dialect's own |
| abort | the client goes away | the provider is cut, the audit says who went |

Claude Code, Codex CLI and Gemini CLI run a session with a tool in `tests/conformance/test_agents.py`, in a network whose
only way out is the gateway in transparent mode.
"""


def page(results: Mapping[str, bool]) -> str:
    """Return the page. results: whether each case held, by its id."""
    return "\n".join([_INTRODUCTION, *_counts(), "", *_tables(results), *_absent()])


def held(text: str) -> dict[str, bool]:
    """Return what a page says of each case, by the case's id."""
    said: dict[str, bool] = {}
    for found in _ROW.finditer(text):
        row = f"{found['row']} | {found['client']} | {found['form']}"
        cells = zip(Outcome, found["cells"].split(" | "), strict=True)
        said |= {_id(row, outcome): cell == HELD for outcome, cell in cells if cell != NONE}
    return said


def stale(text: str) -> tuple[set[str], set[str]]:
    """Return ids of cases that a page has not, and of those it has that are none, or that did not hold."""
    said = held(text)
    known = {case.id for case in cases()}
    return known - said.keys(), (said.keys() - known) | {id for id, holds in said.items() if not holds}


def _id(row: str, outcome: Outcome) -> str:
    return re.sub(r"[^A-Za-z0-9.:_/+-]+", "-", f"{row} {outcome}")


def _counts() -> Iterator[str]:
    count = Counter((case.route.dialect, case.client) for case in cases())
    dialects = sorted({dialect for dialect, _ in count})
    yield f"## {len(cases())} cases, of which the test suite runs {len(suite())}\n"
    yield _line(["dialect", *_CLIENTS, "all"])
    yield _line(["---"] * (len(_CLIENTS) + 2))
    for dialect in dialects:
        numbers = [count[dialect, client] for client in _CLIENTS]
        yield _line([dialect, *(str(number or NONE) for number in numbers), str(sum(numbers))])
    totals = [sum(count[dialect, client] for dialect in dialects) for client in _CLIENTS]
    yield _line(["all", *map(str, totals), str(sum(totals))])
    outcomes = Counter(case.outcome for case in cases())
    yield "\nBy outcome: " + ", ".join(f"{outcome} {outcomes[outcome]}" for outcome in Outcome) + "."


def _tables(results: Mapping[str, bool]) -> Iterator[str]:
    rows: dict[str, dict[str, dict[Outcome, bool]]] = {}
    for case in cases():
        rows.setdefault(case.route.provider, {}).setdefault(case.row, {})[case.outcome] = results[case.id]
    for provider, lines in rows.items():
        yield f"## {provider}\n"
        yield _line(["endpoint", "client", "answers in", *Outcome])
        yield _line(["---"] * (len(Outcome) + 3))
        for row, held in lines.items():
            route, client, form = row.split(" | ")
            cells = [
                NONE if outcome not in held else HELD if held[outcome] else FAILED for outcome in Outcome
            ]
            yield _line([f"`{route}`", client, form, *cells])
        yield ""


def _absent() -> Iterator[str]:
    yield "## Not run\n"
    yield "Endpoints of the catalogue without a case here, each with the reason.\n"
    yield _line(["endpoint", "reason"])
    yield _line(["---"] * 2)
    for row, reason in not_run().items():
        yield _line([f"`{row}`", reason])
    for case, reason in NOT_HELD.items():
        yield _line([f"`{case}`", f"does not hold: {reason}"])
    yield ""
    yield "Files and batches over h2 and by the Node SDKs, and other providers that take OpenAI's. Their results cut by the policy,"
    yield "since half a file is none: truncate refuses, as stop does. Files that cannot be read: they are texts of another kind."
    yield "A masked upload to Gemini: it is sent as content that nobody reads, and judged by its type."
    yield "SDKs on transports they do not have: every SDK over h2 and on JSON arrays."
    yield "Over WebSocket: truncate, since the session would go on (it is refused as stop is); the Node SDK, whose client"
    yield "needs a package of its own, or a browser's way of putting the key into a subprotocol, which is refused."
    yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def summary(run: int, failed: Mapping[Case, list[str]]) -> str:
    """Return what is printed of a run. run: how many cases."""
    lines = [f"{run} cases, {len(failed)} do not hold."]
    lines += [f"{case.id}: {'; '.join(wrong)}" for case, wrong in failed.items()]
    return "\n".join(lines)
