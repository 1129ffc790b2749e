"""The originals behind placeholders: in this process's memory, bounded, never written anywhere.

An entry belongs to one tenant, principal and conversation, and where the principal is everybody whom nothing names, to
one caller; another scope's placeholder is unknown here, so a foreign placeholder stays as it is.
"""

import hashlib
import hmac
import threading
from collections import OrderedDict

from sallyport.stages.placeholder import make_tag, spell

MAX_SCOPES = 20_000
MAX_VALUES_PER_SCOPE = 20_000
MAX_ANSWERS = 200_000


class MemoryVault:
    """Scopes of placeholders, the least recently used dropped first. Thread-safe.

    key: 32 bytes; the same key gives the same placeholders in every worker and after a restart.
    """

    def __init__(self, key: bytes, *, max_scopes: int = MAX_SCOPES) -> None:
        self._key = key
        self._max_scopes = max_scopes
        self._scopes: OrderedDict[tuple[str, ...], OrderedDict[str, str]] = OrderedDict()
        self._answers: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def scope(self, tenant: str, principal: str, conversation: str, caller: str = "") -> "VaultScope":
        """Return the view of one conversation; creates nothing until a value is masked.

        caller: tells those apart who are one principal because nothing names them, "" for a principal with a name.
        """
        return VaultScope(self, (tenant, principal, conversation), caller)

    def _values(self, scope: tuple[str, ...], *, create: bool) -> OrderedDict[str, str] | None:
        """Return the values of a scope; the caller holds the lock."""
        values = self._scopes.get(scope)
        if values is None:
            if not create:
                return None
            values = self._scopes[scope] = OrderedDict()
            while len(self._scopes) > self._max_scopes:
                self._scopes.popitem(last=False)
        else:
            self._scopes.move_to_end(scope)
        return values

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
        with self._vault._lock:
            values = self._vault._values(self._scope, create=True)
            assert values is not None
            values[placeholder] = value
            values.move_to_end(placeholder)
            while len(values) > MAX_VALUES_PER_SCOPE:
                values.popitem(last=False)
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
            values = self._vault._values(self._scope, create=False)
            return None if values is None else values.get(placeholder)

    @property
    def empty(self) -> bool:
        """True if nothing was masked here, so that an answer needs no look."""
        return not self._vault._scopes.get(self._scope)

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
