"""How far a receiver has got: the last number of every writer's chain, in a file that is never half written."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import func, select

from sallyport.audit.checkpoints import writers
from sallyport.audit.events import Event
from sallyport.audit.naming import told
from sallyport.audit.schema import events, from_row
from sallyport.audit.store import Store
from sallyport.errors import OperatorError
from sallyport.files import PUBLIC, make_folder, own_as_folder, write_file
from sallyport.sql.failures import cure_of, name_of

type Positions = dict[str, int]
"""By gateway: the seq of the last event that was taken."""


class Cursor:
    """The positions of one receiver. path: its file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Positions | None:
        """Return the positions, None where nothing was forwarded yet. Raises OperatorError."""
        try:
            said = json.loads(self.path.read_text("utf-8"))
            return {str(name): int(seq) for name, seq in said["positions"].items()}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise OperatorError(
                str(self.path),
                "it cannot be read as the place a receiver has got to",
                "Restore it, or remove it: everything is then sent again",
            ) from None

    def write(self, positions: Mapping[str, int]) -> None:
        """Note the positions; when this returns they are durable. Raises OperatorError."""
        noted = json.dumps({"positions": dict(sorted(positions.items()))}) + "\n"
        try:
            make_folder(self.path.parent)
            write_file(self.path, noted.encode(), PUBLIC)
        except OSError as error:
            raise _unwritable(self.path, error) from None


def behind(store: Store, positions: Mapping[str, int], limit: int) -> list[tuple[Event, int]]:
    """Return events behind the positions with their seq, about limit, those of one gateway in their order.

    A gateway's numbers have no gap, so that nothing which commits late is passed over. A gateway that writes much
    does not keep the others waiting. Raises OperatorError.
    """
    found: list[tuple[Event, int]] = []
    with store.whole() as connection:
        names = writers(connection)
        for name in names:
            query = select(events).where(events.c.gateway == name, events.c.seq > positions.get(name, 0))
            share = query.order_by(events.c.seq).limit(max(1, limit // len(names)))
            rows = told(list(connection.execute(share).mappings()), store.names)
            found += [(from_row(row), int(row["seq"])) for row in rows]
    return found


def is_behind(store: Store, positions: Mapping[str, int]) -> str:
    """Return a gateway whose events end before what was taken of them, "" if there is none. Raises OperatorError.

    Then it is another store, or an older state of it: what it goes on with has numbers that were taken already.
    """
    with store.whole() as connection:
        for name in writers(connection):
            last = connection.scalar(select(func.max(events.c.seq)).where(events.c.gateway == name))
            if last is not None and last < positions.get(name, 0):
                return name
    return ""


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Keep a second process from sending to the same receiver. Raises OperatorError."""
    import fcntl

    try:
        make_folder(path.parent)
        held = path.with_suffix(".lock").open("w")
        own_as_folder(held.fileno(), path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    with held as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OperatorError(
                path.stem,
                "another process forwards under this name",
                "Stop it, or take another name",
                exit_code=3,
            ) from None
        yield


def _unwritable(path: Path, error: OSError) -> OperatorError:
    what = f"how far the receiver has got cannot be noted ({name_of(error)})"
    return OperatorError(str(path), what, cure_of(error, "See who owns its folder"), exit_code=3)
