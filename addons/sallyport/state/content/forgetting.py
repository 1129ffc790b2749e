"""Forgetting a person: the key first, then what it sealed, then the event; each step can be done again.

Who is killed in between has destroyed the key and noted it in the same transaction; the next run does the rest.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sallyport.state.content.erasures import Erasure
from sallyport.state.content.keys import SubjectKeys
from sallyport.state.content.store import ContentStore, Counts
from sallyport.state.content.subjects import Subject


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is of a subject. digest: what stands for it. unfinished: erasures that were interrupted."""

    digest: str
    keys: tuple[str, ...]
    counts: Counts
    unfinished: tuple[Erasure, ...]


@dataclass(frozen=True, slots=True)
class Forgot:
    """What went. scrubbed: whether nothing of the keys is left in the files of their database."""

    digest: str
    keys: int
    counts: Counts
    scrubbed: bool


type Tell = Callable[[str, str, int, int, Counts], None]
"""Writes the event of an erasure, durably: id, digest of the subject, time in microseconds, keys, rows that went."""


def kept_of(subject: Subject, keys: SubjectKeys, store: ContentStore) -> Kept:
    """Return what there is of a subject. Raises OperatorError, NotOpened."""
    digest, own, erased = keys.find(subject)
    return Kept(digest, tuple(own), store.count(own), tuple(each for each in erased if not each.done))


def forget(
    subject: Subject, keys: SubjectKeys, store: ContentStore, new_id: Callable[[], str], tell: Tell
) -> Forgot:
    """Destroy a subject's keys and all that is left of what they sealed. Raises OperatorError, NotOpened.

    Where there is nothing, that is told as well. What is not scrubbed stays unfinished, so that it is tried again.
    """
    event = new_id()
    scrubbed = keys.destroy(subject, time.time_ns() // 1000, event)
    digest, _, erased = keys.find(subject)
    unfinished = [each for each in erased if not each.done]
    gone = _follow(unfinished, keys, store, tell, scrubbed=scrubbed)
    if not unfinished:
        tell(event, digest, time.time_ns() // 1000, 0, gone)
    return Forgot(digest, len(unfinished), gone, scrubbed)


def finish(keys: SubjectKeys, store: ContentStore, tell_of: Callable[[str], Tell]) -> Forgot | None:
    """Do the rest of all erasures that were interrupted, whoever they were of; None where there are none.

    tell_of: gives for a tenant what writes the event. Raises OperatorError.
    """
    unfinished = keys.unfinished()
    if not unfinished:
        return None
    scrubbed, gone = keys.scrub(), Counts()
    for tenant in dict.fromkeys(each.tenant for each in unfinished):
        theirs = [each for each in unfinished if each.tenant == tenant]
        counts = _follow(theirs, keys, store, tell_of(tenant), scrubbed=scrubbed)
        gone = Counts(gone.records + counts.records, gone.tokens + counts.tokens)
    return Forgot("", len(unfinished), gone, scrubbed)


def _follow(
    erased: Sequence[Erasure], keys: SubjectKeys, store: ContentStore, tell: Tell, *, scrubbed: bool
) -> Counts:
    """Remove what destroyed keys sealed, and tell of it; return what went."""
    gone = Counts()
    for id, group in _by_event(erased):
        counts = store.remove([each.key for each in group])
        tell(id, group[0].subject, group[0].at_us, len(group), counts)
        if scrubbed:
            keys.settle(group)
        gone = Counts(gone.records + counts.records, gone.tokens + counts.tokens)
    return gone


def _by_event(erased: Sequence[Erasure]) -> list[tuple[str, list[Erasure]]]:
    groups: dict[str, list[Erasure]] = {}
    for each in erased:
        groups.setdefault(each.event, []).append(each)
    return list(groups.items())
