"""In which region a call is processed, as far as its host, its path and its model say; unknown is "".

Two places that say different things say nothing.
"""

import re
from collections.abc import Iterable, Mapping

from sallyport.policy.hosts import HostMap

_REGION_HOLE = re.compile(r"\{(?:region|location)\}")
_HOLE = re.compile(r"\\\{[a-z_]+\\\}")
_NAMED = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"

_GEOGRAPHIES = frozenset({"us", "eu", "apac", "global", "us-gov", "jp", "au", "ca"})
"""First labels of Bedrock's inference profiles: us.anthropic.claude-... may run anywhere in that geography.

Source: AWS Bedrock user guide, "Supported Regions and models for inference profiles"; not tried against AWS.
"""
_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:([a-z0-9-]*):[0-9]*:([a-z-]+)/(.+)")


class Regions:
    """The regions of one provider's hosts."""

    def __init__(self, hosts: Iterable[str], said: Mapping[str, str], *, in_model: bool = False) -> None:
        """Take its host patterns, and the regions that the catalogue says of some."""
        self._said = HostMap(said.items())
        shaped = [h for h in hosts if _REGION_HOLE.search(h)]
        self._shaped = [_shape(pattern) for pattern in shaped]
        self._in_model = in_model

    def of(self, host: str, captured: Mapping[str, str], model: str | None) -> str:
        """Return the region of a call, "" where it is unknown.

        host: normalised. captured: what the client chose in the path, by the catalogue's names.
        """
        found = {self.of_host(host), captured.get("location", "")} - {""}
        region = found.pop() if len(found) == 1 else ""
        return _of_model((model or "").lower(), region) if self._in_model else region

    def of_host(self, host: str) -> str:
        """Return the region that a host says by itself, "" where it says none."""
        said = self._said.get(host)
        if said is not None:
            return said
        return next((m["region"] for shape in self._shaped if (m := shape.fullmatch(host))), "")


def _shape(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern.removeprefix("*."))
    text = re.sub(r"\\\{(?:region|location)\\\}", f"(?P<region>{_NAMED})", text, count=1)
    text = _HOLE.sub(_NAMED, text)
    return re.compile(rf"(?:[a-z0-9_-]+\.)+{text}" if pattern.startswith("*.") else text)


def _of_model(model: str, region: str) -> str:
    """Return where a Bedrock model runs that is called in a region."""
    arn = _ARN.fullmatch(model)
    if arn is not None:
        named, kind, resource = arn.groups()
        if kind == "foundation-model":
            return str(named or region)
        # An application's profile, a provisioned model or a prompt does not say where it runs.
        return _of_model(str(resource), "") if kind == "inference-profile" else ""
    labels = model.split(".")
    if labels[0] in _GEOGRAPHIES:
        return labels[0]
    # vendor.model: its own region. Three labels with an unknown first may be a geography of tomorrow.
    return region if len(labels) < 3 or not re.fullmatch(r"[a-z-]{2,6}", labels[0]) else ""
