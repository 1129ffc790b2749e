"""The rules under which decisions were made: every file and library they depend on beside the policy, by digest."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, make_folder, write_file

_PREFIX = re.compile(r"[0-9a-f]{8,32}")
_SUFFIX = ".rules"


@dataclass(frozen=True, slots=True)
class Rules:
    """parts: SHA-256 of a file, or the version of a library, by its name: `rules/pii/contact.yaml`, `library/numpy`."""

    parts: Mapping[str, str]

    @property
    def canonical(self) -> str:
        """The text whose SHA-256 is the revision."""
        return json.dumps(dict(self.parts), sort_keys=True, separators=(",", ":"))

    @property
    def revision(self) -> str:
        """First 32 hex digits of the SHA-256 of all names and digests, as JSON with sorted names and no blanks."""
        return hashlib.sha256(self.canonical.encode("ascii")).hexdigest()[:32]

    @property
    def without_code(self) -> "Rules":
        """What is left without the digest of the code: files and libraries."""
        return Rules({name: digest for name, digest in self.parts.items() if name != CODE})


CODE = "sallyport/code"


def parts_that_differ(before: Rules, after: Rules) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield name and both digests of what is not the same, sorted by name; None where it is not there."""
    for name in sorted(before.parts.keys() | after.parts.keys()):
        old, new = before.parts.get(name), after.parts.get(name)
        if old != new:
            yield name, old, new


class RulesVersions:
    """Rules that were in force, each in a file of its own that is written once. folder: of the policies' versions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, rules: Rules) -> None:
        """Store rules that are not there yet. Raises OSError."""
        path = self._path(rules.revision)
        if path.exists():
            return
        make_folder(self._folder)
        write_file(path, rules.canonical.encode("ascii"), PRIVATE)

    def find(self, name: str) -> Rules | None:
        """Return the rules of a revision, or of a beginning of one that is unique; None where there are none.

        Raises OperatorError for what was changed since, or where several begin so.
        """
        if not _PREFIX.fullmatch(name):
            return None
        found = sorted(self._folder.glob(f"{name}*{_SUFFIX}"))
        if len(found) > 1:
            raise OperatorError(name, "several rules begin so", "Write more of it")
        for path in found:
            try:
                rules = Rules({str(k): str(v) for k, v in json.loads(path.read_text("ascii")).items()})
                if rules.revision == path.stem:
                    return rules
            except (OSError, ValueError, AttributeError):
                pass
            raise OperatorError(str(path), "it was changed, or cannot be read", "Restore it from a backup")
        return None

    def __contains__(self, revision: str) -> bool:
        return bool(_PREFIX.fullmatch(revision)) and self._path(revision).exists()

    def _path(self, revision: str) -> Path:
        return self._folder / f"{revision}{_SUFFIX}"
