"""Recorded flows: the gateway's captures, mitmproxy's own files (`mitmdump -w`) and HAR, found once and read again.

Only their places are kept, in the order in which the requests began. A place is a byte offset of a flow file, or the
number of an entry of a HAR file.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from mitmproxy import exceptions, http
from mitmproxy.io import FlowReader, tnetstring

from sallyport.errors import OperatorError
from sallyport.replay.heads import Head, heads
from sallyport.replay.order import Order
from sallyport.replay.ruling import Place
from sallyport.state.captures import MAGIC, SUFFIX, CaptureFile, is_capture
from sallyport.state.masterkey import MasterKeys

_CHUNK = 1024
_YEAR_9999 = 253_370_764_800
_DAMAGED = (
    exceptions.FlowReadException,
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError),
)
"""What mitmproxy raises of a state that is none."""


class Unreadable(ValueError):
    """What stands at a place is no flow, although it looked like one."""


class Index:
    """The flows of files in the order they began. Close it, or use it in `with`.

    left_out: what is no request with an answer or a refusal, by what it is instead. cut: files that end inside a
    flow, with the offset from which they cannot be read.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = [str(file) for file in files]
        self._order = Order()
        self.left_out: dict[str, int] = {}
        self.cut: list[Place] = []

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Place]:
        return (Place(self._files[file], at) for file, at in self._order)

    def add(self, seconds: float, file: int, at: int) -> None:
        self._order.add(seconds, file, at)

    def leave_out(self, what: str, count: int = 1) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + count

    def close(self) -> None:
        self._order.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def find_flows(
    files: Sequence[Path], keys: MasterKeys, progress: Callable[[int], None] = lambda done: None
) -> Index:
    """Find all flows of files. Raises OperatorError for what is none or cannot be read. keys: open captures."""
    found = Index(files)
    try:
        for number, path in enumerate(files):
            for at, seconds in _begun(path, keys, found):
                found.add(seconds, number, at)
                if len(found) % _CHUNK == 0:
                    progress(len(found))
    except BaseException:
        found.close()
        raise
    progress(len(found))
    return found


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files of paths; a folder stands for the captures in it, at least one. Raises OperatorError."""
    return [each for path in paths for each in (_captures_in(path) if path.is_dir() else [path])]


def digest(files: Sequence[Path]) -> str:
    """Return what files are told by, whatever their names: SHA-256 of the sorted hex digests of each, one a line.

    The same as `sha256sum FILES | cut -c-64 | sort | sha256sum`. Raises OperatorError.
    """
    lines = []
    for path in files:
        try:
            with path.open("rb") as file:
                lines.append(hashlib.file_digest(file, "sha256").hexdigest() + "\n")
        except OSError as error:
            raise _unread(path, error) from None
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _captures_in(folder: Path) -> list[Path]:
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        todo = "Name the folder captures/ of a gateway's confdir, or the files themselves"
        raise OperatorError(str(folder), f"no capture (*{SUFFIX}) is in this folder", todo)
    return files


def _begun(path: Path, keys: MasterKeys, found: Index) -> Iterator[tuple[int, float]]:
    """Yield place and beginning of each flow of a file that can be replayed; note the rest."""
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
            if is_capture(head):
                yield from _captured(path, keys, found)
                return
            if not head and path.match(f"capture-*{SUFFIX}"):
                found.cut.append(
                    Place(str(path), 0)
                )  # the gateway's own have a head, or were never on the disk
                return
            if _is_har(file):
                for at, flow in enumerate(_entries(str(path), path.stat().st_mtime_ns)):
                    yield at, _moment(flow.request.timestamp_start)
                return
            file.seek(0)
            yield from _dumped(path, file, found)
    except OSError as error:
        raise _unread(path, error) from None


def _unread(path: Path, error: OSError) -> OperatorError:
    return OperatorError(str(path), f"it cannot be read ({error.strerror})", "Name a flow or HAR file")


def _captured(path: Path, keys: MasterKeys, found: Index) -> Iterator[tuple[int, float]]:
    file = CaptureFile(path, keys)
    for at, flow in file.records():
        if flow is None:
            found.cut.append(Place(str(path), at))
            continue
        for _, head in heads(io.BytesIO(flow)):
            yield from _kept(at, head, found)
    if file.forgotten:
        found.leave_out("forgotten", file.forgotten)


@lru_cache(maxsize=64)
def _opened(name: str, keys: MasterKeys) -> CaptureFile:
    return CaptureFile(Path(name), keys)


def _dumped(path: Path, file: BinaryIO, found: Index) -> Iterator[tuple[int, float]]:
    for at, head in heads(file):
        if head is None and at == 0:
            raise _no_flows(path)
        if head is None:
            found.cut.append(Place(str(path), at))
        yield from _kept(at, head, found)


def _kept(at: int, head: Head | None, found: Index) -> Iterator[tuple[int, float]]:
    """Yield a flow that has a request; note any other."""
    if head is None:
        return
    if head.sort != "http":
        found.leave_out(head.sort)
    elif not head.requests:
        found.leave_out("no_request")
    else:
        yield at, _moment(head.began)


def _moment(value: object) -> float:
    """Return seconds since 1970 as a file has them, 0 for what is no time."""
    return float(value) if isinstance(value, int | float) and 0 <= value < _YEAR_9999 else 0.0


def _no_flows(path: Path) -> OperatorError:
    return OperatorError(
        str(path),
        "it holds no recorded flows",
        "Name a file of `mitmdump -w`, or a HAR file that a browser or a proxy wrote",
    )


def load_flow(place: Place, keys: MasterKeys) -> http.HTTPFlow:
    """Read one flow. Raises Unreadable if it is none, OperatorError if its file is not there any more."""
    path = Path(place.file)
    try:
        with path.open("rb") as file:
            if is_capture(file.read(len(MAGIC))):
                flow = http.HTTPFlow.from_state(tnetstring.loads(_opened(place.file, keys).read(place.at)))
            elif _is_har(file):
                entry = _entries(place.file, path.stat().st_mtime_ns)[place.at]
                flow = http.HTTPFlow.from_state(entry.get_state())
                flow.id = f"{path.name}#{place.at}"  # an entry has no id of its own
            else:
                file.seek(place.at)
                flow = next(iter(FlowReader(file).stream()))
        if not isinstance(flow, http.HTTPFlow):
            raise Unreadable
        return completed(flow)
    except OSError:
        raise OperatorError(
            f"{place.file}, flow at {place.at}", "it cannot be read any more", "Leave the files as they are"
        ) from None
    except (StopIteration, *_DAMAGED):
        raise Unreadable from None


def completed(flow: http.HTTPFlow) -> http.HTTPFlow:
    """Return a flow with the server name of its TLS, where the recording left it out, and a host to speak of."""
    flow.request.timestamp_start = _moment(flow.request.timestamp_start)
    if flow.response is not None:
        flow.response.timestamp_end = _moment(flow.response.timestamp_end) or None
    if (
        flow.request.scheme in ("https", "wss") and not flow.client_conn.sni
    ):  # a HAR of a browser names sockets so
        flow.client_conn.sni = flow.request.pretty_host
        flow.client_conn.tls = True
    if not flow.request.authority and "host" not in flow.request.headers:
        flow.request.headers["host"] = flow.request.pretty_host
    return flow


def _is_har(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith(b"{")


@lru_cache(maxsize=2)
def _entries(name: str, changed_ns: int) -> tuple[http.HTTPFlow, ...]:
    """Return the entries of a HAR file. Raises OperatorError. changed_ns: tells one state of it from another."""
    path = Path(name)
    try:
        flows = FlowReader(io.BytesIO(path.read_bytes().removeprefix(b"\xef\xbb\xbf").lstrip())).stream()
        return tuple(flow for flow in flows if isinstance(flow, http.HTTPFlow))
    except exceptions.FlowReadException:
        raise _no_flows(path) from None
