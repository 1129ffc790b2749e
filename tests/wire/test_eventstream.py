"""Event-stream frames survive every cutting, and no damaged frame is read."""

import contextlib
import itertools
import struct
from pathlib import Path
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sallyport.wire.errors import WireError
from sallyport.wire.eventstream import Frame, FrameReader, Header, HeaderType, encode, json_frame

CASSETTES = Path(__file__).parent.parent / "cassettes"
STREAMS = sorted(CASSETTES.glob("bedrock_*/*.bin"))

# Written by hand from the Smithy specification: one header a="b", payload "x".
VECTOR = bytes.fromhex("00000017 00000006 5e8131ce 01 61 07 0001 62 78 84aa2eaa")
EMPTY = bytes.fromhex("00000010 00000000 05c248eb 7d98c8ff")


def frames_of(data: bytes, cuts: list[int] | None = None) -> list[Frame]:
    reader = FrameReader()
    borders = [0, *sorted(cuts or []), len(data)]
    frames = [f for a, b in itertools.pairwise(borders) for f in reader.feed(data[a:b])]
    reader.end()
    return frames


def reason(data: bytes) -> str:
    with pytest.raises(WireError) as caught:
        frames_of(data)
    return caught.value.reason


def framed(headers: bytes, payload: bytes = b"", total: int | None = None) -> bytes:
    lengths = struct.pack(">II", total or 16 + len(headers) + len(payload), len(headers))
    body = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return body + struct.pack(">I", crc32(body))


integers = [
    (HeaderType.INT8, 7),
    (HeaderType.INT16, 15),
    (HeaderType.INT32, 31),
    (HeaderType.INT64, 63),
    (HeaderType.TIMESTAMP, 63),
]
values = st.one_of(
    st.sampled_from([(HeaderType.TRUE, True), (HeaderType.FALSE, False)]),
    *(st.integers(-(2**bits), 2**bits - 1).map(lambda v, t=kind: (t, v)) for kind, bits in integers),
    st.binary(max_size=40).map(lambda v: (HeaderType.BYTES, v)),
    st.text(max_size=40).map(lambda v: (HeaderType.STRING, v)),
    st.uuids().map(lambda v: (HeaderType.UUID, v)),
)
names = st.text(min_size=1, max_size=30)
headers = st.dictionaries(names, values, max_size=6).map(
    lambda d: tuple(Header(name, kind, value) for name, (kind, value) in d.items())
)


def test_the_vectors_are_read_and_written() -> None:
    header = Header("a", HeaderType.STRING, "b")
    assert frames_of(VECTOR) == [Frame(VECTOR, (header,), b"x")]
    assert encode((header,), b"x") == VECTOR
    assert frames_of(EMPTY) == [Frame(EMPTY, (), b"")]
    assert encode((), b"") == EMPTY


@given(
    st.lists(st.tuples(headers, st.binary(max_size=200)), max_size=4),
    st.lists(st.integers(0, 500), max_size=5),
)
def test_what_is_written_is_read_in_every_cutting(messages, cuts: list[int]) -> None:
    data = b"".join(encode(*message) for message in messages)
    frames = frames_of(data, [min(cut, len(data)) for cut in cuts])
    assert [(f.headers, f.payload) for f in frames] == messages
    assert b"".join(f.raw for f in frames) == data


@given(headers, st.binary(max_size=50), st.binary(max_size=50))
def test_another_payload_keeps_the_headers(given_headers, old: bytes, new: bytes) -> None:
    (frame,) = frames_of(encode(given_headers, old))
    assert frame.with_payload(old) == frame.raw
    (changed,) = frames_of(frame.with_payload(new))
    assert (changed.headers, changed.payload) == (given_headers, new)


@pytest.mark.parametrize("path", STREAMS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_recorded_stream_is_the_same_in_every_cutting(path: Path) -> None:
    data = path.read_bytes()
    if "bad_crc" in path.name:
        assert reason(data) == "eventstream.message_crc"
        return
    whole = frames_of(data)
    assert b"".join(f.raw for f in whole) == data
    assert all(encode(f.headers, f.payload) == f.raw == f.with_payload(f.payload) for f in whole)
    assert frames_of(data, list(range(len(data)))) == whole
    assert all(frames_of(data, [cut]) == whole for cut in range(len(data)))


def test_every_flipped_bit_is_noticed() -> None:
    data = json_frame("event", "chunk", b'{"bytes":""}')
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            assert reason(bytes(damaged)).startswith("eventstream.")


def test_every_truncation_is_noticed() -> None:
    data = json_frame("event", "chunk", b"{}")
    assert all(reason(data[:cut]) == "eventstream.truncated" for cut in range(1, len(data)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (framed(b"\x01a\x00" * 2), "eventstream.duplicate_header"),
        (framed(b"\x00\x00"), "eventstream.header"),
        (framed(b"\x01a\x0a"), "eventstream.header"),
        (framed(b"\x01a"), "eventstream.header"),
        (framed(b"\x05a"), "eventstream.header"),
        (framed(b"\x01a\x07\x00\x05b"), "eventstream.header"),
        (framed(b"\x01a\x07\x00"), "eventstream.header"),
        (framed(b"\x01a\x05abc"), "eventstream.header"),
        (framed(b"\x01a\x09abc"), "eventstream.header"),
        (framed(b"\x01\xff\x00"), "eventstream.header"),
        (framed(b"\x01a\x07\x00\x01\xff"), "eventstream.header"),
        (framed(b"", total=15), "eventstream.length"),
        (framed(b"", total=(24 << 20) + 17), "eventstream.length"),
        (framed(b"\x01a\x00" * 43_691), "eventstream.length"),
    ],
)
def test_an_odd_frame_is_refused(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_a_length_beyond_the_bound_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(WireError, match="length"):
        FrameReader().feed(framed(b"", total=(24 << 20) + 17)[:12])


@pytest.mark.parametrize(
    "header",
    [
        Header("", HeaderType.TRUE, True),
        Header("a" * 256, HeaderType.TRUE, True),
        Header("a", HeaderType.TRUE, False),
        Header("a", HeaderType.INT8, 128),
        Header("a", HeaderType.STRING, b"b"),
        Header("a", HeaderType.STRING, "b" * 65_536),
        Header("a", HeaderType.STRING, "\ud800"),
        Header("a", HeaderType.BYTES, UUID(int=1)),
    ],
)
def test_a_header_that_does_not_fit_is_not_written(header: Header) -> None:
    with pytest.raises(WireError):
        encode((header,), b"")


@given(st.binary(max_size=80), st.binary(max_size=40))
@settings(max_examples=500)
def test_noise_raises_nothing_but_wire_errors(header_bytes: bytes, noise: bytes) -> None:
    for data in (framed(header_bytes), framed(b"") + noise, noise):
        with contextlib.suppress(WireError):
            frames_of(data)


@given(st.lists(st.tuples(headers, st.binary(max_size=100)), max_size=3))
def test_botocore_reads_what_is_written(messages) -> None:
    oracle = pytest.importorskip("botocore.eventstream").EventStreamBuffer()
    messages = [
        (tuple(h for h in some if h.type is not HeaderType.TIMESTAMP), payload) for some, payload in messages
    ]
    oracle.add_data(b"".join(encode(*message) for message in messages))
    read = [(dict(event.headers), event.payload) for event in oracle]
    expected = [
        ({h.name: h.value.bytes if isinstance(h.value, UUID) else h.value for h in some}, payload)
        for some, payload in messages
    ]
    assert read == expected
