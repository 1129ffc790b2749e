"""All cases: every trick on every value in a few places, every place with every value as it is, every cut."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from evasion.benign import benign
from evasion.carriers import Call, Carrier, bodies, numbers, outside, plain, texts
from evasion.payloads import Payload, payloads
from evasion.splits import cuts, splits
from evasion.tricks import APART, ENCODED, LAYERS, Trick, apart, characters, encodings, fits, layered

BENIGN = "benign look-alikes"


@dataclass(frozen=True)
class Case:
    """tier: 0 must leave as it is, 1 and 2 must not leave. core: what is searched for. depth: decodes to undo."""

    name: str
    row: str
    tier: int
    call: Call
    core: str = ""
    depth: int = 2


def cases() -> list[Case]:
    """Return every case, in an order that does not change."""
    found = [*_disguised(), *_placed(), *_split(), *_numbers()]
    found += [Case(f"benign/{name}", BENIGN, 0, call) for name, call in benign()]
    assert len({c.name for c in found}) == len(found), "two cases have one name"
    return found


def _disguised() -> Iterator[Case]:
    """Yield every trick on every value: in a prompt always, elsewhere for one value each, chosen by name."""
    places = [
        c for c in texts() if c.name in ("tool-result", "anthropic-text", "gemini-text", "unknown-member")
    ]
    for trick in (*characters(), *encodings(), *layered(), *apart()):
        for number, payload in enumerate(payloads()):
            disguised = _disguise(trick, payload)
            if disguised is None:
                continue
            name = f"{trick.row}/{trick.name}/{payload.name}"
            core = payload.core
            yield Case(f"{name}/user", trick.row, trick.tier, plain().put(disguised), core)
            if trick.row in (LAYERS, APART):
                continue
            place = places[(zlib.crc32(trick.name.encode()) + number) % len(places)]
            yield Case(f"{name}/{place.name}", trick.row, trick.tier, place.put(disguised), core)


def _disguise(trick: Trick, payload: Payload) -> str | None:
    inner = payload.phrase if trick.whole or trick.row in (ENCODED, LAYERS) else payload.value
    if not fits(trick, payload.name, inner, payload.exact):
        return None
    disguised = trick.disguise(inner)
    if disguised == inner:
        return None
    # A number that words make one stands behind them, unless they are disguised with it.
    frame = "Please look: {}" if inner == payload.phrase != payload.value else payload.frame
    return frame.format(disguised)


def _placed() -> Iterator[Case]:
    for carrier in (*texts(), *outside(), *bodies()):
        for payload in payloads():
            if payload.name == "order" and not _commands(carrier):
                continue
            text = payload.frame.format(payload.value)
            yield Case(
                f"{carrier.row}/{carrier.name}/{payload.name}",
                carrier.row,
                carrier.tier,
                carrier.put(text),
                payload.core,
            )


def _commands(carrier: Carrier) -> bool:
    """Say whether a command counts there: not in what the operator or the model wrote, nor in a header."""
    return (
        carrier.override
        and not carrier.flat
        and carrier.row not in ("member names", "query, path, headers, cookies")
    )


def _split() -> Iterator[Case]:
    for carrier in splits():
        for payload in payloads():
            if payload.name == "order" and not carrier.override:
                continue
            for name, text in cuts(payload.frame.format(payload.value), payload.value):
                yield Case(
                    f"split/{carrier.name}/{name}/{payload.name}",
                    carrier.row,
                    2,
                    carrier.put(text),
                    payload.core,
                    1,
                )


def _numbers() -> Iterator[Case]:
    card = next(p for p in payloads() if p.name == "plain-card")
    for carrier in numbers():
        yield Case(f"numbers/{carrier.name}", carrier.row, 1, carrier.put(card.value), card.core)
