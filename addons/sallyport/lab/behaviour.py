"""What a model's name makes the lab do. Words may stand anywhere in the name and may be combined:

error-429         answer with that status in the provider's shape (any three digits)
slow, slow-200    wait 50 (200) milliseconds before every piece of the answer
cut, cut-3        break the connection off in the middle (after 3 pieces)
stream-error      send the provider's error event in the middle of the stream
ragged            cut the bytes every 23 bytes, through characters and lines
gzip              compress the answer
busy              let the first of the models that may stand in (`models`) answer, in OpenAI's chat
hang              take the request and never answer
reset             take the request and close the connection
echo-all          repeat every text of the request, not only the last one of the user
hostile-restore   repeat every placeholder in links, images, attributes and plain text
tamper            get a checksum in the middle of an event stream of AWS wrong
think             add a reasoning block with a signature where the provider has one
say-...           answer with the rest of the name, underscores as spaces
"""

import re
from dataclasses import dataclass

_ERROR = re.compile(r"error-([1-9]\d\d)")
_SLOW = re.compile(r"slow(?:-(\d+))?")
_CUT = re.compile(r"cut(?:-(\d+))?")
_RAGGED_BYTES = 23


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a name asks of the transport. cut_after: pieces, -1 for half of them, None for no cut."""

    error: int | None = None
    delay_s: float = 0.0
    cut_after: int | None = None
    piece_bytes: int | None = None
    gzip: bool = False
    hang: bool = False
    reset: bool = False


def behaviour_of(model: str) -> Behaviour:
    error, slow, cut = _ERROR.search(model), _SLOW.search(model), _CUT.search(model)
    return Behaviour(
        error=int(error[1]) if error else None,
        delay_s=int(slow[1] or 50) / 1000 if slow else 0.0,
        cut_after=int(cut[1] or -1) if cut else None,
        piece_bytes=_RAGGED_BYTES if "ragged" in model else None,
        gzip="gzip" in model,
        hang="hang" in model,
        reset="reset" in model,
    )
