"""The tables of the directory. Times are microseconds since 1970-01-01 UTC, lists and maps are JSON texts.

Every change raises a revision in the same transaction: the one of the whole, and those of the parts whose
tables it wrote. A gateway reads anew only what has a new number.
"""

from enum import StrEnum

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

SCHEMA_VERSION = 2


class Part(StrEnum):
    """What has a revision of its own in `directory_state`. WHOLE rises with every change of any table."""

    WHOLE = "directory"
    PEOPLE = "people"
    KEYS = "keys"
    APPROVALS = "approvals"
    STOPS = "stops"
    CREDENTIALS = "credentials"


metadata = MetaData()

state = Table(
    "directory_state",
    metadata,
    Column("part", Text, primary_key=True, doc="see Part"),
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
    sqlite_with_rowid=False,
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
    sqlite_with_rowid=False,
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
    Column("label", Text, nullable=False, server_default="", doc="what somebody called it"),
)

credentials = Table(
    "directory_credentials",
    metadata,
    Column("name", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("source", Text, nullable=False, doc="`env:NAME`, `file:PATH` or `sealed`"),
    Column("hosts", Text, nullable=False, server_default="[]", doc="JSON list; empty: those of the provider"),
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
    Column("decided_by", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default="", doc="why it was denied or taken back"),
    UniqueConstraint("tenant", "principal", "rule", "resource"),
)

votes = Table(
    "directory_votes",
    metadata,
    Column("request", Text, primary_key=True),
    Column("approver", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False, doc="until when this approver would approve"),
)
"""Approvals of a request that needs more approvers than it has."""

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
    Column("resumed_by", Text, nullable=False, server_default=""),
    Column("resumed_us", BigInteger, doc="when it was let go; NULL while it stops"),
)

readers = Table(
    "directory_readers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True, doc="SHA-256 of the token, hex"),
    Column("by", Text, nullable=False, doc="who issued it"),
    Column("issued_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("revoked", Boolean, nullable=False),
)
"""Who may read the events of a tenant from a store that knows no roles of its own."""

settings = Table(
    "directory_settings",
    metadata,
    Column("name", Text, primary_key=True, doc="`readers`: whether reading events needs a token"),
    Column("value", Text, nullable=False),
)

PART_OF = {
    tenants.name: Part.PEOPLE,
    people.name: Part.PEOPLE,
    names.name: Part.PEOPLE,
    keys.name: Part.KEYS,
    approvals.name: Part.APPROVALS,
    stops.name: Part.STOPS,
    credentials.name: Part.CREDENTIALS,
}
"""The part a table belongs to; tables that no snapshot holds have none."""
