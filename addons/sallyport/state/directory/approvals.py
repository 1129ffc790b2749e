"""What people are asked to approve, and what they approved, in the tables of the directory.

A request is of one principal of one tenant, for one rule and one resource; its id is a keyed digest of the
four, so to know an id is to know nothing else, and to approve it serves nobody else. Functions that decide
take the section `approvals` of the policy and raise OperatorError for what it does not allow.
"""

import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select, update

from sallyport.decision import Need
from sallyport.errors import OperatorError
from sallyport.policy.approvals import Approvals
from sallyport.stages.approvals import EVERY_RULE
from sallyport.stages.directory import Approval
from sallyport.state.directory.schema import approvals, names, requests, votes
from sallyport.state.directory.times import microseconds, moment, moment_or_none

MAX_OPEN = 100
"""Open requests of one principal: who names models at random must not fill the store."""

MAX_REASON_CHARS = 500


class RequestState(StrEnum):
    """open: nobody has decided. expired: it was approved, and is not any more."""

    OPEN = "open"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"


class Registered(StrEnum):
    """What became of a request. new: it is open now, and was not. full: its principal has too many open."""

    NEW = "new"
    KNOWN = "known"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Vote:
    """One approver's yes to a request that needs more of them."""

    approver: str
    reason: str
    at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Request:
    """Something that somebody is to approve. exchange: the call that was refused first.

    decided_by, reason: who decided last, and why not, where it was denied or taken back.
    """

    need: Need
    asked_at: datetime
    exchange: str
    state: RequestState
    decided_by: str = ""
    reason: str = ""
    votes: tuple[Vote, ...] = ()
    approval: "Given | None" = None

    def counted(self, now: datetime) -> tuple[Vote, ...]:
        """Return the votes that have not run out."""
        return tuple(vote for vote in self.votes if now < vote.expires_at)


@dataclass(frozen=True, slots=True)
class Given:
    """An approval with what only people ask of it."""

    approval: Approval
    approver: str
    reason: str
    given_at: datetime
    revoked: bool = False

    def holds(self, now: datetime) -> bool:
        """Say whether it is in force."""
        expires_at = self.approval.expires_at
        return not self.revoked and expires_at is not None and now < expires_at


def load_approvals(connection: Connection) -> tuple[Approval, ...]:
    """Return every approval that was not revoked, expired ones included, by id."""
    return tuple(given.approval for given in load_given(connection, approvals.c.revoked.is_(False)))


def load_given(connection: Connection, *where: ColumnElement[bool]) -> tuple[Given, ...]:
    """Return approvals and broken glass, by id."""
    found = select(approvals).where(and_(True, *where)).order_by(approvals.c.id)
    return tuple(_given(row) for row in connection.execute(found))


def load_requests(connection: Connection, now: datetime, tenant: str | None = None) -> tuple[Request, ...]:
    """Return requests, those asked for last first."""
    query = select(requests).order_by(requests.c.asked_us.desc(), requests.c.id)
    if tenant is not None:
        query = query.where(requests.c.tenant == tenant)
    rows = connection.execute(query).all()
    given: dict[tuple[str, ...], list[Given]] = defaultdict(list)
    for each in load_given(connection, approvals.c.break_glass.is_(False), approvals.c.revoked.is_(False)):
        given[tuple(getattr(each.approval, name) for name in _KEY)].append(each)
    cast: dict[str, list[Vote]] = defaultdict(list)
    for vote in connection.execute(select(votes).order_by(votes.c.at_us)):
        cast[vote.request].append(_vote(vote))
    return tuple(
        _request(row, given.get(tuple(getattr(row, name) for name in _KEY), ()), cast.get(row.id, ()), now)
        for row in rows
    )


def find_glass(connection: Connection, id: str) -> Given | None:
    """Return the broken glass of an id, also one that is over."""
    found = load_given(connection, approvals.c.id == id, approvals.c.break_glass.is_(True))
    return next(iter(found), None)


def find_request(connection: Connection, id: str, now: datetime) -> Request | None:
    """Return the request of an id."""
    row = connection.execute(select(requests).where(requests.c.id == id)).first()
    if row is None:
        return None
    need = Need(row.id, row.tenant, row.principal, row.rule, row.resource)
    given = load_given(connection, *_about(approvals, need), approvals.c.revoked.is_(False))
    cast = connection.execute(select(votes).where(votes.c.request == id).order_by(votes.c.at_us))
    return _request(row, given, tuple(map(_vote, cast)), now)


# -- the gateway ---------------------------------------------------------------------------------------


def standing(connection: Connection, need: Need, now: datetime) -> Registered:
    """Say what would become of a request, without writing anything."""
    row = connection.execute(select(requests).where(*_about(requests, need))).first()
    if row is not None:
        lapsed = row.state == RequestState.APPROVED and not _in_force(connection, need, now)
        return Registered.NEW if lapsed else Registered.KNOWN
    whose = (requests.c.tenant == need.tenant, requests.c.principal == need.principal)
    count = select(func.count()).where(*whose, requests.c.state == RequestState.OPEN.value)
    return Registered.FULL if int(connection.scalar(count) or 0) >= MAX_OPEN else Registered.NEW


def register(connection: Connection, need: Need, exchange: str, now: datetime) -> Registered:
    """Open a request, new or again after its approval has expired. What somebody denied stays denied."""
    found = standing(connection, need, now)
    if found is not Registered.NEW:
        return found
    values = {
        "id": need.id,
        "asked_us": microseconds(now),
        "exchange": exchange,
        "state": RequestState.OPEN.value,
        "decided_by": "",
        "reason": "",
    }
    if connection.execute(update(requests).where(*_about(requests, need)).values(values)).rowcount == 0:
        key = {name: getattr(need, name) for name in _KEY}
        connection.execute(insert(requests).values(**key, **values))
    connection.execute(delete(votes).where(votes.c.request == need.id))
    return found


# -- people --------------------------------------------------------------------------------------------


def approve(
    connection: Connection,
    id: str,
    by: str,
    reason: str,
    now: datetime,
    expires_at: datetime,
    policy: Approvals,
) -> Given | None:
    """Approve a request until a time. Returns None where more approvers are needed. Raises OperatorError.

    Of several approvers the shortest time counts. An approval that is in force already is replaced.
    """
    request = _known(connection, id, now)
    _check_approver(connection, request, by, policy)
    _check_reason(reason)
    _check_time(now, expires_at, policy.longest_s, "approvals.longest_s")
    connection.execute(delete(votes).where(votes.c.request == id, func.lower(votes.c.approver) == by.lower()))
    cast = Vote(by, reason, now, expires_at)
    connection.execute(
        insert(votes).values(
            request=id,
            approver=by,
            reason=reason,
            at_us=microseconds(now),
            expires_us=microseconds(expires_at),
        )
    )
    others = [v for v in request.counted(now) if v.approver.lower() != by.lower()]
    counted = [*(v for v in others if may_approve(v.approver, policy)), cast]
    if len(counted) < policy.min_approvers:
        return None
    need = request.need
    given = Given(
        Approval(
            _new_id("apv"),
            need.tenant,
            need.principal,
            need.rule,
            need.resource,
            min(vote.expires_at for vote in counted),
            approvers=tuple(vote.approver for vote in counted),
            given_at=now,
        ),
        approver=_BETWEEN.join(vote.approver for vote in counted),
        reason=" / ".join(dict.fromkeys(vote.reason for vote in counted)),
        given_at=now,
    )
    _revoke(connection, _about(approvals, need))
    _put(connection, given)
    _decide(connection, id, RequestState.APPROVED, by, "")
    return given


def deny(connection: Connection, id: str, by: str, reason: str, now: datetime, policy: Approvals) -> Request:
    """Say no to a request; who asks again is refused without a new request. Raises OperatorError."""
    request = _known(connection, id, now)
    if not may_approve(by, policy):
        raise _not_an_approver()
    _check_reason(reason)
    if request.state is RequestState.APPROVED:
        raise OperatorError("REQUEST", "it is approved", "Take that back with: sallyport approvals revoke")
    _decide(connection, id, RequestState.DENIED, by, reason)
    return request


def revoke(connection: Connection, id: str, by: str, reason: str, now: datetime) -> Given:
    """Take an approval back, by the id of its request or its own; broken glass by its own. Raises OperatorError."""
    _check_reason(reason)
    request = find_request(connection, id, now)
    by_id = load_given(connection, approvals.c.id == id)
    given = next(iter(by_id), None) if request is None else request.approval
    if given is None or not given.holds(now):
        raise OperatorError(
            "ID", "there is no approval of it in force", "List them with: sallyport approvals list --all"
        )
    approval = given.approval
    _revoke(connection, (approvals.c.id == approval.id,))
    if approval.break_glass:
        both = f"{given.reason} / revoked by {by}: {reason}"
        connection.execute(update(approvals).where(approvals.c.id == approval.id).values(reason=both))
    else:
        where = tuple(requests.c[name] == getattr(approval, name) for name in _KEY)
        found = connection.scalar(select(requests.c.id).where(*where))
        if found is not None:
            _decide(connection, found, RequestState.DENIED, by, reason)
    return given


def break_glass(
    connection: Connection,
    tenant: str,
    principal: str,
    rule: str,
    by: str,
    reason: str,
    now: datetime,
    expires_at: datetime,
    policy: Approvals,
) -> Given:
    """Set a rule aside for a principal until a time; EVERY_RULE for all that allow it. Raises OperatorError."""
    if policy.break_glass_by and by.lower() not in {name.lower() for name in policy.break_glass_by}:
        raise OperatorError(
            "break-glass", "approvals.break_glass_by does not name your account", "Ask one of those it names"
        )
    _check_reason(reason)
    _check_time(now, expires_at, policy.break_glass_longest_s, "approvals.break_glass_longest_s")
    approval = Approval(
        _new_id("glass"),
        tenant,
        principal,
        rule or EVERY_RULE,
        "",
        expires_at,
        break_glass=True,
        approvers=(by,),
        given_at=now,
    )
    given = Given(approval, by, reason, now)
    _put(connection, given)
    return given


def may_approve(by: str, policy: Approvals) -> bool:
    """Say whether a policy lets an account decide."""
    return not policy.approvers or by.lower() in {name.lower() for name in policy.approvers}


# -- inside --------------------------------------------------------------------------------------------

_KEY = ("tenant", "principal", "rule", "resource")
_BETWEEN = ", "
"""Between the accounts of several approvers; an account's name has no comma."""


def _about(table: Any, need: Need) -> tuple[ColumnElement[bool], ...]:
    same = tuple(table.c[name] == getattr(need, name) for name in _KEY)
    return same if table is requests else (*same, approvals.c.break_glass.is_(False))


def _in_force(connection: Connection, need: Need, now: datetime) -> bool:
    return any(given.holds(now) for given in load_given(connection, *_about(approvals, need)))


def _known(connection: Connection, id: str, now: datetime) -> Request:
    request = find_request(connection, id, now)
    if request is None:
        raise OperatorError(
            "REQUEST",
            "there is no such request",
            "List them with: sallyport approvals list. A gateway whose store was down registers late; of a principal "
            f"with {MAX_OPEN} open requests none is registered",
        )
    return request


def _check_approver(connection: Connection, request: Request, by: str, policy: Approvals) -> None:
    if not may_approve(by, policy):
        raise _not_an_approver()
    if not policy.not_own:
        return
    need = request.need
    own = select(names.c.person).where(
        names.c.tenant == need.tenant,
        names.c.person == need.principal,
        or_(names.c.name == f"user:{by.lower()}", names.c.name == f"email:{by.lower()}"),
    )
    if need.principal.lower() == by.lower() or connection.execute(own).first() is not None:
        raise OperatorError(
            "REQUEST", "it is your own, and approvals.not_own is set", "Have somebody else approve it"
        )


def _not_an_approver() -> OperatorError:
    what = "approvals.approvers does not name your account"
    return OperatorError("REQUEST", what, "Have one of those it names decide")


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        raise OperatorError(
            "--reason", "it is empty, too long or not plain text", "Write one line for the auditor"
        )


def _check_time(now: datetime, expires_at: datetime, longest_s: int, key: str) -> None:
    if expires_at <= now:
        raise OperatorError("--for", "it is over already", "Write for example 8h")
    if expires_at - now > timedelta(seconds=longest_s + 1):
        hours = longest_s / 3600
        raise OperatorError("--for", f"{key} allows {hours:g} h at most", "Choose a shorter time")


def _decide(connection: Connection, id: str, state: RequestState, by: str, reason: str) -> None:
    values = {"state": state.value, "decided_by": by, "reason": reason}
    connection.execute(update(requests).where(requests.c.id == id).values(values))
    connection.execute(delete(votes).where(votes.c.request == id))


def _revoke(connection: Connection, where: Sequence[ColumnElement[bool]]) -> None:
    connection.execute(update(approvals).where(*where).values(revoked=True))


def _put(connection: Connection, given: Given) -> None:
    approval = given.approval
    assert approval.expires_at is not None
    connection.execute(
        insert(approvals).values(
            id=approval.id,
            **{name: getattr(approval, name) for name in _KEY},
            approver=given.approver,
            reason=given.reason,
            given_us=microseconds(given.given_at),
            expires_us=microseconds(approval.expires_at),
            revoked=False,
            break_glass=approval.break_glass,
        )
    )


def _request(row: Row[Any], found: Sequence[Given], cast: Sequence[Vote], now: datetime) -> Request:
    """Return a request. found: approvals of the same that were not revoked. cast: votes on it, oldest first."""
    given = max(found, key=lambda each: each.given_at, default=None)
    state = RequestState(row.state)
    if state is RequestState.APPROVED and (given is None or not given.holds(now)):
        state = RequestState.EXPIRED
    return Request(
        Need(row.id, row.tenant, row.principal, row.rule, row.resource),
        moment(row.asked_us),
        row.exchange,
        state,
        row.decided_by,
        row.reason,
        tuple(cast),
        given,
    )


def _vote(row: Row[Any]) -> Vote:
    return Vote(row.approver, row.reason, moment(row.at_us), moment(row.expires_us))


def _given(row: Row[Any]) -> Given:
    approval = Approval(
        id=row.id,
        tenant=row.tenant,
        principal=row.principal,
        rule=row.rule,
        resource=row.resource,
        expires_at=moment_or_none(row.expires_us),
        break_glass=bool(row.break_glass),
        approvers=tuple(filter(None, row.approver.split(_BETWEEN))),
        given_at=moment(row.given_us),
    )
    return Given(approval, row.approver, row.reason, moment(row.given_us), bool(row.revoked))


def _new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"
