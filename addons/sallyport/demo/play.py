"""The whole demo: make ready, run the clients, judge, show, tidy up."""

import contextlib
import importlib.util
import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from sallyport.demo.grounds import STOPPING, prepared
from sallyport.demo.judge import Outcome, judge
from sallyport.demo.people import make_people
from sallyport.demo.scenario import Step, around_the_gateway, scenario
from sallyport.demo.show import console, show, show_stand, show_summary
from sallyport.demo.stand import Stand, standing
from sallyport.errors import OperatorError

_AT_ONCE = 3
"""Clients that run at the same time; what they do is shown in order."""

_SDKS = ("openai", "anthropic", "google.genai")


def play(*, as_json: bool, keep: bool, transparent: bool, gateway_key: Callable[[Path], bytes]) -> int:
    """Run the demo and return its exit code: 0 if every step was as expected, 1 otherwise.

    gateway_key: makes or reads the secret of a gateway in a folder. Whatever happens, everything started
    is ended and every file removed. Raises OperatorError (exit code 3) if something is missing.
    """
    _require_sdks()
    began = time.monotonic()
    people = make_people()
    out = console()
    with (
        _interrupted_once(),
        tempfile.TemporaryDirectory(prefix="sallyport-demo-") as folder,
        prepared(transparent=transparent) as ground,
        standing(ground, Path(folder), people, gateway_key) as stand,
    ):
        revision = next((event.policy_revision for event in stand.events()), "")
        if not as_json:
            show_stand(out, stand, revision)
        steps = (*scenario(people), *(around_the_gateway() if transparent else ()))
        outcomes = _perform(steps, stand, None if as_json else out)
        leaks = _leaks(stand, steps)
        seconds = time.monotonic() - began
        if as_json:
            _print_json(outcomes, leaks, seconds, revision, transparent=transparent)
        else:
            show_summary(out, outcomes, leaks, seconds)
        if keep:
            _keep(console(sys.stderr) if as_json else out, stand)
    return 0 if all(outcome.as_expected for outcome in outcomes) and not leaks else 1


def _require_sdks() -> None:
    for name in _SDKS:
        try:
            found = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            raise OperatorError(
                "demo",
                f"the SDK {name} is not installed in this environment",
                "Run scripts/demo, which installs what the demo needs.",
                exit_code=3,
            )


@contextlib.contextmanager
def _interrupted_once() -> Iterator[None]:
    """Turn the first signal to stop into KeyboardInterrupt and ignore the rest, so that tidying up ends."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in STOPPING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _perform(steps: Sequence[Step], stand: Stand, out: Console | None) -> list[Outcome]:
    """Run the clients, a few at a time, and judge and show them in order."""
    running: list[subprocess.Popen[str]] = []
    outcomes: list[Outcome] = []
    for number, step in enumerate(steps):
        while len(running) < min(number + _AT_ONCE, len(steps)):
            running.append(stand.start_client(steps[len(running)]))
        outcome = judge(step, stand.result(running[number]), stand)
        if dead := stand.dead():
            raise OperatorError(f"the {dead}", "it ended by itself", "Please report it.", exit_code=4)
        outcomes.append(outcome)
        if out is not None:
            show(out, number + 1, outcome)
    return outcomes


def _leaks(stand: Stand, steps: Sequence[Step]) -> list[str]:
    """Name the files of the gateway that hold a text, value or key of this run. There must be none."""
    texts = {step.text for step in steps if step.person} | {v for step in steps for v in step.private}
    needles = [text.encode() for text in (*texts, *(one.key for one in stand.people.all))]
    files = [stand.folder / "gateway.log", *stand.confdir.rglob("*")]
    contents = {file.name: file.read_bytes() for file in files if file.is_file()}
    return sorted(name for name, content in contents.items() if any(needle in content for needle in needles))


def _print_json(
    outcomes: Sequence[Outcome], leaks: Sequence[str], seconds: float, revision: str, *, transparent: bool
) -> None:
    different = [outcome.step.name for outcome in outcomes if not outcome.as_expected]
    found = {
        "transparent": transparent,
        "policy_revision": revision,
        "steps": [_as_data(outcome) for outcome in outcomes],
        "leaks": [*leaks],
        "not_as_expected": different,
        "as_expected": not different and not leaks,
        "seconds": round(seconds, 1),
    }
    print(json.dumps(found, ensure_ascii=True))


def _as_data(outcome: Outcome) -> dict[str, Any]:
    step, got = outcome.step, outcome.got
    answer: Any = got.text
    if got.text is None:
        answer = {"raised": got.raised, "status": got.status, "message": got.message}
    return {
        "name": step.name,
        "title": step.title,
        "who": step.person.name if step.person else None,
        "client": step.client,
        "asked": step.shown_question,
        "decision": outcome.decision,
        "stage": outcome.stage,
        "reason": outcome.reason,
        "decision_id": outcome.decision_id or None,
        "stages": [
            {
                "stage": one.stage,
                "action": one.action.name.lower(),
                "reason": one.reason,
                "rules": sorted({finding.rule for finding in one.findings}),
            }
            for one in outcome.stages
        ],
        "attempts": outcome.attempts,
        "upstream_saw": outcome.upstream,
        "client_got": answer,
        "as_expected": outcome.as_expected,
        "problems": [*outcome.problems],
    }


def _keep(out: Console, stand: Stand) -> None:
    """Say how to try it by hand, and wait for Ctrl-C."""
    out.print()
    out.print("Still running. In another shell:")
    out.print()
    for line in _by_hand(stand):
        out.print(line, soft_wrap=True)
    out.print()
    out.print("Ctrl-C here ends it and removes everything.")
    with contextlib.suppress(KeyboardInterrupt):
        while stand.dead() is None:
            time.sleep(0.5)
        raise OperatorError(f"the {stand.dead()}", "it ended by itself", "Start the demo again.", exit_code=3)


def _by_hand(stand: Stand) -> Iterator[str]:
    bundle = stand.bundle()
    people = stand.people
    variables = {
        "SSL_CERT_FILE": str(bundle),
        "CURL_CA_BUNDLE": str(bundle),
        "REQUESTS_CA_BUNDLE": str(bundle),
        "NODE_EXTRA_CA_CERTS": str(bundle),
        "OPENAI_API_KEY": people.alice.key,
        "ANTHROPIC_API_KEY": people.bob.key,
        "GEMINI_API_KEY": people.carol.key,
    }
    if stand.proxy:
        variables = {"HTTPS_PROXY": stand.proxy} | variables
    for name, value in variables.items():
        yield f"export {name}={shlex.quote(value)}"
    yield ""
    prefix = stand.ground.prefix
    body = {"model": "any", "messages": [{"role": "user", "content": "Write to ada@example.com"}]}
    yield (
        f"{prefix}curl -sS https://api.openai.com/v1/chat/completions "
        f"-H \"authorization: Bearer $OPENAI_API_KEY\" -H 'content-type: application/json' "
        f"-d {shlex.quote(json.dumps(body))}"
    )
    python = shlex.quote(sys.executable)
    program = (
        "import anthropic; print(anthropic.Anthropic().messages.create(model='any', max_tokens=99, "
        "messages=[{'role': 'user', 'content': 'Write to ada@example.com'}]).content[0].text)"
    )
    yield f'{prefix}{python} -c "{program}"'
    yield ""
    record = shlex.quote(str(stand.record))
    yield f'grep \'"event":"request"\' {record} | tail -n 1   # what the provider saw'
    yield f"{python} -m sallyport audit list --confdir {shlex.quote(str(stand.confdir))}"
