"""Recorded flows: the gateway's captures, mitmproxy's own files (`mitmdump -w`) and HAR, found once and read again.

Only the places are kept in memory, in the order in which the requests began. A place is a byte offset of a
flow file, or the number of an entry of a HAR file.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from mitmproxy import exceptions, http
from mitmproxy.io import FlowReader, tnetstring

from sallyport.errors import OperatorError
from sallyport.state.captures import MAGIC, SUFFIX, CaptureFile, is_capture
from sallyport.state.masterkey import MasterKeys

_CHUNK = 1024
_YEAR_9999 = 253_370_764_800


@dataclass(frozen=True, slots=True)
class Place:
    """Where one flow is. at: byte offset, or number of a HAR entry."""

    file: str
    at: int


@dataclass(slots=True)
class Index:
    """The flows of files in the order they began.

    left_out: what is no request with an answer or a refusal, by what it is instead. cut: files that end inside a
    flow, with the offset from which they cannot be read.
    """

    places: list[Place] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    cut: list[Place] = field(default_factory=list)


def find_flows(
    paths: Sequence[Path], keys: MasterKeys, progress: Callable[[int], None] = lambda done: None
) -> Index:
    """Find all flows of files. Raises OperatorError for what is none or cannot be read.

    A folder stands for the captures in it, at least one. keys: open captures.
    """
    found = Index()
    paths = [each for path in paths for each in (_captures_in(path) if path.is_dir() else [path])]
    began: list[tuple[float, int, int]] = []
    files = [str(path) for path in paths]
    for number, path in enumerate(paths):
        for at, seconds in _begun(path, keys, found):
            began.append((seconds, number, at))
            if len(began) % _CHUNK == 0:
                progress(len(began))
    began.sort()
    found.places = [Place(files[number], at) for _, number, at in began]
    progress(len(began))
    return found


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
            if is_capture(file.read(len(MAGIC))):
                yield from _captured(path, keys, found)
                return
            if _is_har(file):
                for at, flow in enumerate(_entries(str(path), path.stat().st_mtime_ns)):
                    yield at, flow.request.timestamp_start
                return
            file.seek(0)
            yield from _dumped(path, file, found)
    except OSError as error:
        raise OperatorError(
            str(path), f"it cannot be read ({error.strerror})", "Name a flow or HAR file"
        ) from None


def _captured(path: Path, keys: MasterKeys, found: Index) -> Iterator[tuple[int, float]]:
    for at, flow in CaptureFile(path, keys).records():
        if flow is None:
            found.cut.append(Place(str(path), at))
        else:
            state: Any = tnetstring.loads(flow)
            yield at, float(state["request"]["timestamp_start"])


@lru_cache(maxsize=64)
def _opened(name: str, keys: MasterKeys) -> CaptureFile:
    return CaptureFile(Path(name), keys)


def _dumped(path: Path, file: BinaryIO, found: Index) -> Iterator[tuple[int, float]]:
    while True:
        at = file.tell()
        try:
            state: Any = tnetstring.load(file)
        except (ValueError, TypeError, IndexError, OverflowError, MemoryError, RecursionError) as error:
            if str(error) != "not a tnetstring: empty file":
                if at == 0:
                    raise _no_flows(path) from None
                found.cut.append(Place(str(path), at))
            return
        if not isinstance(state, dict) or "type" not in state:
            raise _no_flows(path)
        if state["type"] != "http":
            _leave_out(found, str(state["type"]))
        elif state.get("websocket"):
            _leave_out(found, "websocket")
        elif not isinstance(state.get("request"), dict):
            _leave_out(found, "no_request")
        else:
            yield at, _moment(state["request"].get("timestamp_start"))


def _moment(value: object) -> float:
    """Return seconds since 1970 as a file has them, 0 for what is no time."""
    return float(value) if isinstance(value, int | float) and 0 <= value < _YEAR_9999 else 0.0


def _leave_out(found: Index, what: str) -> None:
    found.left_out[what] = found.left_out.get(what, 0) + 1


def _no_flows(path: Path) -> OperatorError:
    return OperatorError(
        str(path),
        "it holds no recorded flows",
        "Name a file of `mitmdump -w`, or a HAR file that a browser or a proxy wrote",
    )


def load_flow(place: Place, keys: MasterKeys) -> http.HTTPFlow:
    """Read one flow. Raises OperatorError if it is not there any more."""
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
    except (OSError, StopIteration, IndexError, exceptions.FlowReadException):
        raise OperatorError(
            f"{place.file}, flow at {place.at}", "it cannot be read any more", "Leave the files as they are"
        ) from None
    if not isinstance(flow, http.HTTPFlow):
        raise TypeError("an index names HTTP flows only")
    return _completed(flow)


def _completed(flow: http.HTTPFlow) -> http.HTTPFlow:
    """Return a flow with the server name of its TLS, where the recording left it out, and a host to speak of."""
    flow.request.timestamp_start = _moment(flow.request.timestamp_start)
    if flow.response is not None:
        flow.response.timestamp_end = _moment(flow.response.timestamp_end) or None
    if flow.request.scheme == "https" and not flow.client_conn.sni:
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
