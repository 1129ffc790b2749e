"""Logs of several writers with checkpoints, for tests of what proves them."""

from pathlib import Path

from sqlalchemy import Connection

from sallyport.audit.checkpoints import Checkpoint, make_checkpoint
from sallyport.audit.events import DecisionRecord, Event, EventKind
from sallyport.audit.exporting import StoreSource
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.audit.verifier import Report, Signed, verify
from sallyport.decision import Action, Mode

WRITERS = ("gw-1", "gw-2", "cli", "zürich")
DECISIONS = (DecisionRecord("secrets", Action.ALLOW, "secrets.clean", Mode.ENFORCE, 40),)


def some_events(writer: str, count: int, name: str) -> list[Event]:
    """Return events that fill texts, numbers and decisions."""
    return [
        Event(
            kind=EventKind.ADMITTED if number % 2 else EventKind.STARTED,
            gateway=writer,
            exchange=f"{writer}-{name}-{number}" if number % 2 else "",
            principal='Zoë \\ "quoted" \u2028',
            confidence=number / 7,
            model="gpt-4o",
            request_bytes=number,
            decisions=DECISIONS if number % 3 else (),
        )
        for number in range(count)
    ]


def checkpointed(store: Store, signer: Signer) -> Checkpoint:
    made = make_checkpoint(store._at, signer)
    assert made is not None
    return made


def filled(
    store: Store, signer: Signer, *, checkpoints: int = 4, each: int = 3, tail: int = 2
) -> list[Checkpoint]:
    """Write some events of every writer before each checkpoint, and some behind the last."""
    made = []
    for number in range(checkpoints):
        for writer in WRITERS:
            store.write(some_events(writer, each, f"c{number}"))
        made.append(checkpointed(store, signer))
    for writer in WRITERS[:2]:
        store.write(some_events(writer, tail, "tail"))
    return made


def signed(made: list[Checkpoint]) -> list[Signed]:
    return [Signed(one.number, one.body, one.signature) for one in made]


def verified(store: Store, signer: Signer, copy: list[Checkpoint] | None = None) -> Report:
    with store.whole() as connection:
        return verified_through(connection, signer, copy)


def verified_through(connection: Connection, signer: Signer, copy: list[Checkpoint] | None = None) -> Report:
    return verify(StoreSource(connection), keys=[signer.public_key], copy=signed(copy or []))


def assert_sound(store: Store, signer: Signer | None = None) -> Report:
    with store.whole() as connection:
        report = verify(StoreSource(connection), keys=[signer.public_key] if signer else [])
    assert report.is_sound, report.findings
    return report


def path_of_url(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///").partition("?")[0])
