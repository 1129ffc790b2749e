"""Which names prove somebody: spelt one way only, so that nobody is two people and no two people look alike."""

import unicodedata

from sallyport.stages.directory import Directory, Person, folded

MAX_NAME_CHARS = 200


def is_plain(name: str) -> bool:
    """Say whether a name may be an id as it is: ASCII, printable, no blanks around or doubled."""
    return (
        0 < len(name) <= MAX_NAME_CHARS
        and name.isascii()
        and name.isprintable()
        and name == name.strip()
        and "  " not in name
    )


def is_sound(name: str) -> bool:
    """Say whether a name may be looked up at all: bounded, printable, and its own normal form.

    Without the last a compatibility letter would fold to another one: the Kelvin sign to k.
    """
    if is_plain(name):
        return True
    return (
        0 < len(name) <= MAX_NAME_CHARS
        and name.isprintable()
        and name == name.strip()
        and unicodedata.is_normalized("NFKC", name)
        and unicodedata.is_normalized("NFKC", name.lower())
        and not any(
            unicodedata.category(c) in ("Cf", "Co", "Cn", "Cs", "Zs", "Zl", "Zp") for c in name if c != " "
        )
    )


def listed(directory: Directory, kind: str, value: str) -> Person | None:
    """Return whose name this is in the directory."""
    return directory.named(folded(f"{kind}:{value}")) if is_sound(value) else None
