"""The policies a gateway has had in force: the texts of their files, by revision, in a folder of the gateway's."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, make_folder, write_file

_REVISION = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Version:
    """One policy as it was. name: of its main file, or of a preset, which has no files of its own.

    files: text by path relative to the main file, that one included. mode: what the command line put over it.
    folder: where they lay, beside what else the policy names: certificates, passwords.
    """

    revision: str
    name: str
    mode: str
    files: Mapping[str, str]
    folder: str = ""


class PolicyVersions:
    """Versions in a folder, each in a file of its own that is written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where they lie, each in its file."""
        return self._folder

    def keep(self, version: Version) -> None:
        """Store a version that is not there yet. Raises OSError."""
        path = self._path(version.revision)
        if path.exists():
            return
        make_folder(self._folder)
        members = {
            "name": version.name,
            "mode": version.mode,
            "folder": version.folder,
            "files": dict(version.files),
        }
        write_file(path, json.dumps(members).encode(), PRIVATE)

    def find(self, revision: str) -> Version:
        """Return a version. Raises OperatorError."""
        try:
            if not _REVISION.fullmatch(revision):
                raise FileNotFoundError
            said = json.loads(self._path(revision).read_text("utf-8"))
            files = {str(name): str(text) for name, text in said["files"].items()}
            return Version(revision, str(said["name"]), str(said["mode"]), files, str(said["folder"]))
        except FileNotFoundError:
            raise OperatorError(
                revision,
                "no policy of this revision was in force here",
                "List them: sallyport policy history",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise OperatorError(
                str(self._path(revision)), "it cannot be read as a policy", "Restore it from a backup"
            ) from None

    def __contains__(self, revision: str) -> bool:
        return bool(_REVISION.fullmatch(revision)) and self._path(revision).exists()

    def _path(self, revision: str) -> Path:
        return self._folder / f"{revision}.json"


def version_of(revision: str, main: Path, others: Iterable[str], mode: str) -> Version:
    """Read the files of a policy as they are now. others: paths relative to the main file's folder. Raises OSError."""
    files = {main.name: main.read_bytes().decode("utf-8")}  # line ends as they are: digests know them
    for name in others:
        files[name] = (main.parent / name).read_bytes().decode("utf-8")
    return Version(revision, main.name, mode, files, str(main.parent.resolve()))


@dataclass(frozen=True, slots=True)
class Promoted:
    """That a policy may take the place of another one, although it enforces more.

    what: was promoted, `access.no-shell`, "" for the file as it stands. to: its new state. report_sha256: of the
    replay report that was demanded, "" where it was forced, for a reason.
    """

    revision: str
    base: str
    what: str
    to: str
    report_sha256: str
    reason: str
    by: str
    at: str


class Promotions:
    """Promotions in the folder of the versions, each in a file of its own that is written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, promoted: Promoted) -> None:
        """Store a promotion; a later one of the same two policies takes its place. Raises OSError."""
        make_folder(self._folder)
        path = self._path(promoted.base, promoted.revision)
        write_file(path, json.dumps(asdict(promoted)).encode(), PRIVATE)

    def leading(self, base: str, revision: str) -> list[Promoted] | None:
        """Return the promotions that lead from one policy to another, the last one first; None where none do."""
        reached: dict[str, list[Promoted]] = {revision: []}
        waiting = [revision]
        while waiting:
            at = waiting.pop()
            if at == base:
                return reached[at]
            for promoted in self._into(at):
                if promoted.base not in reached:
                    reached[promoted.base] = [*reached[at], promoted]
                    waiting.append(promoted.base)
        return None

    def _into(self, revision: str) -> list[Promoted]:
        found = []
        for path in sorted(self._folder.glob(f"*-{revision}.promoted")):
            try:
                promoted = Promoted(**json.loads(path.read_text("utf-8")))
            except (OSError, ValueError, TypeError):
                continue  # what cannot be read promotes nothing
            if path == self._path(promoted.base, promoted.revision):
                found.append(promoted)
        return found

    def _path(self, base: str, revision: str) -> Path:
        return self._folder / f"{base}-{revision}.promoted"
