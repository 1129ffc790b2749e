"""Proxy authentication in explicit mode: who a Proxy-Authorization header proves, at what cost, and how often.

Hashing is slow on purpose, so it happens in threads, once for credentials that come at the same time, and is
remembered for a short while under a keyed digest. Wrong credentials are counted per address (of IPv6 its /64);
one that has had too many waits, also with right passwords: an answer that differs would go on telling which are
right. Tokens pass all the same: nobody guesses one.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sallyport.policy.connections import ProxyAuth
from sallyport.proxy.rereading import Rereading
from sallyport.stages.limits import network_of
from sallyport.state.proxyusers import Entry, ProxyUsers

MAX_ADDRESSES = 50_000
MAX_REMEMBERED = 10_000
MAX_WAITING = 64
"""Hashes that may wait for a thread; more are refused, so that guessing cannot fill memory and time."""

MAX_WAITING_OF_ONE = MAX_WAITING // 2
"""Those of one address, so that it cannot keep all others waiting."""

_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="proxy-auth")


class Outcome(StrEnum):
    """What credentials came to. Events name it as proxy_auth_<outcome>."""

    PROVED = "proved"
    MISSING = "missing"
    MALFORMED = "malformed"
    WRONG = "failed"
    LIMITED = "limited"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a header holds. user: None in a bearer token."""

    user: str | None
    secret: bytes = field(repr=False)


def read_credentials(values: Sequence[str]) -> Credentials | None:
    """Return what Proxy-Authorization headers hold (RFC 7617, RFC 6750); None if not exactly one can be read."""
    if len(values) != 1:
        return None
    scheme, _, rest = values[0].strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer":
        return Credentials(None, rest.encode("utf-8", "surrogateescape")) if rest else None
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(rest, validate=True)
        name, colon, password = decoded.partition(b":")
        user = name.decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return Credentials(user, password) if colon and user.isprintable() else None


class KnownUsers:
    """The users of one policy, with the files they come from."""

    def __init__(self, section: ProxyAuth, passwords: Path | None, tokens: Path | None) -> None:
        """Read the files. Raises OperatorError if a line is not sound."""
        self.section = section
        paths = [path for path in (passwords, tokens) if path is not None]
        self._files = Rereading(paths, lambda: self.users.read(), "proxy users")
        self.users = ProxyUsers(passwords, tokens)

    def holds(self, entry: Entry) -> bool:
        return self.users.holds(entry)

    async def refresh(self) -> bool:
        """Read files that have changed; False if they cannot be read, and the old users stay."""
        return await self._files.refresh()


class Authenticator:
    """Proves users, and remembers failures. Belongs to one event loop; outlives reloads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[Entry, float]] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[Entry | None]] = {}
        self._hashing: Counter[str] = Counter()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def digest(self, values: Sequence[str]) -> bytes:
        """Return a keyed digest of a header, by which a connection knows it again."""
        return hmac.digest(self._key, "\0".join(values).encode("utf-8", "surrogateescape"), hashlib.sha256)

    async def prove(self, known: KnownUsers, address: str, values: Sequence[str]) -> Entry | Outcome:
        """Return whose credentials these are, or what is wrong with them."""
        section = known.section
        if not values:
            return Outcome.MISSING
        address = network_of(address)
        given = read_credentials(values)
        by_token = None if given is None else known.users.by_token(given.user, given.secret)
        if by_token is not None:
            return by_token
        if self._must_wait(address, section):
            return Outcome.LIMITED
        if given is None:
            self._failed(address, section)
            return Outcome.MALFORMED
        found = (
            None if given.user is None else await self._by_password(known, address, given.user, given.secret)
        )
        if self._must_wait(address, section):
            # Of guesses made all at once, too, no more are answered than max_failures.
            return Outcome.LIMITED
        if found is None:
            self._failed(address, section)
            return Outcome.WRONG
        return found

    async def _by_password(
        self, known: KnownUsers, address: str, user: str, password: bytes
    ) -> Entry | Outcome | None:
        users = known.users
        digest = hmac.digest(self._key, user.encode() + b"\0" + password, hashlib.sha256)
        remembered = self._known.get(digest)
        if remembered is not None and remembered[1] > self._clock() and users.holds(remembered[0]):
            return remembered[0]
        waiting = self._under_way.get(digest)
        if waiting is None:
            if len(self._under_way) >= MAX_WAITING or self._hashing[address] >= MAX_WAITING_OF_ONE:
                return Outcome.BUSY
            loop = asyncio.get_running_loop()
            waiting = loop.run_in_executor(_pool, users.by_password, user, password)
            self._under_way[digest] = waiting
            self._hashing[address] += 1
            waiting.add_done_callback(lambda _: self._hashed(digest, address))
        # One client that goes away must not cancel what others wait for.
        entry = await asyncio.shield(waiting)
        if entry is not None and known.section.cache_s:
            self._known[digest] = entry, self._clock() + known.section.cache_s
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return entry

    def _hashed(self, digest: bytes, address: str) -> None:
        self._under_way.pop(digest, None)
        self._hashing[address] -= 1
        if not self._hashing[address]:
            del self._hashing[address]

    def _must_wait(self, address: str, section: ProxyAuth) -> bool:
        failures = self._failures.get(address)
        if failures is None:
            return False
        since = self._clock() - section.failure_window_s
        while failures and failures[0] <= since:
            failures.popleft()
        if not failures:
            del self._failures[address]
        return len(failures) >= section.max_failures

    def _failed(self, address: str, section: ProxyAuth) -> None:
        failures = self._failures.setdefault(address, deque())
        failures.append(self._clock())
        while len(failures) > section.max_failures:
            failures.popleft()
        self._failures.move_to_end(address)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
