"""Content to test against: in SQLite files, and in a schema of one real PostgreSQL server."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from audit.conftest import postgres, postgres_url, sqlite_url  # noqa: F401
from sallyport.state.content.keys import VARIABLE, SubjectKeys, keys_address
from sallyport.state.content.store import ContentStore, content_address
from sallyport.state.masterkey import MasterKeys


@dataclass
class Place:
    """Where content, its keys and the master key are. url: of the audit."""

    folder: Path
    url: str
    variables: dict[str, str]

    def masters(self) -> MasterKeys:
        return MasterKeys(self.folder, self.variables)

    def keys(self) -> SubjectKeys:
        """Return the keys as another process would see them."""
        masters = self.masters()
        return SubjectKeys(keys_address(masters), masters)

    def store(self) -> ContentStore:
        return ContentStore(content_address(self.url))


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    variables = {}
    url = str(tmp_path / "audit.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
        variables[VARIABLE] = url
    place = Place(tmp_path, url, variables)
    place.masters().make()
    return place
