"""A name that was recognised once is replaced where it is a name again, and nowhere else."""

import pytest

from sallyport.decision import Finding, Kind, Severity
from sallyport.exchange import Segment, Surface
from sallyport.stages.everywhere import replace_everywhere
from samples import exchange, segment


def after(name: str, later: str, entity: str = "PERSON") -> str:
    """Return a later message as it leaves, once a name was recognised in an earlier one."""
    told = segment(f"I am {name}.", "/messages/0/content")
    again = Segment("/messages/1/content", Surface.ASSISTANT, later)
    found = Finding(f"pii.ner.{entity}", Kind.PII, entity, Severity.MEDIUM, told.at, 5, 5 + len(name), 0.9)
    edits = replace_everywhere(exchange(told, again), [found], lambda entity, value, shared: "<*>")
    for edit in sorted((e for e in edits if e.at == again.at), key=lambda e: -e.start):
        later = later[: edit.start] + edit.replacement + later[edit.end :]
    return later


@pytest.mark.parametrize(
    ("name", "later", "leaves"),
    [
        ("Marta Quill", "Noted: Marta Quill.", "Noted: <*>."),
        ("Marta Quill", "Marta Quill's file, Marta Quill, (Marta Quill)", "<*>'s file, <*>, (<*>)"),
        ("Maria", "Hello Maria! Is maria a user?", "Hello <*>! Is maria a user?"),
        ("Zoë Łuk", "Zoë Łuk", "<*>"),
    ],
)
def test_a_name_is_replaced_where_it_stands_as_a_word(name: str, later: str, leaves: str) -> None:
    assert after(name, later) == leaves


@pytest.mark.parametrize(
    ("name", "later"),
    [
        ("Will", "Will you? I will. Willow, William, goodwill"),
        ("May", "May I? In May 2025; maybe"),
        ("Mark", "Mark my words: mark it, Market, bookmark, MARK"),
        ("Hunter", "The Hunter sleeps; hunter2"),
        ("Summer", "Summer is over."),
        ("Ada", "Adapters of Ada"),
        ("Marta", "Martadam, martA, Marta1, xMarta, Marta_id, get_Marta"),
        ("marta quill", "marta quill"),
    ],
)
def test_ordinary_words_and_parts_of_words_stay(name: str, later: str) -> None:
    assert after(name, later) == later


@pytest.mark.parametrize(
    ("place", "later", "leaves"),
    [
        ("Paris", "Comparison of Parisians in Paris; paris", "Comparison of Parisians in <*>; paris"),
        ("Reading", "Reading is fun.", "Reading is fun."),
        ("Lisbon", "Lisbon-based", "<*>-based"),
    ],
)
def test_places_are_looked_for_like_people(place: str, later: str, leaves: str) -> None:
    assert after(place, later, "LOCATION") == leaves


def test_values_that_are_no_words_are_found_inside_identifiers_as_before() -> None:
    assert after("219-09-9999", "ssn_219-09-9999_x", "US_SSN") == "ssn_<*>_x"
