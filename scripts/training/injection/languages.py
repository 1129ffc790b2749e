# ruff: noqa: E501
"""Attacks and honest texts in other languages: attack and honest for people's prompts, planted and clean for documents."""

from training.injection import languages_east, languages_west

COMMON = {"bot": ["ZORG", "NOVA", "FreeBot", "OMNI", "KAOS", "DAN", "X-9"], "word": ["OK", "banana", "HACKED", "42", "Pwned", "Hola"]}

LISTS = {**languages_west.LISTS, **languages_east.LISTS}
