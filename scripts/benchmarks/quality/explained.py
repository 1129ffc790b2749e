"""Why our findings differ from stock Presidio's: an argument for each class of difference and type."""

from collections import Counter

from quality.differential import Difference

_NUMBERS = "their weakest patterns pass any number of that length once a word is near; ours ask what it is called"
_WORDS = "found by its own name, in a key or a column head, where their words within the sentence are not"

EXPLAINED: dict[Difference, dict[str, str]] = {
    Difference.STRICTER: {
        "CREDIT_CARD": "article numbers of a card's length that pass Luhn by chance; ours know the issuers' ranges",
        "DATE_TIME": "any date; ours report dates of birth, and any date from paranoia 3",
        "EMAIL_ADDRESS": "git remotes and scoped packages",
        "IP_ADDRESS": "loopback, masks, versions and operators of scope",
        "MEDICAL_LICENSE": "part numbers of the same shape that pass the checksum; ours want a word",
        "UK_NHS": "ten digits that pass the checksum; ours want a word",
        "URL": "host names and file names without a scheme",
        "US_ITIN": "numbers called orders",
        "US_SSN": "numbers called orders or parts, and 3-2-4 in a row of its like",
        "US_BANK_NUMBER": _NUMBERS,
        "US_DRIVER_LICENSE": _NUMBERS,
        "US_PASSPORT": _NUMBERS,
        "PHONE_NUMBER": "numbers of documents near a word for telephones",
        "UUID": "identifiers of machines; ours have no such type",
    },
    Difference.RENAMED: {
        "CREDIT_CARD": "digits of another number; ours give them its type",
        "DATE_TIME": "part of another value",
        "MEDICAL_LICENSE": "identity numbers of the same shape, found by their own rule",
        "UK_NHS": "telephone and social insurance numbers that pass the checksum, found by their own rule",
        "URL": "the host of an e-mail address; the address itself is found",
        "US_SSN": "digits of another number, found by its own rule",
        "PHONE_NUMBER": "digits of another number, found by its own rule",
    },
    Difference.MISSED: {
        "DATE_TIME": "dates of birth under words we do not know; their rule takes every date",
        "UK_NHS": "no word names it, and one number of ten digits in eleven passes the checksum",
        "CRYPTO": "addresses of a kind without a rule",
        "IP_ADDRESS": "addresses that look like a version",
        "PHONE_NUMBER": "numbers whose name says something else",
    },
    Difference.MORE: {
        "CREDIT_CARD": "cards in groups of other separators, and of issuers they have no range for",
        "CRYPTO": "Ethereum addresses beside a word; theirs are Bitcoin's",
        "DATE_TIME": "months and orders of a date that are not English",
        "IP_ADDRESS": "addresses with a prefix length or a port",
        "PHONE_NUMBER": "national numbers of ten regions, by their plans; theirs need a country code or a few regions",
        "UK_NHS": _WORDS,
        "URL": "addresses their list of suffixes does not know",
        "US_BANK_NUMBER": _WORDS,
        "US_DRIVER_LICENSE": _WORDS,
        "US_ITIN": _WORDS,
        "US_PASSPORT": _WORDS,
        "US_SSN": _WORDS,
        "MEDICAL_LICENSE": _WORDS,
        "IBAN_CODE": "groups parted by other marks",
    },
    Difference.FALSE: {
        "PHONE_NUMBER": "numbers of orders beside a word for telephones, in sentences without a name for them",
        "US_PASSPORT": "a second number in a sentence about a passport",
        "US_SSN": "3-2-4 with nothing that names it: taken for the likelier and worse of two readings",
        "US_BANK_NUMBER": "a second number in a sentence about an account",
        "US_DRIVER_LICENSE": "a second number in a sentence about a licence",
    },
}


def unexplained(counted: Counter[tuple[Difference, str]]) -> list[str]:
    """Return the differences for which there is no argument."""
    return [f"{k}: {entity} ({n})" for (k, entity), n in sorted(counted.items()) if entity not in EXPLAINED[k]]


def table(counted: Counter[tuple[Difference, str]]) -> str:
    """Return the differences as Markdown rows, each with its argument."""
    rows = ["| difference | type | count | why |", "| --- | --- | ---: | --- |"]
    rows += [
        f"| {kind} | {entity} | {count} | {EXPLAINED[kind].get(entity, 'UNEXPLAINED')} |"
        for (kind, entity), count in sorted(counted.items())
    ]
    return "\n".join(rows)
