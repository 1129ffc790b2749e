# ruff: noqa: E501
"""Attacks and honest texts in other languages: attack and honest for people's prompts, planted and clean for documents."""

from collections.abc import Mapping, Sequence

from training.injection import languages_east, languages_more, languages_west

COMMON = {
    "bot": ["ZORG", "NOVA", "FreeBot", "OMNI", "KAOS", "DAN", "X-9"],
    "word": ["OK", "banana", "HACKED", "42", "Pwned", "Hola"],
}


def joined(*groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the lists of all groups; lists of one name follow each other."""
    out: dict[str, list[str]] = {}
    for group in groups:
        for name, values in group.items():
            out[name] = [*out.get(name, []), *values]
    return out


LISTS = {
    lang: joined(lists, languages_more.LISTS.get(lang, {}))
    for lang, lists in {**languages_west.LISTS, **languages_east.LISTS}.items()
}
