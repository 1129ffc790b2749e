"""The ledger of several hosts: one script in Redis or Valkey, one round trip for each step.

The time is the server's. All keys of a namespace carry one hash tag, {namespace}, so they lie in one slot of a
cluster: a claim may touch any combination of limits, and a script sees one slot only. A server that lost its
memory (FLUSHALL, restart without persistence, an old copy) counts on from what it has; set maxmemory-policy noeviction.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from importlib.resources import files
from struct import unpack
from typing import Any, NamedTuple, NoReturn

import orjson

from sallyport.errors import OperatorError
from sallyport.stages.ledger import (
    NOTHING,
    AlreadySettled,
    Booking,
    Calendar,
    Claim,
    Denial,
    Denied,
    Expired,
    FixedWindow,
    LedgerUnavailable,
    Level,
    Reserved,
    Settlement,
)
from sallyport.state.ledger.accounting import (
    check_amounts,
    check_claims,
    check_grant,
    check_lease,
    fullest_first,
)
from sallyport.state.ledger.clocks import Clock, SystemClock
from sallyport.state.ledger.patience import patience
from sallyport.state.ledger.righting import Clocks, Moves, Watch
from sallyport.state.ledger.windows import account_name, window_numbers

logger = logging.getLogger("sallyport.ledger")

PATIENCE_S = 0.5
MAX_CONNECTIONS = 32
MAX_STALE = 3
NAMES_PER_CALL = 200

NUMBERS_PER_LEVEL = 5
_STALLED = 10


class Reply(NamedTuple):
    """What the script returned. numbers begin with the server's time; more is what the call adds, if anything."""

    outcome: bytes
    numbers: list[int]
    more: Any


class RedisLedger:
    """Counts in Redis or Valkey, reached over at most max_connections; a burst waits for a free one.

    url: redis://, rediss:// or unix://. cluster: the URL is that of any node of a cluster.
    namespace: whoever shares it shares the limits. Raises LedgerUnavailable after patience_s.
    lost: told when the server knows no more of what it had counted for this ledger, as the log is.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "sallyport",
        cluster: bool = False,
        patience_s: float = PATIENCE_S,
        max_connections: int = MAX_CONNECTIONS,
        clock: Clock | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", namespace):
            raise OperatorError(
                "ledger",
                "the namespace is no name",
                "Use up to 64 letters, digits, dots, dashes or underscores.",
            )
        self._client, self._errors = _connect(url, cluster, patience_s, max_connections)
        self._patience_s = patience_s
        self._key = f"{{{namespace}}}:ledger"
        self._index = f"{{{namespace}}}:index"
        self._use_script(files("sallyport.state.ledger").joinpath("ledger.lua").read_text("utf-8"))
        self._clock = clock or SystemClock()
        self._current: dict[Calendar, FixedWindow] = {}
        self._ahead_ms = self._clock.wall_ms() - self._clock.uptime_ms()
        """The server's time less our uptime, to find the current calendar windows; each reply corrects it."""
        self._lost = lost
        self._watch = Watch()
        self._righted = 0
        """How often the clock was set right, as far as replies have told."""
        self._born_ms = 0
        self._latest_ms = 0
        """The server's time at its first call, and at the latest whose reply has come: it must know of both."""

    async def reserve(self, reservation_id: str, claims: Sequence[Claim], lease_ms: int) -> Reserved | Denied:
        check_claims(claims)
        check_lease(lease_ms)
        names, reply = await self._with_claims("reserve", reservation_id, claims, lease_ms=lease_ms)
        if reply.outcome == b"over":
            raise AlreadySettled("this reservation is over")
        now, due, *numbers = reply.numbers
        if reply.outcome == b"repeated":
            return Reserved(_levels(_split(reply.more), numbers), now, due, repeated=True)
        levels = _levels(names, numbers)
        if reply.outcome == b"reserved":
            return Reserved(levels, now, due)
        refused = iter(numbers[len(levels) * NUMBERS_PER_LEVEL :])
        denials = (
            Denial(claims[i], levels[i], _or_none(wait)) for i, wait in zip(refused, refused, strict=True)
        )
        return Denied(tuple(denials), levels, now)

    async def renew(self, reservation_id: str, lease_ms: int) -> bool:
        check_lease(lease_ms)
        return (await self._call("renew", id=reservation_id, lease_ms=lease_ms)).outcome == b"renewed"

    async def settle(self, reservation_id: str, amounts: Mapping[str, int] = NOTHING) -> Settlement:
        check_amounts(amounts)
        return _settlement(await self._call("settle", id=reservation_id, amounts=dict(amounts), whole=True))

    async def release(self, reservation_id: str, kept: Mapping[str, int] = NOTHING) -> Settlement:
        check_amounts(kept)
        return _settlement(await self._call("settle", id=reservation_id, amounts=dict(kept), whole=False))

    async def book(self, reservation_id: str, claims: Sequence[Claim]) -> Settlement:
        check_claims(claims)
        return _settlement((await self._with_claims("book", reservation_id, claims))[1])

    async def levels(self, prefix: str = "", *, ended: bool = False) -> tuple[Level, ...]:
        found = await self._levels(prefix, ended=ended)
        return tuple(sorted(found, key=lambda level: (level.key, level.start_ms or 0, level.end_ms or 0)))

    async def top(self, count: int) -> tuple[Level, ...]:
        return tuple(sorted(await self._levels("", ended=False), key=fullest_first)[:count])

    async def reset(self, key: str) -> bool:
        names = await self._names(f"{key}\x1f")
        for at in range(0, len(names), NAMES_PER_CALL):
            await self._call("reset", names=names[at : at + NAMES_PER_CALL])
        return bool(names)

    async def grant(self, key: str, amount: int, until_ms: int) -> None:
        check_grant(amount)
        await self._call("grant", key=key, amount=amount, until_ms=until_ms)

    async def sweep(self, at_most: int = 1000) -> int:
        return (await self._call("sweep", at_most=at_most)).numbers[1]

    async def expired(self, at_most: int = 1000) -> tuple[Expired, ...]:
        found = (await self._call("expired", at_most=at_most)).more
        return tuple(
            Expired(name.decode(), dict(zip(map(_key, _split(names)), amounts, strict=True)), at)
            for name, at, names, amounts in found
        )

    async def now_ms(self) -> int:
        return (await self._call("now")).numbers[0]

    async def clocks(self) -> Clocks:
        now, server = (await self._call("clocks")).numbers
        return Clocks(now, server)

    async def set_right(self, moves: Moves) -> None:
        await self._call("set_right", moves={name: [w.start_ms, w.end_ms] for name, w in moves.items()})

    async def close(self) -> None:
        await self._client.aclose()

    def _use_script(self, script: str) -> None:
        self._script = script
        self._digest = sha1(script.encode(), usedforsecurity=False).hexdigest()

    async def _with_claims(
        self, name: str, reservation_id: str, claims: Sequence[Claim], **more: object
    ) -> tuple[list[str], Reply]:
        """Call with claims, and return their accounts' names with the reply.

        Once more where our guess of the server's time was of another calendar window.
        """
        for _ in range(MAX_STALE):
            names, packed = self._pack(claims, self._ahead_ms + self._clock.uptime_ms())
            reply = await self._call(name, id=reservation_id, claims=packed, **more)
            if reply.outcome != b"stale":
                return names, reply
        raise LedgerUnavailable("Redis ledger: the server's clock does not stand still")

    def _pack(self, claims: Sequence[Claim], now: int) -> tuple[list[str], list[list[object]]]:
        """Return the claims' accounts and the claims as ledger.lua reads them."""
        names: list[str] = []
        packed: list[list[object]] = []
        for claim in claims:
            window = claim.window
            flags = 1 if claim.enforced else 0
            if type(window) is Calendar:
                flags += 2
                current = self._current.get(window)
                if current is None or not current.start_ms <= now < current.end_ms:
                    current = self._current[window] = window.at(now)
                window = current
            assert not isinstance(window, Calendar)
            name = account_name(claim.key, window)
            names.append(name)
            packed.append([name, claim.limit, claim.amount, *window_numbers(window), flags])
        return names, packed

    async def _levels(self, prefix: str, *, ended: bool) -> list[Level]:
        names = await self._names(prefix)
        found: list[Level] = []
        for at in range(0, len(names), NAMES_PER_CALL):
            reply = await self._call("levels", names=names[at : at + NAMES_PER_CALL])
            now, *numbers = reply.numbers
            for level in _levels(_split(reply.more), numbers):
                current = level.start_ms is None or level.start_ms <= now < (level.end_ms or 0)
                if level.key.startswith(prefix) and (level.used or level.reserved) and (ended or current):
                    found.append(level)
        return found

    async def _names(self, prefix: str) -> list[str]:
        """Return the names of accounts that start with a prefix, a part of the index at a time."""
        await self._call("sweep", at_most=100)
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        names: set[str] = set()
        cursor = 0
        while True:

            async def scan(cursor: int = cursor) -> Any:
                return await self._client.zscan(self._index, cursor, match=pattern, count=500)

            cursor, found = await self._patiently(scan)
            names.update(name.decode() for name, _ in found if name)
            if not cursor:
                return sorted(names)

    async def _call(self, name: str, **request: object) -> Reply:
        argument = orjson.dumps({"call": name, **request})
        known, righted_before = self._latest_ms, self._righted
        outcome, packed, *more = await self._patiently(
            lambda: self._evaluate(argument, repeatable=name != "grant")
        )
        born, last, righted, *numbers = map(int, unpack(f">{len(packed) // 8}d", packed))
        reply = Reply(outcome, numbers, more[0] if more else b"")
        self._ahead_ms = numbers[0] - self._clock.uptime_ms()
        if righted_before <= righted < self._righted:
            return reply  # it was on its way while the clock was set right
        if righted != self._righted:
            if righted < self._righted:
                self._tell_of_loss(0)
            self._righted, self._born_ms, self._latest_ms, known = righted, born, 0, 0
        self._watch.see(numbers[0], self._clock.wall_ms())
        is_new = born > self._born_ms  # replies of two calls may come in the other order
        if known and (is_new or last < known):
            self._tell_of_loss(0 if is_new else last)
            self._latest_ms = 0
        self._born_ms, self._latest_ms = max(self._born_ms, born), max(self._latest_ms, numbers[0])
        return reply

    def _tell_of_loss(self, last_ms: int) -> None:
        """Say that the server has lost counts. last_ms: of the latest call it knows of, 0 where of none."""
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=last_ms)
        logger.warning(
            "the Redis of the counters has lost %s: what was used before counts no more. The audit still has it: "
            "sallyport limits reconcile. Give Redis persistence (appendonly yes) and maxmemory-policy noeviction",
            f"what it counted after {at:%Y-%m-%d %H:%M:%S} UTC" if last_ms else "all it had counted",
        )
        self._lost()

    async def _evaluate(self, argument: bytes, *, repeatable: bool) -> Any:
        """Run the script; load it where the server does not know it, or not any more."""
        try:
            return await self._client.evalsha(self._digest, 1, self._key, argument)
        except self._errors.NoScriptError:
            return await self._client.eval(self._script, 1, self._key, argument)
        except self._errors.ConnectionError as error:
            # A pooled connection to a server that was restarted. Ids make a second call harmless, but for grant.
            if not repeatable or isinstance(error, self._errors.MaxConnectionsError):
                raise
        try:
            return await self._client.evalsha(self._digest, 1, self._key, argument)
        except self._errors.NoScriptError:
            return await self._client.eval(self._script, 1, self._key, argument)

    async def _patiently(self, call: Callable[[], Any]) -> Any:
        try:
            async with patience(self._patience_s):
                return await call()
        except TimeoutError:
            raise LedgerUnavailable(f"Redis ledger: no answer within {self._patience_s} s") from None
        except (self._errors.RedisError, OSError) as error:
            _unavailable(error)


def _unavailable(error: Exception) -> NoReturn:
    """Say what kind of error it was; its text may quote what was sent."""
    raise LedgerUnavailable(f"Redis ledger: {type(error).__name__}") from None


def _connect(url: str, cluster: bool, patience_s: float, max_connections: int) -> tuple[Any, Any]:
    """Return a client and the module of its errors. It connects when it is first used, and never retries."""
    try:
        from redis import exceptions
        from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise OperatorError(
            "ledger", "the Redis driver is not installed", "Install sallyport[redis].", exit_code=3
        ) from None
    longest_s = patience_s * _STALLED  # the driver reads the clock: our own patience is to end first
    options: dict[str, Any] = {
        "socket_timeout": longest_s,
        "socket_connect_timeout": longest_s,
        "max_connections": max_connections,
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        if cluster:
            return RedisCluster.from_url(url, **options), exceptions
        return Redis(
            connection_pool=BlockingConnectionPool.from_url(url, timeout=longest_s, **options)
        ), exceptions
    except ValueError:
        raise OperatorError(
            "ledger", "the address is not a Redis URL", "Use redis://, rediss:// or unix://."
        ) from None


def _levels(names: Sequence[str], numbers: Sequence[int]) -> tuple[Level, ...]:
    """Return the levels of accounts; numbers: of each limit, used, reserved, granted and resets."""
    levels = []
    for name, at in zip(names, range(0, len(numbers), NUMBERS_PER_LEVEL), strict=False):
        limit, used, reserved, granted, resets = numbers[at : at + NUMBERS_PER_LEVEL]
        key, _, shape = name.partition("\x1f")
        start, end = map(int, shape[1:].split(":")) if shape[0] == "f" else (None, None)
        levels.append(Level(key, limit, used, reserved, granted, _or_none(resets), start, end))
    return tuple(levels)


def _settlement(reply: Reply) -> Settlement:
    return Settlement(Booking(reply.outcome.decode()), _levels(_split(reply.more), reply.numbers[1:]))


def _split(names: bytes) -> list[str]:
    return names.decode().split("\x1e") if names else []


def _key(name: str) -> str:
    return name.partition("\x1f")[0]


def _or_none(number: int) -> int | None:
    return None if number == -1 else number
