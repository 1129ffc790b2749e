"""A window of the week, as the clocks of one place show it."""

import re
from datetime import datetime, time
from functools import cached_property, lru_cache
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Section

type Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@lru_cache(64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _known_zone(name: str) -> str:
    try:
        _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Wrong("there is no such time zone", "Write it as Europe/Berlin, or UTC") from None
    return name


Zone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_known_zone)]
_CLOCK = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$"


def _time_of_day(text: str) -> str:
    if not re.fullmatch(_CLOCK, text):
        raise Wrong("this is no time of day", "Write hour and minute as `08:00`, from 00:00 to 23:59")
    return text


Clock = Annotated[str, AfterValidator(_time_of_day), WithJsonSchema({"type": "string", "pattern": _CLOCK})]


class Hours(Section):
    """A time of the week. `since` after `until` reaches over midnight and belongs to the day it began on."""

    zone: Zone = Field(default="UTC", description="Time zone whose clocks are meant: `Europe/Berlin`.")
    days: tuple[Day, ...] = Field(
        default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
        min_length=1,
        description="Days it holds on.",
    )
    since: Clock = Field(default="00:00", description="First minute, `08:00`.")
    until: Clock = Field(default="00:00", description="First minute after it; `00:00` is the end of the day.")

    @model_validator(mode="after")
    def _is_some_time(self) -> Self:
        if self.since == self.until != "00:00":
            raise Wrong("this window is empty", "Make `until` later than `since`", ("until",))
        return self

    @cached_property
    def _window(self) -> tuple[time, time]:
        return time.fromisoformat(self.since), time.fromisoformat(self.until)

    def holds(self, at: datetime) -> bool:
        """Say whether a moment (aware) is in it."""
        local = at.astimezone(_zone(self.zone))
        clock, today = local.time(), local.weekday()
        since, until = self._window
        midnight = time(0)
        if until == midnight or since < until:
            return _DAYS[today] in self.days and since <= clock and (until == midnight or clock < until)
        if clock >= since:
            return _DAYS[today] in self.days
        return clock < until and _DAYS[today - 1] in self.days
