"""The tables of kept content, and those of its keys, which are kept in another database.

A backup of the content is worth nothing without the keys: who destroys a key destroys its person in every copy.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text

CONTENT_VERSION = 1
KEYS_VERSION = 1

CONTENT_PART = "content"
KEYS_PART = "content_keys"


def _versions(metadata: MetaData) -> Table:
    """Return the table of versions that all parts of a database share."""
    return Table(
        "sallyport_schema",
        metadata,
        Column("part", Text, primary_key=True),
        Column("version", Integer, nullable=False),
    )


content = MetaData()
content_versions = _versions(content)

records = Table(
    "content_records",
    content,
    Column("exchange", Text, primary_key=True),
    Column("part", Text, primary_key=True, doc="request or answer"),
    Column("key", Text, nullable=False, doc="id of the subject's key"),
    Column("tenant", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False, doc="microseconds since 1970-01-01 UTC"),
    Column("until_us", BigInteger, nullable=False, doc="from then on it is swept away"),
    Column("kind", Text, nullable=False, doc="its class, by which it is kept longer or shorter"),
    Column("form", Text, nullable=False, doc="masked or original"),
    Column("sealed", LargeBinary, nullable=False),
    Index("content_by_key", "key"),
    Index("content_by_end", "until_us"),
)

tokens = Table(
    "content_tokens",
    content,
    Column("token", LargeBinary, primary_key=True, doc="of one value, under the subject's index key"),
    Column("exchange", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Index("content_tokens_by_exchange", "exchange"),
    Index("content_tokens_by_key", "key"),
    Index("content_tokens_by_end", "until_us"),
)

reveals = Table(
    "content_reveals",
    content,
    Column("id", Text, primary_key=True),
    Column("exchange", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("approved_by", Text, nullable=False, server_default=""),
    Column("approved_reason", Text, nullable=False, server_default=""),
    Column("until_us", BigInteger, doc="end of the approval; NULL where there is none"),
    Index("content_reveals_by_exchange", "exchange"),
)

keys = MetaData()
keys_versions = _versions(keys)

subject_keys = Table(
    "content_keys",
    keys,
    Column("id", Text, primary_key=True, doc="32 hex digits, random: says nothing of whose it is"),
    Column("subject", Text, nullable=False, unique=True, doc="keyed digest of tenant and principal"),
    Column("tenant", Text, nullable=False),
    Column("sealed", Text, nullable=False, doc="32 bytes under the master key"),
    Column("made_us", BigInteger, nullable=False),
)

people = Table(
    "content_people",
    keys,
    Column("pseudonym", Text, primary_key=True, doc="what stands for a person in events"),
    Column(
        "owner", Text, nullable=False, doc="known to who has the person's key: finds the rows of one person"
    ),
    Column("sealed", Text, nullable=False, doc="id of the key, and the name under that key; see naming.py"),
    Index("content_people_by_owner", "owner"),
)

settings = Table(
    "content_key_settings",
    keys,
    Column("name", Text, primary_key=True),
    Column("sealed", Text, nullable=False),
)

erasures = Table(
    "content_erasures",
    keys,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True, doc="id of a key that was destroyed"),
    Column("subject", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("event", Text, nullable=False, doc="id of the event that tells of it"),
    Column("done", Integer, nullable=False, doc="0 until rows and event have followed the key"),
    Index("content_erasures_by_subject", "subject"),
    sqlite_autoincrement=True,
)
