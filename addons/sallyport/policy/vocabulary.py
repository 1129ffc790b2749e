"""The words every section of a policy is written in: bounded strings, and the models with keys."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from sallyport.policy.hosts import check_pattern
from sallyport.policy.problems import Wrong

KIB = 1024
MIB = 1024 * KIB


def _host_pattern(pattern: str) -> str:
    try:
        return check_pattern(pattern)
    except ValueError as error:
        raise Wrong(str(error), "Write it without scheme, port and path") from None


_FINGERPRINT = r"key_[0-9a-f]{24}"


def _fingerprint(text: str) -> str:
    if not re.fullmatch(_FINGERPRINT, text):
        what = "this is no fingerprint; if it is a provider key, treat the key as leaked"
        raise Wrong(what, "Take `key_` and 24 hex digits from the audit log of a call made with the key")
    return text


HostPattern = Annotated[str, Field(min_length=3, max_length=253), AfterValidator(_host_pattern)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
Entity = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Z][A-Z0-9_]*$")]
Header = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]
RuleGlob = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.*?-]*$")]
Region = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9][a-z0-9-]*$")]
MediaGlob = Annotated[str, Field(max_length=120, pattern=r"^[a-z0-9*][a-z0-9*.+-]*/[a-z0-9*][a-z0-9*.+-]*$")]
Fingerprint = Annotated[
    str, AfterValidator(_fingerprint), WithJsonSchema({"type": "string", "pattern": f"^{_FINGERPRINT}$"})
]
Port = Annotated[int, Field(ge=1, le=65535)]
Paranoia = Annotated[int, Field(ge=1, le=4)]


class Section(BaseModel):
    """Anything with keys in a policy file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; what was computed from the original (the revision, host maps) is left behind."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy


def unique(values: Iterable[str], at: str, key: str) -> None:
    """Raise Wrong where a value is given twice. at, key: where the second one stands."""
    listed = list(values)
    for value, times in Counter(listed).items():
        if times > 1:
            second = listed.index(value, listed.index(value) + 1)
            raise Wrong(f"the same {key} is given twice", "Keep one of the two", (at, second, key))
