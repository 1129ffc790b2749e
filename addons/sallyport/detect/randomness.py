"""How random a value is: bits per character, how often kinds of characters take turns, and how few vowels it has."""

import math
import re
from collections import Counter


def entropy(text: str) -> float:
    """Return the Shannon entropy in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values()) if text else 0.0


def turns(value: str) -> int:
    """Count where letters and digits, or cases, follow on one another: words and numbers seldom do it."""
    return len(re.findall(r"[A-Za-z]\d|\d[A-Za-z]|[a-z][A-Z]", value))


_CONSONANTS = re.compile(r"(?i)[b-df-hj-np-tv-xz]{4}")


def is_unspeakable(value: str) -> bool:
    """Twenty letters and more with few vowels: in words two of five are, of random letters one of five is."""
    letters = re.sub(r"[^a-z]", "", value.lower())
    vowels = sum(c in "aeiou" for c in letters)
    return len(letters) >= 20 and vowels <= 0.27 * len(letters) and bool(_CONSONANTS.search(value))
