"""The law of coverage: whatever was sent, every exchange ends in exactly one class, and nothing is left out."""

from collections import Counter
from collections.abc import Sequence

from sallyport.audit.classes import Coverage
from sallyport.audit.events import END_KINDS, Event, EventKind

KNOWN = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com")
UNKNOWN = ("files.example.com", "www.example.com")
LEFT_UNREAD = (Coverage.PARSED_IN_PART, Coverage.OPAQUE)


def assert_counted(events: Sequence[Event]) -> None:
    """Check ends: one of each exchange, with a class; denied if and only if it was refused, with reasons."""
    ends = [e for e in events if e.exchange and e.kind in END_KINDS]
    assert max(Counter(e.exchange for e in ends).values(), default=1) == 1
    for end in ends:
        assert end.coverage is not None, (end.kind, end.reason, end.detail)
        assert (end.coverage is Coverage.DENIED) == (end.kind is EventKind.REFUSED), (end.kind, end.coverage)
        assert end.coverage is not Coverage.TUNNELLED
        assert end.content_type, (end.kind, end.reason, end.detail)
        assert bool(end.unread) == (end.coverage in LEFT_UNREAD), (end.coverage, end.unread)
        if end.coverage is Coverage.DENIED:
            assert end.reason or end.detail
    by_class = Counter(end.coverage for end in ends)
    assert sum(by_class[each] for each in Coverage) == len({e.exchange for e in ends})
    for loose in (e for e in events if e.kind is EventKind.CONNECTION_REFUSED):
        observed = loose.detail.startswith("observed_")
        if loose.host in KNOWN:
            assert loose.coverage is (None if observed else Coverage.DENIED), (loose.host, loose.detail)
        elif loose.host in UNKNOWN:
            assert loose.coverage is None, (loose.host, loose.detail)
