"""An HTTP content-coding is undone whole and within bounds, or the body is refused.

mitmproxy's own decoder returns the first gzip member only, hands names to Python's codec registry and
has no limit (a 306 kB body made a process grow by 600 MB), so it is never asked. Here every byte of the
input must belong to the one coding, and the output comes in pieces that are counted as they come.

What was scanned is the decoded body: forward that, without the header. A coding always has room that
its decoder skips (brotli metadata blocks, deflate padding), and only decoding removes it.

An answer is read as clients read it, which is more than a request may be; where they differ on it, what was read
has to leave in its place.

Sources: RFC 9110 section 8.4, RFC 1952 (gzip), RFC 1950 (zlib), RFC 7932 (brotli), RFC 8878 (zstd),
RFC 9659 (zstd window of at most 8 MiB over HTTP).
"""

import io
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import partial

import brotli  # type: ignore[import-untyped]
import zstandard

from sallyport.wire.errors import WireError

MAX_RATIO = 100
_RATIO_FREE_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_ZSTD_WINDOW_BYTES = 8 << 20
_MAX_MEMBERS = 1 << 12
_ZSTD_HEAD_BYTES = 18  # magic number and the longest head of a frame
_MAX_ZSTD_BLOCKS = 1 << 16  # an honest writer fills blocks of 128 KiB; millions of empty ones only cost time
_NO_CODING = ("identity", "none", "")
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"


def decode_body(
    body: bytes, content_encoding: str | None, *, limit_bytes: int, max_ratio: int = MAX_RATIO
) -> bytes:
    """Undo the content-coding of a body.

    content_encoding: the header's value as it came, several headers joined with ", "; None if absent.
    limit_bytes: the most bytes the decoded body may have. max_ratio: decoded to encoded bytes, looked at
    once the output passes 1 MiB. Memory stays below limit_bytes plus about 16 MiB (decoder windows).
    Holds no state and gives up the GIL while it decodes: meant for a thread.

    Raises WireError coding.unknown, coding.duplicate, coding.stacked, coding.too_large, coding.bomb,
    coding.truncated, coding.trailing, coding.hidden (header fields that carry data), coding.ambiguous,
    coding.broken, or coding.lies (the bytes are not what the header says, or are still compressed).
    """
    coding = _one_coding(content_encoding)
    if coding == "identity":
        if len(body) > limit_bytes:
            raise WireError("coding.too_large")
        decoded = body
    else:
        decoded = _collect(_pieces(coding, body), len(body), limit_bytes, max_ratio)
    if _looks_compressed(decoded):
        raise WireError("coding.lies", "byte 0")
    return decoded


def decode_answer(body: bytes, content_encoding: str | None, *, limit_bytes: int) -> tuple[bytes, bool]:
    """Undo the content-coding of an answer; say too whether no client reads it in another way.

    Beyond what decode_body reads: x-gzip, several members of gzip one behind the other (RFC 1952, 2.2), the fields of
    their heads that no decoder returns, as zlib a deflate that could be of either kind, and several frames of zstd,
    skippable ones among them (RFC 8878, 3.1). Bounds are the same. Raises what decode_body raises.
    """
    if not is_coded(content_encoding):
        content_encoding = None
    try:
        return decode_body(body, content_encoding, limit_bytes=limit_bytes), True
    except WireError as error:
        reading = _READINGS.get((content_encoding or "").strip(" \t").lower())
        if reading is None or not body or error.reason == "coding.bomb":
            raise
        with suppress(WireError):
            decoded = _collect(reading(body), len(body), limit_bytes, MAX_RATIO)
            if not _looks_compressed(decoded):
                return decoded, False
        raise


def is_coded(content_encoding: str | None) -> bool:
    """Say whether an answer's header names a coding. Servers write "none", or nothing, to keep proxies from coding a
    stream, and every client reads what comes with it as it is.
    """
    return content_encoding is not None and content_encoding.strip(" \t").lower() not in _NO_CODING


def _one_coding(header: str | None) -> str:
    """Return the one coding a header names. Aliases such as "x-gzip" are unknown: servers differ on them."""
    if header is None:
        return "identity"
    names = [name.strip(" \t").lower() for name in header.split(",")]
    if any(name not in ("identity", "gzip", "deflate", "br", "zstd") for name in names):
        raise WireError("coding.unknown")
    if len(names) > 1:
        raise WireError("coding.duplicate" if len(set(names)) == 1 else "coding.stacked")
    return names[0]


def _looks_compressed(data: bytes) -> bool:
    return data.startswith((_GZIP_MAGIC, _ZSTD_MAGIC)) or _is_skippable(data)


def _is_skippable(data: bytes) -> bool:
    return len(data) >= 4 and 0x50 <= data[0] <= 0x5F and data[1:4] == _ZSTD_SKIPPABLE


def _collect(pieces: Iterator[bytes], encoded_bytes: int, limit_bytes: int, max_ratio: int) -> bytes:
    ratio_bytes = max(_RATIO_FREE_BYTES, encoded_bytes * max_ratio)
    # BytesIO gives its buffer away without a copy, so that the peak stays at one body.
    out = io.BytesIO()
    for piece in pieces:
        if out.tell() + len(piece) > min(limit_bytes, ratio_bytes):
            raise WireError("coding.bomb")
        out.write(piece)
    return out.getvalue()


def _pieces(coding: str, body: bytes) -> Iterator[bytes]:
    if not body:
        raise WireError("coding.truncated", "byte 0")
    match coding:
        case "gzip":
            _check_gzip_header(body)
            return _inflate(body, zlib.MAX_WBITS | 16)
        case "deflate":
            return _inflate(body, zlib.MAX_WBITS if _is_zlib(body) else -zlib.MAX_WBITS)
        case "br":
            return _unbrotli(body)
        case _:
            _check_zstd_frame(body)
            return _unzstd(body)


def _check_gzip_header(body: bytes) -> None:
    if not body.startswith(_GZIP_MAGIC[: len(body)]):
        raise WireError("coding.lies", "byte 0")
    if len(body) < 10:
        raise WireError("coding.truncated", f"byte {len(body)}")
    # Only FTEXT (bit 0) may be set. FEXTRA, FNAME and FCOMMENT are text that no decoder returns;
    # FHCRC and the reserved bits have no honest writer in this traffic.
    if body[3] & ~1:
        raise WireError("coding.hidden", "byte 3")


def _is_zlib(body: bytes) -> bool:
    """Tell zlib from raw deflate; HTTP's "deflate" means both in the field (RFC 9110 section 8.4.1.2)."""
    if len(body) < 2 or body[0] & 0x0F != 8 or body[0] >> 4 > 7 or (body[0] << 8 | body[1]) % 31:
        return False
    if body[1] & 0x20:
        raise WireError("coding.hidden", "byte 1")  # a preset dictionary: content that is not here
    # Read as raw deflate these bytes open a stored block: length, then its complement. Where that holds
    # too, two servers could read two different bodies.
    if len(body) >= 5 and int.from_bytes(body[1:3], "little") ^ int.from_bytes(body[3:5], "little") == 0xFFFF:
        raise WireError("coding.ambiguous", "byte 0")
    return True


def _inflate(body: bytes, wbits: int) -> Iterator[bytes]:
    end = yield from _inflate_one(body, wbits)
    if end != len(body):
        raise WireError("coding.trailing", f"byte {end}")


def _members(body: bytes) -> Iterator[bytes]:
    """Undo members of gzip up to the last byte."""
    at = 0
    for _ in range(_MAX_MEMBERS):
        at = yield from _inflate_one(body, zlib.MAX_WBITS | 16, at)
        if at == len(body):
            return
    raise WireError("coding.bomb", f"byte {at}")


def _inflate_one(body: bytes, wbits: int, fed: int = 0) -> Generator[bytes, None, int]:
    """Undo one deflate from a place on; return where it ends."""
    decoder = zlib.decompressobj(wbits)
    try:
        while not decoder.eof:
            # The decoder copies what it has not consumed, so it is fed slices: n bytes cost n, not n squared.
            rest = decoder.unconsumed_tail or body[fed : fed + _PIECE_BYTES]
            fed += 0 if decoder.unconsumed_tail else len(rest)
            piece = decoder.decompress(rest, _PIECE_BYTES)
            if not (rest or piece or decoder.eof):
                raise WireError("coding.truncated", f"byte {len(body)}")
            yield piece
    except zlib.error:
        raise WireError("coding.broken") from None
    return fed - len(decoder.unused_data)


def _unbrotli(body: bytes) -> Iterator[bytes]:
    decoder = brotli.Decompressor()
    fed = 0
    try:
        while not decoder.is_finished():
            rest = body[fed : fed + _PIECE_BYTES] if decoder.can_accept_more_data() else b""
            fed += len(rest)
            piece: bytes = decoder.process(rest, output_buffer_limit=_PIECE_BYTES)
            if not (rest or piece or decoder.is_finished()):
                raise WireError("coding.truncated", f"byte {len(body)}")
            yield piece
    except brotli.error:
        # The library does not tell bytes after the end from bytes that are wrong.
        raise WireError("coding.broken") from None
    if fed != len(body):
        raise WireError("coding.trailing", f"byte {fed}")


def _check_zstd_frame(body: bytes) -> None:
    """Refuse what is not one frame, from the first byte to the last."""
    if not body.startswith(_ZSTD_MAGIC[: len(body)]):
        raise WireError("coding.hidden" if _is_skippable(body) else "coding.lies", "byte 0")
    at, _ = _zstd_frame_end(body, 0, _MAX_ZSTD_BLOCKS)
    if at != len(body):
        raise WireError(
            "coding.truncated" if at > len(body) else "coding.trailing", f"byte {min(at, len(body))}"
        )


def _zstd_frame_end(body: bytes, start: int, most_blocks: int) -> tuple[int, int]:
    """Walk the blocks of a frame (RFC 8878 section 3.1.1); return where it ends and how many it has."""
    head = body[start : start + _ZSTD_HEAD_BYTES]
    try:
        frame = zstandard.get_frame_parameters(head)
        at = start + zstandard.frame_header_size(head)
    except zstandard.ZstdError:
        short = len(body) - start < _ZSTD_HEAD_BYTES
        raise WireError("coding.truncated" if short else "coding.broken", f"byte {start}") from None
    if frame.dict_id:
        raise WireError("coding.hidden", f"byte {start + 4}")
    if frame.window_size > _ZSTD_WINDOW_BYTES:
        raise WireError("coding.bomb", f"byte {start + 4}")
    last, blocks = False, 0
    while not last:
        blocks += 1
        if blocks > most_blocks:
            raise WireError("coding.bomb", f"byte {at}")
        header = int.from_bytes(body[at : at + 3], "little")
        if at + 3 > len(body):
            raise WireError("coding.truncated", f"byte {len(body)}")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == 1 else size)
    return at + (4 if frame.has_checksum else 0), blocks


def _frames(body: bytes) -> Iterator[bytes]:
    """Undo frames of zstd up to the last byte; what stands in skippable ones no client gets."""
    at, blocks = 0, 0
    for _ in range(_MAX_MEMBERS):
        start = at
        if _is_skippable(body[at : at + 4]):
            if len(body) < at + 8:
                raise WireError("coding.truncated", f"byte {len(body)}")
            at += 8 + int.from_bytes(body[at + 4 : at + 8], "little")
        else:
            at, more = _zstd_frame_end(body, at, _MAX_ZSTD_BLOCKS - blocks)
            blocks += more
        if at > len(body):
            raise WireError("coding.truncated", f"byte {len(body)}")
        if not _is_skippable(body[start : start + 4]):
            yield from _unzstd(body[start:at])
        if at == len(body):
            return
    raise WireError("coding.bomb", f"byte {at}")


def _unzstd(body: bytes) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    try:
        with decoder.stream_reader(body, read_size=_PIECE_BYTES) as reader:
            while piece := reader.read(_PIECE_BYTES):
                yield piece
    except zstandard.ZstdError:
        raise WireError("coding.broken") from None


_READINGS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _members,
    "x-gzip": _members,
    "zstd": _frames,
    "deflate": partial(_inflate, wbits=zlib.MAX_WBITS),
}
"""How else clients read an answer of a coding."""
