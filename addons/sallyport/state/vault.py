"""The originals behind placeholders: in this process's memory, bounded, never written anywhere.

An entry belongs to one tenant, principal and conversation, and where the principal is everybody whom nothing names, to
one caller; another scope's placeholder is unknown here, so a foreign placeholder stays as it is. What had to be dropped
for room is told in the log: an answer that repeats its placeholder keeps it.
"""

import hashlib
import hmac
import logging
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from sallyport.stages.placeholder import make_tag, spell

logger = logging.getLogger("sallyport.vault")

MAX_VALUES_PER_SCOPE = 20_000
MAX_SIZE = 1_000_000
"""Of all scopes together, some 230 MB. A value counts as 1, and as 1 more for every 200 characters; a scope as 50."""

MAX_ANSWERS = 200_000
_CHARS = 200
_SCOPE_SIZE = 50
_TELL_EVERY_S = 60.0


@dataclass(slots=True)
class _Values:
    """Originals by placeholder, the one that was masked last at the end."""

    of: OrderedDict[str, str] = field(default_factory=OrderedDict)
    size: int = _SCOPE_SIZE


class MemoryVault:
    """Scopes of placeholders. Thread-safe.

    For room the scopes that were used longest ago are dropped of who holds the most: nobody's long lists cost others
    theirs. key: 32 bytes; the same key gives the same placeholders in every worker and after a restart. clock: seconds,
    by which losses are told now and then.
    """

    def __init__(
        self,
        key: bytes,
        *,
        max_size: int = MAX_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._key = key
        self._max_size = max_size
        self._clock = clock
        self._size = 0
        self._lost_values = self._lost_scopes = 0
        self._tell_at = clock()
        self._scopes: OrderedDict[tuple[str, ...], _Values] = OrderedDict()
        self._answers: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def scope(self, tenant: str, principal: str, conversation: str, caller: str = "") -> "VaultScope":
        """Return the view of one conversation; creates nothing until a value is masked.

        caller: tells those apart who are one principal because nothing names them, "" for a principal with a name.
        """
        return VaultScope(self, (tenant, principal, conversation), caller)

    def _keep(self, scope: tuple[str, ...], placeholder: str, value: str) -> None:
        with self._lock:
            values = self._scopes.get(scope)
            if values is None:
                values = self._scopes[scope] = _Values()
                self._size += values.size
            self._scopes.move_to_end(scope)
            added = 0 if placeholder in values.of else _size(value)
            values.of[placeholder] = value
            values.of.move_to_end(placeholder)
            while len(values.of) > MAX_VALUES_PER_SCOPE:
                added -= _size(values.of.popitem(last=False)[1])
                self._lost_values += 1
            values.size += added
            self._size += added
            if self._size > self._max_size:
                self._make_room(scope)
            told = self._told()
        if told:
            logger.warning("%s", told)

    def _make_room(self, in_use: tuple[str, ...]) -> None:
        """Drop what was used longest ago of who holds the most, until a tenth is free; the caller holds the lock.

        Of the scope in use, when its owner has no other, the values that were masked longest ago.
        """
        held: dict[tuple[str, ...], deque[tuple[str, ...]]] = defaultdict(deque)
        sizes: dict[tuple[str, ...], int] = defaultdict(int)
        for scope, values in self._scopes.items():
            if scope != in_use:
                held[_owner(scope)].append(scope)
            sizes[_owner(scope)] += values.size
        most = [(-size, owner) for owner, size in sizes.items()]
        heapify(most)
        while most and self._size > self._max_size * 9 // 10:
            size, owner = heappop(most)
            if held[owner]:
                dropped = self._scopes.pop(held[owner].popleft()).size
                self._size -= dropped
                self._lost_scopes += 1
            else:
                next_most = -most[0][0] if most else 0
                dropped = self._shorten(self._scopes[in_use], next_most)
            if dropped and size + dropped:
                heappush(most, (size + dropped, owner))

    def _shorten(self, values: _Values, least: int) -> int:
        """Drop values of a scope, but the last one, until a tenth is free or it holds less than so much."""
        before = values.size
        while len(values.of) > 1 and values.size >= least and self._size > self._max_size * 9 // 10:
            dropped = _size(values.of.popitem(last=False)[1])
            values.size -= dropped
            self._size -= dropped
            self._lost_values += 1
        return before - values.size

    def _told(self) -> str:
        """Return what to say of losses, "" where there are none or the last line is not old; holds the lock."""
        values, scopes, now = self._lost_values, self._lost_scopes, self._clock()
        if not (values or scopes) or now < self._tell_at:
            return ""
        self._tell_at, self._lost_values, self._lost_scopes = now + _TELL_EVERY_S, 0, 0
        return (
            f"originals behind placeholders were dropped for room: {values} of conversations with more than "
            f"{MAX_VALUES_PER_SCOPE} of them or with very long ones, and all of {scopes} conversations. Answers that "
            "repeat their placeholders keep these, until a request brings the originals again"
        )

    def _answer_digest(self, scope: tuple[str, str, str], text: str) -> bytes:
        mac = hmac.new(self._key, "\0".join(scope).encode("utf-8", "surrogatepass"), hashlib.sha256)
        mac.update(b"\0answer\0" + text.encode("utf-8", "surrogatepass"))
        return mac.digest()


class VaultScope:
    """Placeholders of one tenant, principal and conversation, and of one caller where nothing names it."""

    def __init__(self, vault: MemoryVault, conversation: tuple[str, str, str], caller: str) -> None:
        self._vault = vault
        self._conversation = conversation
        self._scope = (*conversation, caller) if caller else conversation

    def placeholder(self, entity: str, value: str, shared: bool = False) -> str:
        """Return the placeholder of a value, the same for the same value on every turn.

        shared: the same in every conversation of the tenant, so that a head they share stays in the
        provider's cache; the value still comes back only where this conversation masked it.
        """
        placeholder = spell(entity, make_tag(self._vault._key, *self._tagged(shared), entity, value))
        self._vault._keep(self._scope, placeholder, value)
        return placeholder

    def digest(self, entity: str, value: str, shared: bool = False) -> str:
        """Return an irreversible placeholder; its tag differs from that of the reversible one."""
        tag = make_tag(self._vault._key, "hash", *self._tagged(shared), entity, value)
        return spell(entity + "_HASH", tag)

    def _tagged(self, shared: bool) -> tuple[str, ...]:
        return (self._scope[0], "", "") if shared else self._scope

    def original(self, placeholder: str) -> str | None:
        """Return what a placeholder stands for in this scope, None if it is not ours."""
        with self._vault._lock:
            values = self._vault._scopes.get(self._scope)
            if values is None:
                return None
            self._vault._scopes.move_to_end(self._scope)
            return values.of.get(placeholder)

    @property
    def empty(self) -> bool:
        """True if nothing was masked here, so that an answer needs no look."""
        return self._scope not in self._vault._scopes

    def remember_answer(self, text: str) -> None:
        """Note that the provider wrote this text here (signed reasoning must go back unchanged).

        For all callers of the conversation: what the provider wrote is no secret from it, and who renews a token in
        the middle is another caller then.
        """
        answers, digest = self._vault._answers, self._vault._answer_digest(self._conversation, text)
        with self._vault._lock:
            answers[digest] = None
            while len(answers) > MAX_ANSWERS:
                answers.popitem(last=False)

    def came_from_provider(self, text: str) -> bool:
        return self._vault._answer_digest(self._conversation, text) in self._vault._answers


def _owner(scope: tuple[str, ...]) -> tuple[str, ...]:
    """Return whose a scope is: its tenant, its principal, and its caller where nothing names that."""
    return (*scope[:2], *scope[3:])


def _size(value: str) -> int:
    return 1 + len(value) // _CHARS
