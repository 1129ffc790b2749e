"""What was read of the patterns of rules that ship, kept beside them: reading takes milliseconds for each of hundreds.

scripts/derive_words writes it. A pattern that it does not know is read.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from sallyport.detect.extent import Extent, longest
from sallyport.detect.literals import Spellings, required
from sallyport.errors import OperatorError

FILE = "words.json"
"""By the name of a pattern, with a digest: {"words": {name: [[[word, ...], ...], longest]}, "digest": hex}.

longest: [characters, runs, digits], or null. Under packs.beside_name no words and null: a pattern that was found to
hold what stands beside it.
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of one pattern: literals.required and extent.longest. The words count where a rule has keywords."""

    required: tuple[Spellings, ...] = ()
    longest: Extent | None = None


def read(source: str) -> Reading:
    """Read a pattern as RE2 takes it."""
    return Reading(required(source), longest(source))


def name_of(source: str) -> str:
    """Return what a pattern is called in the file; another pattern has another name."""
    return hashlib.blake2b(source.encode(), digest_size=12).hexdigest()


def known_words(folder: Path) -> Mapping[str, Reading]:
    """Return what was read of the patterns in a folder of packs, by their names; nothing where there is no file.

    Raises OperatorError for a file that is not as it was written: with other words, rules would silently find less.
    """
    path = folder / FILE
    where = f"{folder.parent.name}/{folder.name}/{FILE}"
    todo = "Take it from where the rules come from, or delete it: the patterns are read then, at every start"
    try:
        held = orjson.loads(path.read_bytes())
        words = held["words"]
        if held["digest"] == _digest(words):
            return {
                name: Reading(tuple(map(frozenset, sets)), longest and Extent(*longest))
                for name, (sets, longest) in words.items()
            }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OperatorError(where, f"cannot be read: {type(error).__name__}", todo, exit_code=3) from None
    except (ValueError, TypeError, KeyError):
        pass  # of another version, or damaged
    raise OperatorError(where, "is not as it was written, and rules may not be looked for", todo)


def file_of_words(words: Mapping[str, Reading]) -> str:
    """Return what to write into the file. words: by the names of patterns."""
    listed = {
        name: [[sorted(spellings) for spellings in one.required], one.longest and [*one.longest]]
        for name, one in words.items()
    }
    held = {"digest": _digest(listed), "words": listed}
    return json.dumps(held, sort_keys=True, indent=0, ensure_ascii=False) + "\n"


def _digest(words: object) -> str:
    return hashlib.blake2b(orjson.dumps(words, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
