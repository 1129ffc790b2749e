"""The demo on paper: one block per step, readable without colour and on a narrow terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sallyport.audit.text import printable
from sallyport.decision import Action
from sallyport.demo.judge import Outcome, provider_pieces
from sallyport.demo.scenario import Step
from sallyport.demo.stand import Got, Stand
from sallyport.stages.placeholder import PLACEHOLDER

_LONGEST_CHARS = 700
_COLOURS = {"allow": "green", "tunnel": "green", "modify": "yellow", "deny": "red"}


def console(file: TextIO | None = None) -> Console:
    return Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=False)


def show_stand(out: Console, stand: Stand, revision: str) -> None:
    """Print what was started, and the two things that clients were told."""
    if stand.ground.transparent:
        where = "in a network namespace; nftables redirects the clients' TCP 443 to it"
        told = "nothing (no proxy variable); their namespace has no other way out"
    else:
        where = f"an explicit proxy on 127.0.0.1 port {stand.gateway_port}"
        told = f"HTTPS_PROXY={stand.proxy}"
    names = stand.permitted_names
    rows = (
        ("gateway", f"sallyport run, {where}; policy balanced with known callers, revision {revision}"),
        ("its CA", f"made now, good for {names} names of AI providers and nothing else (name constraints)"),
        ("providers", f"stand-ins with the real names, TLS and wire formats (port {stand.lab_port})"),
        ("clients", "official SDKs, unmodified, each call a program of its own"),
        ("told of the gateway", told),
        ("told whom to trust", f"SSL_CERT_FILE={stand.gateway_ca.name}, the gateway's certificate"),
    )
    out.print(_grid(rows))
    out.print()


def show(out: Console, number: int, outcome: Outcome) -> None:
    """Print one step."""
    verdict = Text("as expected", "green") if outcome.as_expected else Text("NOT AS EXPECTED", "bold red")
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(ratio=1)
    head.add_column(justify="right")
    head.add_row(Text(f"{number:>2}  {outcome.step.title}", "bold"), verdict)
    out.print(head)
    out.print(_grid(_rows(outcome)))
    for problem in outcome.problems:
        out.print(Text(f"    NOT AS EXPECTED: {printable(problem)}", "bold red"))
    out.print()


def show_summary(out: Console, outcomes: Sequence[Outcome], leaks: Sequence[str], seconds: float) -> None:
    """Print the last word."""
    if leaks:
        out.print(
            Text(f"Found in a log or the audit store, where no text belongs: {', '.join(leaks)}", "bold red")
        )
    else:
        out.print("No prompt, value or key of the above is in the gateway's log, audit store or folder.")
    different = [outcome.step.name for outcome in outcomes if not outcome.as_expected]
    said = "all as expected" if not different else f"NOT as expected: {', '.join(different)}"
    style = "bold red" if different else "bold green"
    out.print(Text(f"{len(outcomes)} steps, {said} ({seconds:.1f} s).", style))


def _rows(outcome: Outcome) -> Iterable[tuple[str, str | Text]]:
    step = outcome.step
    yield "who", _who(step)
    yield "asked", step.shown_question
    yield "left the building", _left(outcome)
    yield "came back", _came_back(outcome.got)
    yield "decided", _decided(outcome)
    if outcome.stages:
        yield "stages", ", ".join(f"{one.stage} {one.action.name.lower()}" for one in outcome.stages)
    yield "note", _note(outcome)
    if outcome.decision_id:
        yield "decision id", outcome.decision_id


def _who(step: Step) -> str:
    call = step.call.partition("_")[2].replace("_", " ") or step.call
    if step.person is None:
        return f"a program with Python's standard library ({call.replace('_', ' ')})"
    return f"{step.person.name}, {step.client} SDK {version(step.client)} ({call})"


def _left(outcome: Outcome) -> str:
    if outcome.upstream is None:
        return "nothing"
    if outcome.decision == "tunnel":
        return f"{outcome.said} (read by the host alone)"
    return outcome.said + (f"  ({outcome.attempts} times)" if outcome.attempts > 1 else "")


def _came_back(got: Got) -> str:
    if got.text is not None:
        return got.text.rstrip("\n")
    status = f" (status {got.status})" if got.status else ""
    return f"{got.raised}{status}: {got.message}"


def _decided(outcome: Outcome) -> Text:
    word = outcome.decision or "nobody"
    text = Text(word.upper(), _COLOURS.get(word, "bold red"))
    if outcome.stage:
        text.append(f" by {outcome.stage}: {outcome.reason}", "default")
    else:
        text.append(": every stage let it pass", "default")
    found = [f for one in outcome.stages if one.action is not Action.ALLOW for f in one.findings]
    if found:
        rules = Counter(finding.rule for finding in found)
        text.append(
            ", because of " + ", ".join(f"{rule} ({count})" for rule, count in rules.items()), "default"
        )
    return text


def _note(outcome: Outcome) -> str:
    see = outcome.step.see
    if outcome.step.name.startswith("stream-") and outcome.as_expected:
        see += f" (streamed in {len(provider_pieces(outcome))} pieces of 3 to 7 characters)"
    if outcome.got.issuer:
        see += f" (issued by {outcome.got.issuer!r})"
    return see


def _grid(rows: Iterable[tuple[str, str | Text]]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=4)
    grid.add_column(style="dim", overflow="fold")
    grid.add_column(overflow="fold")
    for name, value in rows:
        text = value if isinstance(value, Text) else Text(_shortened(value))
        text.highlight_regex(PLACEHOLDER, "bold yellow")
        grid.add_row("", name, text)
    return grid


def _shortened(text: str) -> str:
    lines = "\n".join(printable(line) for line in text.splitlines())
    return lines if len(lines) <= _LONGEST_CHARS else lines[:_LONGEST_CHARS] + " ..."
