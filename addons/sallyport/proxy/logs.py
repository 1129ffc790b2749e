"""Nothing that passed over the wire reaches a log: mitmproxy's own messages quote bodies, ours are fixed.

mitmproxy builds its messages with f-strings, so what is data and what is text cannot be told apart later
(a crash report held 65 KB of a request body). Therefore a record of a mitmproxy logger keeps only where it
was logged and the type of its exception; the few start-up messages without client data pass as they are.
"""

import logging
import re
import sys

_HARMLESS = re.compile(
    r"^(?:(?:HTTP\(S\) proxy|Transparent Proxy|reverse proxy to \S+)(?:,? \(?[^\n]{0,80}\)?)? "
    r"(?:listening at|at) [0-9a-fA-F.:\[\]* ]+(?:and [0-9a-fA-F.:\[\]* ]+)?(?: stopped)?\.?$"
    r"|^[^\n]{0,60}failed to listen on [^\n]{0,60} with [^\n]{0,120}$)"
)


class WireDataFilter(logging.Filter):
    """Replace the text of foreign records; never drop one, since it may be the only sign of a crash."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage() if isinstance(record.msg, str) else ""
        if not _HARMLESS.match(message):
            raised = record.exc_info[0] if isinstance(record.exc_info, tuple) and record.exc_info[0] else None
            kind = f" {raised.__name__}" if raised else ""
            record.msg = (
                f"mitmproxy {record.module}:{record.lineno}{kind} (message withheld, it may quote traffic)"
            )
        record.args = ()
        record.exc_info = None
        record.exc_text = None
        record.stack_info = None
        return True


def install() -> None:
    """Put the filter before every handler mitmproxy's records can reach, and show warnings on stderr.

    A logger's own filter does not see records of its children, so the handler carries it and the
    loggers of mitmproxy stop propagating to handlers that do not.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.addFilter(WireDataFilter())
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for name in ("mitmproxy", "mitmproxy_rs", "asyncio", "hpack", "h2"):
        logger = logging.getLogger(name)
        logger.handlers = [h for h in logger.handlers if not isinstance(h, logging.StreamHandler)]
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    for name in ("hpack", "h2", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)


def speak() -> None:
    """Show the gateway's own messages on stderr, where mitmproxy's terminal log is absent.

    mitmproxy's handler on the root logger shows nothing, and being there it switches Python's last resort off.
    """
    own = logging.getLogger("sallyport")
    own.handlers = [h for h in own.handlers if not isinstance(h, logging.StreamHandler)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    own.addHandler(handler)


def mask_root() -> None:
    """Filter handlers that others put on the root logger (mitmdump's terminal log, event store)."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(f, WireDataFilter) for f in handler.filters):
            handler.addFilter(_ForeignOnly())


class _ForeignOnly(WireDataFilter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] in {"mitmproxy", "mitmproxy_rs", "asyncio", "hpack", "h2", "root"}:
            return super().filter(record)
        return True
