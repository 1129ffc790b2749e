"""What an error of a database is called, and what to do about it. Its own text may hold values, and stays here."""

import errno
import re

from sqlalchemy.exc import StatementError

from sallyport.errors import OperatorError

_FULL = "Its disk is full: make room there"
_READ_ONLY = "Check that its folder is there, that this user may write both, and that the disk is not mounted read-only"
_BUSY = "Another process holds it: try again when that one is done"
_DAMAGED = "It is damaged, or no database: bring it back from a backup"
_STANDBY = "The server takes no writes: it is a standby, or was set read-only. Name the one that does"
_USED_UP = "All connections that the server, the database or the role may have are in use: raise the limit, or end some"
_NOT_LET_IN = "The server does not let this user in: check name, password and pg_hba.conf"
_NOT_THERE = "The server runs, but has no such database or role: check the address"
_NOT_NOW = "The server starts, stops or recovers: try again in a moment"
_NOBODY = "No server answers there: check that it runs, the address, and what stands between"
_RIGHTS = "This role lacks a right: sallyport audit roles says what its duty needs"

_BY_CODE = {
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR_SHMSIZE": _FULL,
    "SQLITE_CANTOPEN": _READ_ONLY,
    "SQLITE_READONLY": _READ_ONLY,
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
    "ENOSPC": _FULL,
    "EDQUOT": _FULL,
    "EROFS": _READ_ONLY,
    "EACCES": _READ_ONLY,
    "EPERM": _READ_ONLY,
    "25006": _STANDBY,
    "28000": _NOT_LET_IN,
    "28P01": _NOT_LET_IN,
    "3D000": _NOT_THERE,
    "42501": _RIGHTS,
    "53100": _FULL,
    "53300": _USED_UP,
    "57P01": _NOT_NOW,
    "57P02": _NOT_NOW,
    "57P03": _NOT_NOW,
}

_BY_TEXT = (
    (_NOT_LET_IN, r"authentication failed|no password supplied|no pg_hba\.conf entry"),
    (_NOT_THERE, r"(database|role) .* does not exist"),
    (_USED_UP, r"too many (clients|connections)|remaining connection slots"),
    (_NOT_NOW, r"system is (starting up|shutting down)|in recovery mode"),
    (
        _NOBODY,
        r"[Cc]onnection refused|No such file or directory|translate host name|failed to resolve|time-?out",
    ),
)
"""While it connects, libpq gives no code. A server that speaks another language is not understood."""


def name_of(error: BaseException) -> str:
    """Return the error's own name, and the database's or the system's name of it."""
    cause = _cause(error)
    if isinstance(cause, OperatorError):
        return cause.what
    kind, code = type(cause).__name__, _code(cause)
    return f"{kind} {code}" if code else kind


def cure_of(error: BaseException, otherwise: str) -> str:
    """Return what to do about an error, without a full stop; `otherwise` where it tells too little."""
    cause = _cause(error)
    code = _code(cause)
    if code:
        # SQLITE_READONLY_DBMOVED and the like are kinds of what stands before.
        kinds = (code, "_".join(code.split("_")[:2]))
        return next((_BY_CODE[kind] for kind in kinds if kind in _BY_CODE), otherwise)
    text = str(cause)
    return next((cure for cure, pattern in _BY_TEXT if re.search(pattern, text)), otherwise)


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, StatementError) and error.orig is not None else error


def _code(cause: BaseException) -> str:
    for name in ("sqlite_errorname", "sqlstate"):
        if found := getattr(cause, name, None):
            return str(found)
    return errno.errorcode.get(cause.errno or 0, "") if isinstance(cause, OSError) else ""
