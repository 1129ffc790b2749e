"""Why our findings differ from stock Presidio's: an argument for each class of difference and type."""

from collections import Counter

from quality.differential import Difference

_WORDS = "found by its own name, in a key or a column head, where their words within the sentence are not"

EXPLAINED: dict[Difference, dict[str, str]] = {
    Difference.STRICTER: {
        "CREDIT_CARD": "article numbers of a card's length that pass Luhn by chance; ours know the issuers' ranges",
        "DATE_TIME": "any date; ours report dates of birth, and any date from paranoia 3",
        "EMAIL_ADDRESS": "git remotes",
        "IP_ADDRESS": "loopback, masks and versions",
        "MEDICAL_LICENSE": "part numbers of the same shape that pass the checksum; ours want a word",
        "UK_NHS": "ten digits that pass the checksum; ours want a word",
        "URL": "host names and file names without a scheme",
        "US_ITIN": "numbers called orders",
        "IBAN_CODE": "mixed case, and lengths the country does not have",
        "US_SSN": "numbers called orders or parts, and 3-2-4 in a row of its like",
        "UUID": "identifiers of machines; ours have no such type",
    },
    Difference.RENAMED: {
        "CREDIT_CARD": "digits of another number; ours give them its type",
        "DATE_TIME": "part of another value",
        "MEDICAL_LICENSE": "identity numbers of the same shape, found by their own rule",
        "UK_NHS": "telephone and social insurance numbers that pass the checksum, found by their own rule",
        "UUID": "part of another value; ours have no such type",
        "URL": "the host of an e-mail address; the address itself is found",
        "US_SSN": "digits of another number, found by its own rule",
    },
    Difference.MISSED: {
        "DATE_TIME": "a birth date that another speaker asked for a line above; bare dates, which need paranoia 3",
        "UK_NHS": "grouped as American telephone numbers are, and found as such; bare, it needs a word",
        "CREDIT_CARD": "bare test numbers of thirteen and fourteen digits, which article numbers share",
        "MAC_ADDRESS": "dotted groups of letters alone, which words are as well",
        "URL": "host names without a scheme",
        "IP_ADDRESS": "loopback, link-local and mapped addresses, which are nobody's",
    },
    Difference.MORE: {
        "CREDIT_CARD": "Mastercard's range from 2221 to 2720",
        "CRYPTO": "Ethereum addresses beside a word; theirs are Bitcoin's",
        "DATE_TIME": "months and orders of a date that are not English",
        "IP_ADDRESS": "an IPv6 address with a port written after it",
        "PHONE_NUMBER": "national numbers of ten regions, by their plans; theirs need a country code or a few regions",
        "US_BANK_NUMBER": _WORDS,
        "US_DRIVER_LICENSE": _WORDS,
        "US_PASSPORT": _WORDS,
        "US_SSN": _WORDS,
    },
    Difference.FALSE: {
        "US_DRIVER_LICENSE": "a second number in a sentence about a licence",
        "CREDIT_CARD": "the groups of an account whose IBAN has a wrong check number",
        "PHONE_NUMBER": "numbers of orders beside a word for telephones, in sentences without a name for them",
        "US_PASSPORT": "a second number in a sentence about a passport",
        "US_SSN": "3-2-4 with nothing that names it: taken for the likelier and worse of two readings",
    },
}


def unexplained(counted: Counter[tuple[Difference, str]]) -> list[str]:
    """Return the differences for which there is no argument."""
    return [
        f"{k}: {entity} ({n})" for (k, entity), n in sorted(counted.items()) if entity not in EXPLAINED[k]
    ]


def table(counted: Counter[tuple[Difference, str]]) -> str:
    """Return the differences as Markdown rows, each with its argument."""
    rows = ["| difference | type | count | why |", "| --- | --- | ---: | --- |"]
    rows += [
        f"| {kind} | {entity} | {count} | {EXPLAINED[kind].get(entity, 'UNEXPLAINED')} |"
        for (kind, entity), count in sorted(counted.items())
    ]
    return "\n".join(rows)
