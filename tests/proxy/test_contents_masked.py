"""What is kept masked has a value nowhere: not where it is repeated, and not in a pointer that leads to a text."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sallyport.decision import Finding, Kind, Severity, Verdict
from sallyport.exchange import Client, Exchange, Operation, Request, Segment, Surface
from sallyport.policy.content import ContentClass, ContentSection, Keep
from sallyport.proxy import noted as noted_module
from sallyport.proxy.capturing import _Making
from sallyport.proxy.contents import Contents, _Answer, _Request
from sallyport.proxy.hearing import _by_channel
from sallyport.proxy.noted import Noted
from sallyport.proxy.passage import Passage
from sallyport.proxy.recorded import Kept, Over
from sallyport.proxy.takingout import renamed
from sallyport.wire.dialect import Delta, StreamEvent
from sallyport.wire.dialects import DIALECTS

DIALECT = DIALECTS["openai_realtime"]

MAIL = "odile.brandt@example.org"
NUMBER = "219-09-9999"


class Counted(tuple[Segment, ...]):
    """Segments that know how often somebody went through them."""

    rounds = 0

    def __iter__(self) -> Iterator[Segment]:
        self.rounds += 1
        return super().__iter__()


def exchange(*segments: Segment) -> Exchange:
    asked = Request("openai", "openai_chat", Operation.CHAT, None, segments=Counted(segments))
    return Exchange("x", "", datetime.now(UTC), "h", Client("10.0.0.9", "explicit"), asked)


def finding(at: str, start: int, end: int, entity: str = "US_SSN") -> Finding:
    return Finding("r", Kind.PII, entity, Severity.LOW, at, start, end, 1.0)


def request(of: Exchange, found: Sequence[Finding], keep: Keep = Keep.MASKED) -> _Request:
    return _Request(of, lambda: found, keep, ContentClass.ORDINARY, 1.0)


class Answered(_Answer):
    """An answer whose texts and findings are given."""

    texts: Sequence[Segment] = ()
    found_there: Sequence[Finding] = ()

    def _segments(self) -> list[Segment]:
        return list(self.texts)

    def _found(self, segments: Sequence[Segment]) -> Sequence[Finding]:
        return self.found_there


def answer(asked: _Request, texts: Sequence[Segment], found: Sequence[Finding] = ()) -> Answered:
    made = Answered(asked, cast(Any, None), cast(Any, None), b"", 200, "", None, False)
    object.__setattr__(made, "texts", texts)
    object.__setattr__(made, "found_there", found)
    return made


def test_no_pointer_leads_through_a_value() -> None:
    place = f"/args/{MAIL}"
    texts = [Segment(f"{place}~k", Surface.USER, MAIL), Segment(f"{place}/deep/1~t", Surface.USER, "hello")]
    found = [finding(f"{place}~k", 0, len(MAIL), "EMAIL_ADDRESS")]
    asked = request(exchange(*texts), found)
    for page in answer(asked, texts, found).pages():
        assert [(t.at, t.text) for t in page.texts] == [
            ("/args/[EMAIL_ADDRESS]~k", "[EMAIL_ADDRESS]"),
            ("/args/[EMAIL_ADDRESS]/deep/1~t", "hello"),
        ]
    original = request(exchange(*texts), found, Keep.ORIGINAL).pages()[0]
    assert [t.at for t in original.texts] == [t.at for t in texts]


def test_the_findings_of_a_capture_stand_where_the_masked_text_is() -> None:
    place = f"/args/{MAIL}"
    texts = [Segment(f"{place}~k", Surface.USER, MAIL), Segment(place, Surface.USER, f"a {NUMBER}")]
    found = [finding(f"{place}~k", 0, len(MAIL), "EMAIL_ADDRESS"), finding(place, 2, 2 + len(NUMBER))]
    kept = Kept(False, "/", "/", (), b"{}", lambda: found)
    nothing = cast(Any, None)
    made = _Making(
        *(exchange(*texts), nothing, None, kept, lambda body, edits: body, "POST", "HTTP/1.1"),
        *((0.0, 0.0), None, None, nothing, None, (), None),
    )
    _, moved = made._masked(found)
    assert [(f.at, f.start, f.end) for f in moved] == [
        ("/args/[EMAIL_ADDRESS]~k", 0, 15),
        ("/args/[EMAIL_ADDRESS]", 2, 10),
    ]


@pytest.mark.parametrize(
    ("names", "at", "written"),
    [
        ([("/a/b~1c~k", "b/[X]")], "/a/b~1c/d", "/a/b~1[X]/d"),
        ([("/a/b~k", "[X]"), ("/a/b/c~k", "[Y]")], "/a/b/c~k", "/a/[X]/[Y]~k"),
        ([("/a/b~k", "[X]")], "/a/bc", "/a/bc"),
        ([("/a/b", "[X]")], "/a/b", "/a/b"),
    ],
)
def test_only_names_are_written_anew(names: list[tuple[str, str]], at: str, written: str) -> None:
    assert renamed(names)(at) == written


def test_what_is_found_in_an_answer_is_masked_where_it_is_repeated() -> None:
    texts = [
        Segment("/0", Surface.ASSISTANT, f"SSN {NUMBER}."),
        Segment("/1", Surface.ASSISTANT, f"So {NUMBER}!"),
    ]
    made = answer(request(exchange(), ()), texts, [finding("/0", 4, 4 + len(NUMBER))])
    assert [t.text for t in made.pages()[1].texts] == ["SSN [US_SSN].", "So [US_SSN]!"]


def test_what_was_masked_in_a_request_is_masked_wherever_it_stands_in_the_answer() -> None:
    asked = request(
        exchange(Segment("/a", Surface.USER, "Jo Joan")), [finding("/a", 0, 2), finding("/a", 3, 7)]
    )
    texts = [Segment("/0", Surface.ASSISTANT, "Joan, xJoanJoan Jo"), Segment("/1", Surface.ASSISTANT, "none")]
    page = answer(asked, texts).pages()[1]
    assert [t.text for t in page.texts] == ["[US_SSN], x[US_SSN][US_SSN] Jo", "none"]
    assert page.values == {"Joan"}


def test_many_findings_are_not_each_looked_for_in_all_texts() -> None:
    texts = [Segment(f"/{n}", Surface.USER, f"person{n}@example.org") for n in range(200)]
    found = [finding(s.at, 0, len(s.text), "EMAIL_ADDRESS") for s in texts]
    of = exchange(*texts)
    pages = answer(request(of, found), [Segment("/0", Surface.ASSISTANT, "To person7@example.org")]).pages()
    assert [t.text for t in pages[1].texts] == ["To [EMAIL_ADDRESS]"]
    assert cast(Counted, of.request.segments).rounds < 20


def test_what_came_back_from_an_earlier_request_is_masked_by_what_it_was_masked_as() -> None:
    noted = Noted(tuple)
    lookup = noted.noting({"<PERSON_abcdefghij>": "Joan", "<US_SSN_abcdefghij>": "Jo"}.get)
    assert [lookup("<PERSON_abcdefghij>"), lookup("<PERSON_aaaaaaaaaa>")] == ["Joan", None]
    made = answer(request(exchange(), ()), [Segment("/0", Surface.ASSISTANT, "Joan and Jo")])
    object.__setattr__(made, "restored", noted.restored)
    assert [t.text for t in made.pages()[1].texts] == ["[PERSON] and Jo"]


def test_pieces_of_an_answer_are_put_together_once() -> None:
    class Piece(str):
        def __add__(self, other: object) -> str:
            raise AssertionError("a long answer would be copied for each of its pieces")

    pieces = [Delta("/0", Surface.ASSISTANT, "/delta", Piece("ab")) for _ in range(3)]
    events = [StreamEvent(b"", (delta,)) for delta in pieces]
    assert _by_channel(events) == [Segment("/0", Surface.ASSISTANT, "ababab")]


def test_of_a_session_that_goes_on_for_ever_no_more_originals_are_held_and_no_answer_is_kept_half_masked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(noted_module, "MAX_RESTORED", 2)
    noted = Noted(tuple)
    lookup = noted.noting(lambda placeholder: placeholder.lower())
    assert [lookup(spelled) for spelled in ("A", "B")] == ["a", "b"]
    assert noted.is_told_whole
    assert [lookup(spelled) for spelled in ("C", "D", "E")] == ["c", "d", "e"], "they come back all the same"
    assert len(noted.restored) == 3
    assert not noted.is_told_whole
    handed: list[str] = []
    writer = SimpleNamespace(put=lambda made, size: handed.append(type(made.__self__).__name__))
    policy = SimpleNamespace(content=ContentSection(keep=Keep.MASKED))
    for own in (Noted(tuple), noted):
        passage = Passage(
            "x", cast(Any, SimpleNamespace(policy=policy)), 0, "h", None, None, DIALECT, exchange()
        )
        passage.verdict, passage.over, passage.noted = Verdict(()), Over(None, 0), own
        own.pieces.append(b"an event")
        Contents(cast(Any, writer)).end_event(passage)
    assert handed == ["_Answer", "_Request"]
