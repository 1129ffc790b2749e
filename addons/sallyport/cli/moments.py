"""Times as an operator writes them: an age, or a time of ISO 8601."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.state.elapsed import FILE as ELAPSED
from sallyport.state.elapsed import Elapsed

_AGE = re.compile(r"([0-9]{1,9})([smhdw])")


def is_age(text: str) -> bool:
    """Say whether a time is written as an age."""
    return _AGE.fullmatch(text.strip()) is not None


def moment(text: str, now: datetime, option: str = "--since") -> datetime:
    """Return in UTC the time that an option names: an age counted back from now, or ISO 8601, UTC if unsaid.

    Raises OperatorError, which names the option.
    """
    if age := _AGE.fullmatch(text.strip()):
        try:
            return now - int(age[1]) * _UNITS[age[2]]
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)
    try:
        named = datetime.fromisoformat(text.strip())
        # What prints it says UTC: another offset must not leave here.
        return named.astimezone(UTC) if named.tzinfo else named.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise OperatorError(
            option, "neither an age nor a time", "Write 30s, 15m, 1h, 2d, 1w, or 2026-05-01T12:00."
        ) from None


def time_to_come(option: str, text: str, now: datetime, todo: str) -> datetime:
    """Return in UTC the time to come that an option names: a length counted on from now, or a time of ISO 8601.

    todo: what the operator may write. Raises OperatorError for what is neither, is over, or lies beyond all years.
    """
    try:
        named = moment(text, now)
        end = now + (now - named) if is_age(text) else named
    except (OperatorError, OverflowError):
        raise OperatorError(option, "it is no time to come", todo) from None
    if end <= now:
        raise OperatorError(option, "it is over already", todo)
    return end


def end_or_never(option: str, text: str, now: datetime) -> datetime | None:
    """Return the time to come that an option names, None for `never`. Raises OperatorError."""
    if text.strip().lower() == "never":
        return None
    return time_to_come(option, text, now, "Write 12h, 30d, a UTC time such as 2027-01-31, or never")


def check_period(since: datetime | None, until: datetime | None, now: datetime) -> None:
    """Raise OperatorError for a period in which nothing can have happened, naming the option that is wrong."""
    if since is not None and since >= now:
        raise OperatorError("--since", "it lies in the future", "Name an age, or a time that has passed")
    if since is not None and until is not None and since >= until:
        raise OperatorError("--until", "it is not after --since", "Give a period")


_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def passed(confdir: Path) -> datetime:
    """Return the time by which what a gateway keeps is old: a clock that has leapt makes nothing old at once.

    The time of day in a folder where no gateway has noted how much has passed. Raises OperatorError for a note that
    cannot be read: by the time of day everything might be old.
    """
    noted = confdir / ELAPSED
    if not noted.exists():
        return now()
    elapsed = Elapsed(noted, None)
    if not elapsed.was_noted:
        todo = (
            "Start the gateway, which writes it anew from its log, or give a date where the command takes one"
        )
        raise OperatorError(
            str(noted), "it cannot be read, and tells how much time has passed", todo, exit_code=3
        )
    return elapsed.now()


def now() -> datetime:
    """Return the present in UTC."""
    return datetime.now(UTC)
