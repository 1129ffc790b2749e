"""Batch files and forms: every line and every part is read, and only what is named is changed."""

import contextlib
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sallyport.decision import Edit, Refusal
from sallyport.exchange import Attachment, Operation, Surface
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError
from wire.samples import CASSETTES, call, feed

BATCH = (CASSETTES / "openai_other/batch_input.jsonl").read_bytes()
FORM = (CASSETTES / "openai_other/transcription.multipart").read_bytes()
FORM_TYPE = "multipart/form-data; boundary=----nwboundary"
QUESTION = "Where is parcel NW-48213 for Marta Quill (marta.quill@example.com, +1-202-555-0147)?"

batch = DIALECTS["openai_batch"]
form = DIALECTS["openai_form"]


def read_form(body: bytes, content_type: str = FORM_TYPE):
    return form.read_request(body, call(content_type=content_type))


def upload(content: bytes, purpose: str = "batch", filename: str = "a.jsonl") -> bytes:
    head = "--b\r\nContent-Disposition: form-data; name="
    return (
        f'{head}"purpose"\r\n\r\n{purpose}\r\n{head}"file"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + b"%s\r\n--b--\r\n" % content


def read_upload(body: bytes):
    return read_form(body, "multipart/form-data; boundary=b")


def reason(read, *args) -> str:
    with pytest.raises(WireError) as caught:
        read(*args)
    return caught.value.reason


def test_every_line_of_a_batch_is_read_by_the_endpoint_it_names() -> None:
    request = batch.read_request(BATCH, call(Operation.BATCH))
    asked = [s for s in request.segments if s.surface is Surface.USER]
    assert [(s.at, s.text) for s in asked] == [(f"/{i}/body/messages/0/content", QUESTION) for i in (0, 1)]
    assert (request.model, request.operation) == ("gpt-4.1-mini", Operation.BATCH)


def test_a_batch_of_two_models_is_refused() -> None:
    body = BATCH.replace(b"gpt-4.1-mini", b"gpt-9", 1)
    assert reason(batch.read_request, body, call(Operation.BATCH)) == "batch.models"


def test_an_edit_of_a_batch_changes_one_line() -> None:
    assert batch.edit(BATCH, []) == BATCH
    first, second = BATCH.splitlines(keepends=True)
    edits = [Edit("/1/body/messages/0/content", 0, 5, "x\n"), Edit("/1/custom_id", 0, 0, "y")]
    assert batch.edit(BATCH, edits) == first + second.replace(b"Where", b"x\\n").replace(
        b'"row-2', b'"yrow-2'
    )


@pytest.mark.parametrize("at", ["", "/", "/0", "/9/custom_id", "/x/custom_id", "/00/custom_id", "/0/nothing"])
def test_a_pointer_that_names_no_text_of_a_batch_is_refused(at: str) -> None:
    assert reason(batch.edit, BATCH, [Edit(at, 0, 0, "x")]) == "edit.pointer"


def test_a_broken_line_is_refused_with_its_number() -> None:
    with pytest.raises(WireError, match=r"json\.\w+ at /1 "):
        batch.read_request(BATCH.replace(b'"row-2"', b'"row-2'), call(Operation.BATCH))


def test_blank_lines_are_kept_and_counted() -> None:
    body = b"\r\n" + BATCH + b"\n"
    request = batch.read_request(body, call(Operation.BATCH))
    assert request.segments[0].at == "/1/custom_id"
    assert batch.edit(body, [Edit("/1/custom_id", 0, 5, "z")]) == body.replace(b"row-1", b"z")


TRAINING = [
    ({"messages": [{"role": "system", "content": "m"}]}, Surface.SYSTEM),
    ({"prompt": "m", "completion": "c"}, Surface.USER),
    ({"input": {"messages": [{"role": "user", "content": "m"}]}}, Surface.USER),
    ({"preferred_output": [{"role": "assistant", "content": "m"}]}, Surface.ASSISTANT),
    ({"body": {"input": "m"}, "url": "/v1/embeddings"}, Surface.DOCUMENT),
    ({"body": {"input": "m"}, "url": "/v1/responses"}, Surface.USER),
    ({"body": {"deep": {"m": ["m"]}}, "url": "/v1/unheard"}, Surface.DOCUMENT),
]


@pytest.mark.parametrize(("line", "surface"), TRAINING)
def test_every_kind_of_line_is_read(line: dict, surface: Surface) -> None:
    request = batch.read_request(json.dumps(line).encode(), call(Operation.BATCH))
    assert [s.surface for s in request.segments if s.text == "m" and s.at[-2:] != "~k"] == [surface]


def test_the_results_of_a_batch_are_read() -> None:
    chat = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "m"}}]}
    lines = [
        {"id": "1", "custom_id": "row-1", "response": {"status_code": 200, "body": chat}, "error": None},
        {"id": "2", "custom_id": "row-2", "response": None, "error": {"code": "x", "message": "m"}},
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    assert [s.at for s in batch.read_response(body, 200).segments] == [
        "/0/response/body/choices/0/message/content",
        "/1/error/message",
    ]


def test_a_form_gives_its_texts_and_its_file() -> None:
    request = read_form(FORM)
    texts = {s.at: (s.surface, s.text) for s in request.segments}
    assert texts["/1/content"] == (Surface.USER, "Names: Marta Quill")
    assert texts["/3/filename"] == (Surface.DOCUMENT, "call.wav")
    assert request.attachments == (Attachment("/3/content", "audio/x-wav", 20),)
    assert request.model == "gpt-4o-transcribe"


def test_an_upload_is_read_line_by_line() -> None:
    body = upload(BATCH)
    request = read_upload(body)
    assert [s.at for s in request.segments if s.text == QUESTION] == [
        f"/1/content/{i}/body/messages/0/content" for i in (0, 1)
    ]
    assert request.model == "gpt-4.1-mini"
    changed = form.edit(body, [Edit("/1/content/1/body/messages/0/content", 0, len(QUESTION), "m")])
    assert changed == upload(
        BATCH.splitlines(keepends=True)[0]
        + BATCH.splitlines(keepends=True)[1].replace(QUESTION.encode(), b"m")
    )


@pytest.mark.parametrize(
    ("purpose", "filename"), [("batch", "a.txt"), ("fine-tune", "a"), ("user_data", "a.JSONL")]
)
def test_what_says_it_is_json_lines_must_be(purpose: str, filename: str) -> None:
    assert reason(read_upload, upload(b"{broken", purpose, filename)).startswith("json.")


def test_a_text_file_is_a_text_whatever_it_is_called() -> None:
    request = read_upload(upload(b"my card", "user_data", "photo.png"))
    assert [s.text for s in request.segments] == ["user_data", "photo.png", "my card"]
    request = read_upload(upload(b"\xff\xd8", "user_data", "photo.png"))
    assert [a.size for a in request.attachments] == [2]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (FORM.replace(b'"prompt"', b'"model"'), "form.duplicate"),
        (FORM.replace(b"Names", b"\xff"), "form.binary"),
        (FORM.replace(b'"prompt"', b'"stream"'), "multipart.type"),
    ],
)
def test_a_form_with_two_readings_is_refused(body: bytes, expected: str) -> None:
    assert reason(read_form, body) == expected


@given(data=st.data())
@settings(max_examples=60)
def test_an_edit_of_a_form_changes_the_named_strings_only(data: st.DataObject) -> None:
    texts = {s.at: s.text for s in read_form(FORM).segments}
    edits = []
    for at in data.draw(st.lists(st.sampled_from(sorted(texts)), unique=True)):
        start = data.draw(st.integers(0, len(texts[at])))
        end = data.draw(st.integers(start, len(texts[at])))
        new = "A" + data.draw(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9))
        new = new if at.endswith("content") else "".join(c for c in new if c not in '"\\')
        edits.append(Edit(at, start, end, new))
        texts[at] = texts[at][:start] + new + texts[at][end:]
    changed = form.edit(FORM, edits)
    assert {s.at: s.text for s in read_form(changed).segments} == texts
    assert edits or changed == FORM


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([Edit("/1/content", 0, 0, "\r\n------nwboundary\r\n")], "edit.boundary"),
        ([Edit("/1/content", 0, 0, "------nwboundary")], "edit.boundary"),
        ([Edit("/1/content", 0, 99, "")], "edit.range"),
        ([Edit("/1/content", 0, 3, ""), Edit("/1/content", 2, 4, "")], "edit.overlap"),
        ([Edit("/1/content", 2, 2, "a"), Edit("/1/content", 2, 2, "b")], "edit.overlap"),
        ([Edit("/1/content", 0, 0, "\ud800")], "edit.surrogate"),
        ([Edit("/1/filename", 0, 0, "x")], "edit.pointer"),
        ([Edit("/9/content", 0, 0, "x")], "edit.pointer"),
        ([Edit("/1/other", 0, 0, "x")], "edit.pointer"),
        ([Edit("/1", 0, 0, "x")], "edit.pointer"),
        ([Edit("/3/content", 0, 0, "x"), Edit("/3/content/0/a", 0, 0, "x")], "edit.pointer"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edits: list[Edit], expected: str) -> None:
    assert reason(form.edit, FORM, edits) == expected


def test_a_quote_in_a_new_name_does_not_end_it() -> None:
    changed = form.edit(FORM, [Edit("/3/filename", 0, 4, 'a"; filename="b\r\n')])
    assert [s.text for s in read_form(changed).segments if s.at == "/3/filename"] == [
        "a%22; filename=%22b%0D%0A.wav"
    ]


def test_an_answer_may_be_json_or_plain_text() -> None:
    response = form.read_response(b'{"text":"m","usage":{"input_tokens":3,"output_tokens":2}}', 200)
    assert [(s.at, s.text) for s in response.segments] == [("/text", "m")]
    assert (response.usage.input, response.usage.output) == (3, 2)
    subtitles = "1\n00:00 --> 00:01\nÜber m\n".encode()
    assert [s.at for s in form.read_response(subtitles, 200).segments] == [""]
    assert form.edit(subtitles, [Edit("", 18, 23, "")]) == subtitles.replace("Über ".encode(), b"")
    assert form.read_response(b'{"error":{"message":"m","code":"c"}}', 400).error == "c"


def test_a_streamed_transcript_is_read() -> None:
    delta = b'data: {"type":"transcript.text.delta","delta":"ab"}\n\n'
    done = b'data: {"type":"transcript.text.done","text":"ab"}\n\n'
    events = feed(form, "text/event-stream", [delta + done])
    assert [(d.text, d.whole) for e in events for d in e.deltas] == [("ab", False), ("ab", True)]
    assert [(e.closes, e.finish_reason) for e in events] == [((), None), (("*",), "stop")]


DOTNET = (
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=purpose\r\n\r\n"
    b"user_data\r\n--b\r\nContent-Disposition: form-data; name=file; filename=%s; filename*=utf-8''%s\r\n\r\n"
    b"Write to ann@example.com.\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("plain", "extended", "wanted", "new"),
    [
        (b"ann.pdf", b"ann.pdf", Edit("/1/filename", 0, 3, "<N_1>"), (b'"<N_1>.pdf"', b"%3CN_1%3E.pdf")),
        (b"ann.pdf", b"ann.pdf", Edit("/1/filename", 0, 3, "bob"), (b"bob.pdf", b"bob.pdf")),
        (
            b'"an n.pdf"',
            b"an%20n.pdf",
            Edit("/1/filename", 0, 1, '"ä'),
            (b'"%22\xc3\xa4n n.pdf"', b"%2522%C3%A4n%20n.pdf"),
        ),
        (b'"=?utf-8?B?w6QucGRm?="', b"%C3%A4.pdf", Edit("/1/filename", 0, 1, "M"), (b'"M.pdf"', b"M.pdf")),
        (b"ann.pdf", b"ann.pdf", Edit("/1/content", 9, 24, "<E_1>"), (b"ann.pdf", b"ann.pdf")),
    ],
    ids=["quotes-come", "no-quotes-needed", "quotes-stay", "encoded-word", "content-alone"],
)
def test_an_edit_of_a_form_of_dotnet_changes_both_filenames_and_nothing_else(
    plain: bytes, extended: bytes, wanted: Edit, new: tuple[bytes, bytes]
) -> None:
    body = DOTNET % (plain, extended)
    assert form.edit(body, []) == body
    expected = DOTNET % new
    if wanted.at == "/1/content":
        expected = expected.replace(b"ann@example.com", b"<E_1>")
    changed = form.edit(body, [wanted])
    assert changed == expected
    read_form(changed, "multipart/form-data; boundary=b")


def test_a_filename_in_an_encoded_word_is_judged_and_changed_as_what_it_says() -> None:
    word, kind = b'"=?utf-8?B?w6QucGRm?="', "multipart/form-data; boundary=b"
    body = DOTNET.replace(b"; filename*=utf-8''%s", b"") % word
    assert form.edit(body, []) == body
    assert "ä.pdf" in [segment.text for segment in read_form(body, kind).segments]
    changed = form.edit(body, [Edit("/1/filename", 0, 1, "<N_1>")])
    assert changed == body.replace(word, b'"<N_1>.pdf"')
    assert "<N_1>.pdf" in [segment.text for segment in read_form(changed, kind).segments]


def test_a_name_without_quotes_gets_them_where_its_edit_needs_them() -> None:
    body = DOTNET % (b"a", b"a")
    changed = form.edit(body, [Edit("/0/name", 0, 7, "a b")])
    assert changed == body.replace(b"name=purpose", b'name="a b"')


@pytest.mark.parametrize("dialect", [batch, form], ids=["batch", "form"])
def test_a_refusal_is_openais(dialect) -> None:
    answer = dialect.refuse(Refusal("r", "No.", "d"), streaming=False)
    assert json.loads(answer.body)["error"]["code"] == "r"


def test_mutations_raise_nothing_but_wire_errors() -> None:
    chance = random.Random(11)
    for dialect, sample, kind in (
        (batch, BATCH, "application/jsonl"),
        (form, FORM, FORM_TYPE),
        (form, upload(BATCH), "multipart/form-data; boundary=b"),
    ):
        for _ in range(600):
            data = bytearray(sample)
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(data))
                data[at : at + chance.randrange(4)] = chance.choice(
                    [b"", b"\n", b'"', b"\\u", b"\xff", b"{", b"\r\n--b"]
                )
            with contextlib.suppress(WireError):
                request = dialect.read_request(bytes(data), call(content_type=kind))
                dialect.edit(bytes(data), [Edit(s.at, 0, 1, "x") for s in request.segments])
            with contextlib.suppress(WireError):
                dialect.read_response(bytes(data), 200)
