"""`--connect-to` of `run` and `doctor`: a place to go to instead of another, as in curl."""

import re
from collections.abc import Sequence

from sallyport.errors import OperatorError

type ConnectTo = dict[tuple[str, int], tuple[str, int]]
"""Host and port as a client asks for them, and where to go instead."""

_NAME = r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)"
_PAIR = re.compile(rf"{_NAME}:(\d{{1,5}}):{_NAME}:(\d{{1,5}})")


def parse_connect_to(values: Sequence[str]) -> ConnectTo:
    """Read HOST:PORT:HOST2:PORT2; IPv6 addresses stand in brackets. Raises OperatorError."""
    found: ConnectTo = {}
    for value in values:
        match = _PAIR.fullmatch(value)
        if match is None or not 0 < int(match[2]) < 65536 or not 0 < int(match[4]) < 65536:
            raise OperatorError(
                "--connect-to",
                "it is not HOST:PORT:HOST2:PORT2",
                "Write for example api.openai.com:443:127.0.0.1:8443",
            )
        found[match[1].lower().rstrip("."), int(match[2])] = (match[3].strip("[]"), int(match[4]))
    return found
