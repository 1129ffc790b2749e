"""The labels of other people's models in Presidio's words.

Collected from the label sets of OntoNotes, CoNLL, WikiNER and the national corpora spaCy's and Hugging Face's
public models are trained on; a label that is not here is ignored.
"""

_LABELS = {
    "PERSON": ("PERSON", "PER", "PS", "PRS", "PERSNAME", "FIRSTNAME", "LASTNAME", "GIVENNAME", "SURNAME"),
    "LOCATION": (
        *("LOCATION", "LOC", "GPE", "GPE_LOC", "LC", "FAC", "FACILITY", "CITY", "COUNTRY", "STATE", "COUNTY"),
        *("PLACE", "PLACENAME", "GEOGNAME", "STREET", "ADDRESS", "PROVINCE"),
    ),
    "ORGANIZATION": ("ORGANIZATION", "ORGANISATION", "ORG", "GPE_ORG", "OG", "ORGNAME", "COMPANY"),
    "NRP": ("NRP", "NORP"),
}
_ENTITIES = {label: entity for entity, labels in _LABELS.items() for label in labels}


def entity_of(label: str) -> str | None:
    """Return the entity a label means, None for one that is not about names. Case and B-, I- do not matter."""
    plain = label.upper()
    if plain[1:2] in ("-", "_") and plain[0] in "BIESLU":
        plain = plain[2:]
    return _ENTITIES.get(plain)
