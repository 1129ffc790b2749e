"""Server-sent events are cut the same way however they arrive, and lose no byte."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.wire.errors import WireError
from sallyport.wire.sse import SseSplitter, read_piece

LINES = st.sampled_from(
    [
        b"",
        b"",
        b"data: {}",
        b"data:x",
        b"data",
        b"event: a",
        b": c",
        b"id: 1",
        "data: \u2028ü".encode(),
        b"foo: bar",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@st.composite
def streams(draw) -> bytes:
    lines = draw(st.lists(st.tuples(LINES, ENDS), max_size=25))
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + b"".join(a + b for a, b in lines)


def split(pieces: list[bytes]):
    splitter = SseSplitter()
    found = [p for piece in pieces for p in splitter.feed(piece)]
    try:
        rest = splitter.end()
    except WireError as error:
        return found, error.reason
    return found, rest


@given(streams(), st.randoms(use_true_random=False))
def test_every_cutting_gives_the_same_pieces(body: bytes, chance: random.Random):
    whole = split([body])
    assert split([body[i : i + 1] for i in range(len(body))]) == whole
    cuts = sorted(chance.randrange(len(body) + 1) for _ in range(5))
    assert split([body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]) == whole
    found, rest = whole
    if not isinstance(rest, str):
        assert b"".join(p.raw for p in found) + (rest.raw if rest else b"") == body


@given(streams())
def test_data_is_what_a_plain_reader_of_the_standard_finds(body: bytes):
    found, rest = split([body])
    data = [p.data for p in found if p.data is not None]
    text = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    expected, lines = [], []
    for line in text.split(b"\n")[:-1]:
        if not line and lines:
            expected.append(b"\n".join(lines))
            lines = []
        elif line == b"data":
            lines.append(b"")
        elif line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
    if not isinstance(rest, str) and rest and rest.data is not None:
        data.append(rest.data)
        expected += [b"\n".join(lines)] if lines else []
    assert data == expected


def test_data_is_replaced_line_by_line():
    piece = read_piece(b': c\r\nevent: e\r\ndata: {"a":\r\ndata:"b"}\r\nid: 7\r\n\r\n')
    assert piece.name == "e"
    assert piece.data == b'{"a":\n"b"}'
    assert piece.with_data(b'{"a":\n"c"}') == b': c\r\nevent: e\r\ndata: {"a":\r\ndata:"c"}\r\nid: 7\r\n\r\n'
    for data in (b"{}", b"1\n2\n3", b"1\r\n2"):
        with pytest.raises(WireError):
            piece.with_data(data)


def test_an_event_above_the_bound_is_refused_in_every_cutting():
    body = b"data: " + b"x" * 100 + b"\n\n"
    for step in (1, 7, 1000):
        splitter = SseSplitter(max_event_bytes=64)
        pieces = [body[i : i + step] for i in range(0, len(body), step)]
        with pytest.raises(WireError):
            list(map(splitter.feed, pieces))


def test_a_long_event_fed_byte_by_byte_takes_linear_time():
    splitter = SseSplitter()
    found = []
    for byte in b"data: " + b"x" * 200_000 + b"\n\n":
        found += splitter.feed(bytes([byte]))
    assert len(found) == 1


@pytest.mark.parametrize("rest", [b"event: a\n", b"event: a", b"da", b"id: 7"])
def test_an_end_inside_an_event_is_an_error(rest: bytes):
    splitter = SseSplitter()
    splitter.feed(rest)
    with pytest.raises(WireError):
        splitter.end()


@pytest.mark.parametrize("rest", [b": keep", b": keep\n", b"\n", b"\r", b"\xef\xbb\xbf"])
def test_an_end_after_a_comment_is_none(rest: bytes):
    splitter = SseSplitter()
    assert splitter.feed(rest) == []
    last = splitter.end()
    assert last is not None
    assert last.raw == rest
    assert splitter.end() is None
