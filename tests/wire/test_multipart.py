"""A form has one reading, or none."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.wire.errors import WireError
from sallyport.wire.mediatype import MediaType
from sallyport.wire.multipart import boundary_in, boundary_of, read_parts
from wire.samples import CASSETTES

SAMPLE = (CASSETTES / "openai_other/transcription.multipart").read_bytes()
BOUNDARY = b"----nwboundary"


def form(*parts: bytes, boundary: bytes = b"b", end: bytes = b"--b--\r\n") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end


def field(name: str = "a", content: bytes = b"x", more: str = "") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content


def disposed(parameters: str, content: bytes = b"x") -> bytes:
    """Return a form whose one part says what a client that is no browser says of it."""
    return form(f"Content-Disposition: form-data; {parameters}\r\n\r\n".encode() + content)


GOOD = form(field())


def reason(body: bytes) -> str:
    with pytest.raises(WireError) as caught:
        read_parts(body, b"b")
    return caught.value.reason


def test_the_sample_is_read() -> None:
    parts = read_parts(SAMPLE, boundary_of("multipart/form-data; boundary=----nwboundary"))
    assert boundary_in(SAMPLE) == BOUNDARY
    assert [p.name for p in parts] == ["model", "prompt", "timestamp_granularities[]", "file"]
    assert [SAMPLE[slice(*p.name_span)].decode() for p in parts] == [p.name for p in parts]
    assert SAMPLE[slice(*parts[1].content_span)] == b"Names: Marta Quill"
    assert (parts[3].filename, parts[3].media_type) == ("call.wav", MediaType("audio/x-wav"))
    assert SAMPLE[slice(*parts[3].filename_span)] == b"call.wav"
    assert parts[3].content_span[1] - parts[3].content_span[0] == 20


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
def test_any_content_without_the_boundary_comes_back(contents: list[bytes]) -> None:
    boundary = b"0123456789abcdef"
    body = form(
        *(field(f"f{i}", c) for i, c in enumerate(contents)), boundary=boundary, end=b"--" + boundary + b"--"
    )
    assert [body[slice(*p.content_span)] for p in read_parts(body, boundary)] == contents


NAMED = {
    "token": ("name=file", "file", None),
    "tokens": ("name=file; filename=a-1_%20.pdf", "file", "a-1_%20.pdf"),
    "token and quotes": ('name=file; filename="a b.pdf"', "file", "a b.pdf"),
    ".NET": ("name=file; filename=a.pdf; filename*=utf-8''a.pdf", "file", "a.pdf"),
    ".NET, spaces": ("name=file; filename=\"a b.pdf\"; filename*=utf-8''a%20b.pdf", "file", "a b.pdf"),
    ".NET, umlaut": (
        "name=file; filename=\"=?utf-8?B?w6QucGRm?=\"; filename*=utf-8''%C3%A4.pdf",
        "file",
        "ä.pdf",
    ),
    "encoded word alone": ('name=file; filename="=?UTF-8?b?w6QucGRm?="', "file", "ä.pdf"),
    "quotes, umlaut": ('name="file"; filename="ä.pdf"; filename*=UTF-8\'\'%c3%a4.pdf', "file", "ä.pdf"),
    "capitals": ("NAME=file; FileName=a.pdf", "file", "a.pdf"),
}


@pytest.mark.parametrize(("parameters", "name", "filename"), NAMED.values(), ids=NAMED.keys())
def test_names_without_quotes_and_filenames_that_are_said_twice_are_read(
    parameters: str, name: str, filename: str | None
) -> None:
    (part,) = read_parts(disposed(parameters), b"b")
    assert (part.name, part.filename) == (name, filename)


SAID = {
    "OkHttp 4": b'Content-Disposition: form-data; name="a"\r\nContent-Length: 2\r\n\r\nxy',
    "PHP": b'Content-Disposition: form-data; name="a"\r\nContent-Length: 0\r\n\r\n',
    "Apache": b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nxy',
    "Apache, file": field(more='; filename="f"').replace(
        b"\r\n\r\n", b"\r\nContent-Type: audio/wav\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    ),
}


@pytest.mark.parametrize("part", SAID.values(), ids=SAID.keys())
def test_a_part_may_say_its_length_and_that_nothing_is_encoded(part: bytes) -> None:
    (read,) = read_parts(form(part), b"b")
    assert form(part)[slice(*read.content_span)] == part.partition(b"\r\n\r\n")[2]
    if b"Content-Length" in part:
        assert read.length_span is not None
        assert int(form(part)[slice(*read.length_span)]) == len(part.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("end", [b"--b--", b"--b--\r\n", b"--b--\r\n\r\n"])
def test_a_form_may_end_with_or_without_empty_lines(end: bytes) -> None:
    assert [p.name for p in read_parts(form(field(), end=end), b"b")] == ["a"]


ODD = {
    "preamble": (b"x\r\n" + GOOD, "multipart.preamble"),
    "leading CRLF": (b"\r\n" + GOOD, "multipart.preamble"),
    "epilogue": (GOOD + b"hidden", "multipart.epilogue"),
    "more empty lines": (GOOD + b"\r\n\r\n", "multipart.epilogue"),
    "another form after": (GOOD + GOOD, "multipart.delimiter"),
    "no end": (form(field(), end=b""), "multipart.truncated"),
    "cut end": (form(field(), end=b"--b-"), "multipart.truncated"),
    "bare LF delimiter": (GOOD.replace(b"\r\n--b--", b"\n--b--"), "multipart.delimiter"),
    "all LF": (GOOD.replace(b"\r\n", b"\n"), "multipart.delimiter"),
    "boundary inside content": (form(field(content=b"x --b y")), "multipart.delimiter"),
    "longer boundary inside": (form(field(content=b"x\r\n--bb\r\ny")), "multipart.delimiter"),
    "padding after boundary": (GOOD.replace(b"--b\r\n", b"--b \r\n"), "multipart.delimiter"),
    "empty": (b"", "multipart.preamble"),
    "no disposition": (form(b"Content-Type: text/plain\r\n\r\nx"), "multipart.disposition"),
    "no headers": (form(b"\r\n\r\nx"), "multipart.header"),
    "no blank line": (form(b'Content-Disposition: form-data; name="a"'), "multipart.header"),
    "transfer encoding": (form(b"Content-Transfer-Encoding: base64\r\n" + field()), "multipart.header"),
    "transfer encoding that moves letters": (
        form(b"Content-Transfer-Encoding: quoted-printable\r\n" + field()),
        "multipart.header",
    ),
    "two transfer encodings": (
        form(b"Content-Transfer-Encoding: binary, base64\r\n" + field()),
        "multipart.header",
    ),
    "transfer encoding twice": (
        form(b"Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: base64\r\n" + field()),
        "multipart.header",
    ),
    "shorter length": (form(b"Content-Length: 1\r\n" + field(content=b"xy")), "multipart.header"),
    "longer length": (form(b"Content-Length: 3\r\n" + field(content=b"xy")), "multipart.header"),
    "length with a sign": (form(b"Content-Length: +1\r\n" + field()), "multipart.header"),
    "length with a nought": (form(b"Content-Length: 01\r\n" + field()), "multipart.header"),
    "length twice": (form(b"Content-Length: 1\r\nContent-Length: 1\r\n" + field()), "multipart.header"),
    "no length": (form(b"Content-Length:\r\n" + field()), "multipart.header"),
    "unknown header": (form(b"X-Note: hidden\r\n" + field()), "multipart.header"),
    "header twice": (form(b'Content-Disposition: form-data; name="b"\r\n' + field()), "multipart.header"),
    "folded header": (form(field().replace(b"; name", b";\r\n name")), "multipart.header"),
    "space before colon": (form(field().replace(b"tion:", b"tion :")), "multipart.header"),
    "attachment": (form(field().replace(b"form-data", b"attachment")), "multipart.disposition"),
    "extended filename": (form(field(more="; filename*=utf-8''x")), "multipart.disposition"),
    "two filenames": (form(field(more='; filename="a"; filename="b"')), "multipart.disposition"),
    "name beyond a token": (disposed("name=a b"), "multipart.disposition"),
    "name of a list, bare": (disposed("name=a[]"), "multipart.disposition"),
    "name half in quotes": (disposed('name="a"b'), "multipart.disposition"),
    "quote that never ends": (disposed('name="a'), "multipart.disposition"),
    "quotes of PHP": (disposed("name='a'"), "multipart.disposition"),
    "apostrophe in a token": (disposed("name=a; filename=it's"), "multipart.disposition"),
    "no name": (disposed("name="), "multipart.disposition"),
    "name not ASCII, bare": (disposed("name=ä"), "multipart.disposition"),
    "name twice": (disposed("name=a; name=b"), "multipart.disposition"),
    "extended name": (disposed("name=a; name*=utf-8''b"), "multipart.disposition"),
    "extended filename alone": (disposed("name=a; filename*=utf-8''x"), "multipart.disposition"),
    "extended filename first": (disposed("name=a; filename*=utf-8''x; filename=x"), "multipart.disposition"),
    "two extended": (
        disposed("name=a; filename=x; filename*=utf-8''x; filename*=utf-8''x"),
        "multipart.disposition",
    ),
    "filenames that differ": (disposed("name=a; filename=x; filename*=utf-8''y"), "multipart.disposition"),
    "filenames that differ in case": (
        disposed("name=a; filename=x; filename*=utf-8''X"),
        "multipart.disposition",
    ),
    "percent signs that one side decodes": (
        disposed("name=a; filename=\"%41\"; filename*=utf-8''A"),
        "multipart.disposition",
    ),
    "encoded word that differs": (
        disposed("name=a; filename=\"=?utf-8?B?eQ==?=\"; filename*=utf-8''x"),
        "multipart.disposition",
    ),
    "encoded word that is none": (
        disposed("name=a; filename=\"=?utf-8?B?e?=\"; filename*=utf-8''x"),
        "multipart.disposition",
    ),
    "line end in an encoded word": (
        disposed("name=a; filename=\"=?utf-8?B?YQ0KYg==?=\"; filename*=utf-8''a%0D%0Ab"),
        "multipart.disposition",
    ),
    "encoded word as a name": (disposed('name="=?utf-8?B?bW9kZWw=?="'), "multipart.disposition"),
    "encoded word in a name": (disposed('name="mo=?utf-8?Q?d?=el"'), "multipart.disposition"),
    "encoded word with more": (
        disposed('name=a; filename="=?utf-8?B?eQ==?=.txt"'),
        "multipart.disposition",
    ),
    "two encoded words": (
        disposed('name=a; filename="=?utf-8?B?eQ==?= =?utf-8?B?eQ==?="'),
        "multipart.disposition",
    ),
    "encoded word of another kind": (disposed('name=a; filename="=?utf-8?Q?y?="'), "multipart.disposition"),
    "encoded word of another charset": (
        disposed('name=a; filename="=?latin1?B?eQ==?="'),
        "multipart.disposition",
    ),
    "encoded word that is none, alone": (
        disposed('name=a; filename="=?utf-8?B?e?="'),
        "multipart.disposition",
    ),
    "encoded word, not UTF-8": (disposed('name=a; filename="=?utf-8?B?/w==?="'), "multipart.utf8"),
    "line end in an encoded word alone": (
        disposed('name=a; filename="=?utf-8?B?YQ0KYg==?="'),
        "multipart.disposition",
    ),
    "encoded word in an encoded word": (
        disposed('name=a; filename="=?utf-8?B?PT91dGYtOD9CP2VRPT0/PQ==?="'),
        "multipart.disposition",
    ),
    "encoded word that is said again as it stands": (
        disposed("name=a; filename=\"=?utf-8?B?eQ==?=\"; filename*=utf-8''%3D%3Futf-8%3FB%3FeQ%3D%3D%3F%3D"),
        "multipart.disposition",
    ),
    "other charset": (disposed("name=a; filename=x; filename*=latin-1''x"), "multipart.disposition"),
    "language": (disposed("name=a; filename=x; filename*=utf-8'en'x"), "multipart.disposition"),
    "continued": (disposed("name=a; filename*0=x; filename*1=y"), "multipart.disposition"),
    "percent sign alone": (disposed("name=a; filename=x; filename*=utf-8''x%"), "multipart.disposition"),
    "extended, not UTF-8": (disposed("name=a; filename=x; filename*=utf-8''%FF"), "multipart.utf8"),
    "another parameter": (disposed("name=a; filename=x; size=1"), "multipart.disposition"),
    "comment": (disposed("name=a (b)"), "multipart.disposition"),
    "escaped quote": (form(field(name='a\\"b')), "multipart.disposition"),
    "name not UTF-8": (form(field().replace(b'"a"', b'"\xff"')), "multipart.utf8"),
    "nested": (form(b"Content-Type: multipart/mixed; boundary=c\r\n" + field()), "multipart.nested"),
    "part charset": (form(b"Content-Type: text/plain; charset=utf-16\r\n" + field()), "charset.other"),
    "long head": (form(field(name="a" * 9000)), "multipart.header"),
    "many parts": (form(*[field()] * 1001), "multipart.parts"),
}


@pytest.mark.parametrize(("body", "expected"), ODD.values(), ids=ODD.keys())
def test_anything_odd_is_refused(body: bytes, expected: str) -> None:
    assert reason(body) == expected


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="a b"',
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/mixed; boundary=a",
        f"multipart/form-data; boundary={'a' * 71}",
        'multipart/form-data; boundary="ä"',
    ],
)
def test_a_content_type_without_one_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(WireError):
        boundary_of(content_type)


@pytest.mark.parametrize("body", [b"", b"--", b"x--b\r\n", b"--b\n", b"--\r\n", b"--" + b"b" * 71 + b"\r\n"])
def test_a_body_without_a_boundary_is_refused(body: bytes) -> None:
    with pytest.raises(WireError, match="boundary"):
        boundary_in(body)


def test_mutations_raise_nothing_but_wire_errors() -> None:
    chance = random.Random(7)
    for _ in range(1500):
        data = bytearray(SAMPLE)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.choice(
                [b"", b"\r\n", b"--" + BOUNDARY, b'"', bytes([chance.randrange(256)])]
            )
        with contextlib.suppress(WireError):
            read_parts(bytes(data), BOUNDARY)
