"""The tables of the directory. Times are microseconds since 1970-01-01 UTC, lists and maps are JSON texts.

Every change raises `revision` in the same transaction; a gateway that reads a new number reads all anew.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 1

metadata = MetaData()

state = Table(
    "directory_state",
    metadata,
    Column("part", Text, primary_key=True, doc="always `directory`"),
    Column("version", Integer, nullable=False, doc="of this schema"),
    Column("revision", BigInteger, nullable=False),
)

tenants = Table(
    "directory_tenants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("attributes", Text, nullable=False, doc="JSON map"),
    Column("active", Boolean, nullable=False),
)

people = Table(
    "directory_people",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("roles", Text, nullable=False, doc="JSON list"),
    Column("attributes", Text, nullable=False, doc="JSON map"),
    Column("active", Boolean, nullable=False),
    Column("origin", Text, nullable=False, doc="what it came from: `cli`, or the name of an import"),
)

names = Table(
    "directory_names",
    metadata,
    Column("name", Text, primary_key=True, doc="kind:value, lower case"),
    Column("tenant", Text, nullable=False),
    Column("person", Text, nullable=False),
    ForeignKeyConstraint(
        ["tenant", "person"], ["directory_people.tenant", "directory_people.id"], ondelete="CASCADE"
    ),
    Index("directory_names_of", "tenant", "person"),
)

keys = Table(
    "directory_keys",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("roles", Text, nullable=False, doc="JSON list"),
    Column("personal", Boolean, nullable=False),
    Column("retired", Boolean, nullable=False),
    Column("issued_us", BigInteger),
    Column("expires_us", BigInteger),
    Column("credential", Text, nullable=False, doc="name of the real credential of a gateway key"),
    Column("scopes", Text, nullable=False, doc="JSON map of providers, models, operations, networks"),
)

credentials = Table(
    "directory_credentials",
    metadata,
    Column("name", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("source", Text, nullable=False, doc="`env:NAME`, `file:PATH` or `sealed`"),
    Column("sealed", LargeBinary, doc="the credential encrypted, only of source `sealed`"),
    Column("changed_us", BigInteger, nullable=False),
)

requests = Table(
    "directory_requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("exchange", Text, nullable=False, doc="the exchange that was refused first"),
    Column("state", Text, nullable=False, doc="open, approved or denied"),
    UniqueConstraint("tenant", "principal", "rule", "resource"),
)

approvals = Table(
    "directory_approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("approver", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("given_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked", Boolean, nullable=False),
    Column("break_glass", Boolean, nullable=False),
    Index("directory_approvals_of", "tenant", "principal"),
)

stops = Table(
    "directory_stops",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
)
