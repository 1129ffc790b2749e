"""An encoded body is decoded whole and in bounded memory, or refused."""

import contextlib
import gzip
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sallyport.wire.coding import decode_answer, decode_body, is_coded
from sallyport.wire.errors import WireError

LIMIT = 64 << 20
TEXT = b'{"text": "Parcel NW-48213 left the Bremen hub today."}' * 3


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-15)
    return encoder.compress(data) + encoder.flush()


def zstd(data: bytes, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def zstd_streamed(data: bytes) -> bytes:
    encoder = zstandard.ZstdCompressor().compressobj()
    parts = [encoder.compress(data[:100]), encoder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
    return b"".join([*parts, encoder.compress(data[100:]), encoder.flush()])


ENCODERS = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstd),
    ("zstd", zstd_streamed),
    ("zstd", lambda data: zstd(data, write_checksum=True)),
]
IDS = ["gzip", "zlib", "raw_deflate", "br", "zstd", "zstd_streamed", "zstd_checksum"]


def decode(body: bytes, coding: str | None, limit_bytes: int = LIMIT, max_ratio: int = 100) -> bytes:
    return decode_body(body, coding, limit_bytes=limit_bytes, max_ratio=max_ratio)


def reason(body: bytes, coding: str | None, **bounds: int) -> str:
    with pytest.raises(WireError) as caught:
        decode(body, coding, **bounds)
    return caught.value.reason


@pytest.mark.parametrize(("coding", "encode"), ENCODERS, ids=IDS)
@given(data=st.binary(max_size=5000), repeat=st.integers(1, 100))
@settings(max_examples=60)
def test_what_was_encoded_comes_back(coding: str, encode, data: bytes, repeat: int) -> None:
    whole = b"t" + data * repeat
    assert decode(encode(whole), coding) == whole


@pytest.mark.parametrize(("coding", "encode"), ENCODERS, ids=IDS)
@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 131072, 3_000_000])
def test_sizes_around_the_pieces_come_back(coding: str, encode, size: int) -> None:
    whole = bytes(i * i % 251 for i in range(997)) * (size // 997 + 1)
    assert decode(encode(whole[:size]), coding, max_ratio=1_000_000) == whole[:size]


@pytest.mark.parametrize("coding", [None, "identity", "Identity", " identity "])
def test_a_plain_body_passes_untouched(coding: str | None) -> None:
    assert decode(TEXT, coding) is TEXT
    assert decode(b"", coding) == b""


def test_names_are_case_insensitive() -> None:
    assert decode(gzip.compress(TEXT), "GZip") == TEXT


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("x-gzip", "coding.unknown"),
        ("compress", "coding.unknown"),
        ("rot13", "coding.unknown"),
        ("", "coding.unknown"),
        (",gzip", "coding.unknown"),
        ("gzip,", "coding.unknown"),
        ("gzip;q=1", "coding.unknown"),
        ("gzip, gzip", "coding.duplicate"),
        ("identity,identity", "coding.duplicate"),
        ("gzip, br", "coding.stacked"),
        ("identity, gzip", "coding.stacked"),
    ],
)
def test_any_header_but_one_known_coding_is_refused(header: str, expected: str) -> None:
    assert reason(gzip.compress(TEXT), header) == expected


def gzip_with(flags: int, extra: bytes) -> bytes:
    plain = gzip.compress(TEXT)
    return plain[:3] + bytes([flags]) + plain[4:10] + extra + plain[10:]


def skippable(kind: int = 0x50) -> bytes:
    return bytes([kind]) + b"\x2a\x4d\x18" + (6).to_bytes(4, "little") + b"hidden"


def zlib_that_reads_as_a_stored_block() -> bytes:
    return b"\x78\x9c" + b"\x00" + bytes([0x9C ^ 0xFF, 0xFF]) + b"x" * 200


def zstd_frame(window_descriptor: int) -> bytes:
    """An empty frame that asks for a window (RFC 8878 section 3.1.1.1.2)."""
    return b"\x28\xb5\x2f\xfd\x00" + bytes([window_descriptor]) + b"\x01\x00\x00"


TRICKS = {
    "second gzip member": (gzip.compress(TEXT) + gzip.compress(b"x"), "gzip", "coding.trailing"),
    "bytes after gzip": (gzip.compress(TEXT) + b"\x00", "gzip", "coding.trailing"),
    "bytes after zlib": (zlib.compress(TEXT) + b"x", "deflate", "coding.trailing"),
    "bytes after raw deflate": (raw_deflate(TEXT) + b"x", "deflate", "coding.trailing"),
    "bytes after brotli": (brotli.compress(TEXT) + b"x", "br", "coding.broken"),
    "bytes after zstd": (zstd(TEXT) + b"x", "zstd", "coding.trailing"),
    "a slice of bytes after gzip": (gzip.compress(TEXT) + b"x" * 200_000, "gzip", "coding.trailing"),
    "a slice of bytes after brotli": (brotli.compress(TEXT) + b"x" * 200_000, "br", "coding.broken"),
    "second zstd frame": (zstd(TEXT) + zstd(TEXT), "zstd", "coding.trailing"),
    "skippable zstd frame after": (zstd(TEXT) + skippable(), "zstd", "coding.trailing"),
    "skippable zstd frame before": (skippable() + zstd(TEXT), "zstd", "coding.hidden"),
    "gzip FEXTRA": (gzip_with(4, b"\x06\x00hidden"), "gzip", "coding.hidden"),
    "gzip FNAME": (gzip_with(8, b"hidden\x00"), "gzip", "coding.hidden"),
    "gzip FCOMMENT": (gzip_with(16, b"hidden\x00"), "gzip", "coding.hidden"),
    "gzip FHCRC": (gzip_with(2, b"hi"), "gzip", "coding.hidden"),
    "gzip reserved flag": (gzip_with(0x80, b""), "gzip", "coding.hidden"),
    "zlib preset dictionary": (b"\x78\x20" + b"abcd", "deflate", "coding.hidden"),
    "deflate with two readings": (zlib_that_reads_as_a_stored_block(), "deflate", "coding.ambiguous"),
    "zstd window over 8 MiB": (zstd_frame(14 << 3), "zstd", "coding.bomb"),
    "millions of empty zstd blocks": (zstd_frame(0)[:6] + bytes(9_000_000), "zstd", "coding.bomb"),
    "gzip said, plain sent": (TEXT, "gzip", "coding.lies"),
    "gzip said, zstd sent": (zstd(TEXT), "gzip", "coding.lies"),
    "zstd said, gzip sent": (gzip.compress(TEXT), "zstd", "coding.lies"),
    "deflate said, gzip sent": (gzip.compress(TEXT), "deflate", "coding.broken"),
    "br said, plain sent": (TEXT, "br", "coding.broken"),
    "gzip without a header": (gzip.compress(TEXT), None, "coding.lies"),
    "zstd without a header": (zstd(TEXT), None, "coding.lies"),
    "skippable zstd without a header": (skippable(0x5F), "identity", "coding.lies"),
    "gzip inside gzip": (gzip.compress(gzip.compress(TEXT)), "gzip", "coding.lies"),
    "zstd inside brotli": (brotli.compress(zstd(TEXT)), "br", "coding.lies"),
    "wrong gzip checksum": (gzip.compress(TEXT)[:-8] + b"\0" * 8, "gzip", "coding.broken"),
    "wrong zlib checksum": (zlib.compress(TEXT)[:-4] + b"\0" * 4, "deflate", "coding.broken"),
    "wrong zstd checksum": (zstd(TEXT, write_checksum=True)[:-4] + b"\0" * 4, "zstd", "coding.broken"),
}


@pytest.mark.parametrize(("body", "coding", "expected"), TRICKS.values(), ids=TRICKS.keys())
def test_a_trick_is_refused(body: bytes, coding: str | None, expected: str) -> None:
    assert reason(body, coding) == expected


def test_a_zstd_window_of_8_mib_is_read() -> None:
    assert decode(zstd_frame(13 << 3), "zstd") == b""


@pytest.mark.parametrize(("coding", "encode"), ENCODERS, ids=IDS)
def test_every_truncation_is_refused(coding: str, encode) -> None:
    body = encode(TEXT)
    for cut in range(len(body)):
        assert reason(body[:cut], coding) in ("coding.truncated", "coding.broken")


@pytest.mark.parametrize(("coding", "encode"), ENCODERS, ids=IDS)
@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=150)
def test_a_damaged_body_is_refused_or_read_but_never_crashes(coding: str, encode, at: int, flip: int) -> None:
    body = bytearray(encode(TEXT * 5))
    body[at % len(body)] ^= flip
    with contextlib.suppress(WireError):
        decode(bytes(body), coding)


@given(body=st.binary(max_size=300), coding=st.sampled_from(["gzip", "deflate", "br", "zstd", None]))
@settings(max_examples=500)
def test_noise_raises_nothing_but_wire_errors(body: bytes, coding: str | None) -> None:
    prefixes = {"gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "deflate": b"\x78\x9c", "zstd": b"\x28\xb5\x2f\xfd"}
    for candidate in (body, prefixes.get(str(coding), b"") + body):
        with contextlib.suppress(WireError):
            decode(candidate, coding, limit_bytes=1 << 20)


@pytest.mark.parametrize(("coding", "encode"), [*ENCODERS, (None, bytes)], ids=[*IDS, "identity"])
def test_the_limit_is_the_last_byte_allowed(coding: str | None, encode) -> None:
    body = encode(TEXT)
    assert decode(body, coding, limit_bytes=len(TEXT)) == TEXT
    expected = "coding.bomb" if coding else "coding.too_large"
    assert reason(body, coding, limit_bytes=len(TEXT) - 1) == expected


@pytest.mark.parametrize(("coding", "encode"), ENCODERS, ids=IDS)
def test_the_ratio_counts_only_above_one_mebibyte(coding: str, encode) -> None:
    assert decode(encode(b" " * (1 << 20)), coding, max_ratio=1) == b" " * (1 << 20)
    assert reason(encode(b" " * ((1 << 20) + 1)), coding, max_ratio=1) == "coding.bomb"


LONG = b"x" * (0xFEFE - len(TEXT)) + TEXT
"""Stored by zlib, its head is one of raw deflate as well."""

ANSWERS = {
    "x-gzip": (gzip.compress(TEXT), "x-gzip"),
    "X-GZip": (gzip.compress(TEXT), " X-GZip"),
    "two members": (gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:]), "gzip"),
    "an empty member": (gzip.compress(b"") + gzip.compress(TEXT), "gzip"),
    "many members": (b"".join(gzip.compress(bytes([byte])) for byte in TEXT), "x-gzip"),
    "a long member": (gzip.compress(LONG[: -len(TEXT)], 0) + gzip.compress(TEXT), "gzip"),
    "a name in the head": (gzip_with(8, b"a.json\x00"), "gzip"),
    "a deflate of two kinds": (zlib.compress(LONG, 0), "deflate"),
    "a second member with a comment": (gzip.compress(b"") + gzip_with(16, b"by us\x00"), "gzip"),
    "two frames": (zstd(TEXT[:9]) + zstd(TEXT[9:]), "zstd"),
    "an empty frame": (zstd(b"") + zstd(TEXT), "zstd"),
    "frames of all kinds": (zstd(TEXT[:9], write_checksum=True) + zstd_streamed(TEXT[9:]), "zstd"),
    "many frames": (b"".join(zstd(bytes([byte])) for byte in TEXT), "zstd"),
    "a skippable frame behind": (zstd(TEXT) + b"\x5f\x2a\x4d\x18\x03\0\0\0abc", "zstd"),
    "a skippable frame first": (b"\x50\x2a\x4d\x18\0\0\0\0" + zstd(TEXT), "zstd"),
}


@pytest.mark.parametrize(("body", "coding"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_read_as_clients_read_it_and_a_request_is_not(body: bytes, coding: str) -> None:
    expected = LONG if len(body) > 60_000 else TEXT
    assert decode_answer(body, coding, limit_bytes=LIMIT) == (expected, False)
    assert reason(body, coding.strip().lower()).startswith("coding.")


@pytest.mark.parametrize("coding", ["gzip", "x-gzip"])
def test_an_answer_of_many_members_stays_within_its_bounds(coding: str) -> None:
    member = gzip.compress(b"x" * 1000)
    for body, limit in ((member * 20, 19_999), (gzip.compress(b"") * 5000, LIMIT), (bomb("gzip") * 2, LIMIT)):
        with pytest.raises(WireError):
            decode_answer(body, coding, limit_bytes=limit)
    assert decode_answer(member * 20, coding, limit_bytes=20_000) == (b"x" * 20_000, False)


def test_an_answer_of_many_frames_stays_within_its_bounds() -> None:
    frame, empty = zstd(b"x" * 1000), b"\x50\x2a\x4d\x18\0\0\0\0"
    blocks = zstd(b"")[:-3] + b"\0\0\0" * 40_000 + b"\1\0\0"
    for body, limit in ((frame * 20, 19_999), (empty * 5000, LIMIT), (blocks * 2, LIMIT)):
        with pytest.raises(WireError):
            decode_answer(body, "zstd", limit_bytes=limit)
    assert decode_answer(frame * 20, "zstd", limit_bytes=20_000) == (b"x" * 20_000, False)
    assert decode_answer(blocks, "zstd", limit_bytes=LIMIT) == (b"", True)


@pytest.mark.parametrize(
    "rest",
    [b"\0", zstd(TEXT)[:-1], b"\x50\x2a\x4d\x18\x09\0\0\0abc", b"\x50\x2a\x4d\x18\0", gzip.compress(TEXT)],
)
def test_of_frames_of_which_one_cannot_be_read_nothing_is(rest: bytes) -> None:
    with pytest.raises(WireError):
        decode_answer(zstd(TEXT) + rest, "zstd", limit_bytes=LIMIT)


@pytest.mark.parametrize("coding", ["", " ", "none", "None", "identity", "Identity "])
def test_an_answer_whose_header_names_no_coding_has_none(coding: str) -> None:
    assert decode_answer(TEXT, coding, limit_bytes=LIMIT) == (TEXT, True)
    assert not is_coded(coding)
    with pytest.raises(WireError):
        decode_answer(gzip.compress(TEXT), coding, limit_bytes=LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "none, gzip", "gzip, none", "compress", "x", "identity, none"])
def test_what_a_client_may_undo_is_a_coding(coding: str) -> None:
    assert is_coded(coding)
    with pytest.raises(WireError):
        decode_answer(TEXT, coding, limit_bytes=LIMIT)


_REST = {"a zero": b"\0", "letters": b"x" * 20, "most of a member": gzip.compress(TEXT)[:-1]}


@pytest.mark.parametrize("rest", _REST.values(), ids=_REST.keys())  # the bytes of gzip hold the second
def test_an_answer_of_which_a_part_cannot_be_read_is_not_read(rest: bytes) -> None:
    with pytest.raises(WireError):
        decode_answer(gzip.compress(TEXT) + rest, "gzip", limit_bytes=LIMIT)


@pytest.mark.parametrize(("coding", "encode"), ENCODERS, ids=IDS)
def test_of_an_answer_that_a_request_might_be_nothing_is_read_otherwise(coding: str, encode) -> None:
    assert decode_answer(encode(TEXT), coding, limit_bytes=LIMIT) == (TEXT, True)
    assert decode_answer(TEXT, None, limit_bytes=LIMIT) == (TEXT, True)


ATTACK = """
import re, sys, threading
from pathlib import Path
from sallyport.wire.coding import decode_body
from sallyport.wire.errors import WireError

def peak_kib():
    # Not ru_maxrss: that one is inherited from the parent over fork and exec.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def attack():
    try:
        decode_body(body, sys.argv[1], limit_bytes=64 << 20, max_ratio=int(sys.argv[2]))
    except WireError as error:
        reasons.append(error.reason)

body = sys.stdin.buffer.read()
reasons = []
before = peak_kib()
thread = threading.Thread(target=attack)
thread.start()
thread.join()
print(reasons[0], peak_kib() - before)
"""


@cache
def bomb(coding: str, size: int = 300_000_000) -> bytes:
    piece = bytes(1_000_000)
    if coding == "br":
        encoder = brotli.Compressor(quality=1)
        return b"".join([*(encoder.process(piece) for _ in range(size // len(piece))), encoder.finish()])
    if coding == "zstd":
        encoder = zstandard.ZstdCompressor().compressobj()
    else:
        encoder = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    return b"".join([*(encoder.compress(piece) for _ in range(size // len(piece))), encoder.flush()])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's peak memory of a process")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize(
    ("max_ratio", "bound_mib"), [(100, 48), (10_000_000, 96)], ids=["by the ratio", "by the limit"]
)
def test_a_bomb_of_300_megabytes_stays_within_its_bound(coding: str, max_ratio: int, bound_mib: int) -> None:
    """The ratio stops it at 1 MiB or 100 times its size, the limit at 64 MiB; decoders add their windows."""
    body = bomb(coding)
    assert len(body) < 400_000
    command = [sys.executable, "-c", ATTACK, coding, str(max_ratio)]
    python_path = {"PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run(command, input=body, capture_output=True, check=True, env=python_path)
    met, grown_kib = run.stdout.decode().split()
    assert met == "coding.bomb"
    assert int(grown_kib) < bound_mib << 10
