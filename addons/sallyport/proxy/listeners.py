"""What `--listen` may say: a mode of the gateway's, an address where there is one, and a port, in mitmproxy's words."""

import re
from collections.abc import Sequence

from mitmproxy.proxy.mode_specs import ProxyMode

from sallyport.errors import OperatorError

_TUN = re.compile(r"tun:[A-Za-z][A-Za-z0-9-]{0,14}")
_BRACKETS = re.compile(r"(?<=@)\[([0-9A-Fa-f:.%]+)\](?=:[0-9]+\Z)")
_TODO = (
    "Use explicit@PORT, transparent@PORT, reverse:https://HOST@PORT, wireguard@PORT, or tun:NAME with a name "
    "of at most 15 letters, digits and hyphens"
)


def listener_modes(listen: Sequence[str]) -> tuple[str, ...]:
    """Return what `--listen` says as mitmproxy's modes. Raises OperatorError, also where two want one address.

    Nothing is opened. What would fail only when the host takes it has made keys and a log by then.
    """
    taken: dict[tuple[str, int, str], str] = {}
    for spec in listen:
        mode = _parsed(spec)
        port = mode.listen_port()
        if port is None:
            continue
        protocols = ("tcp", "udp") if mode.transport_protocol == "both" else (mode.transport_protocol,)
        for protocol in protocols:
            place = mode.listen_host(), port, protocol
            if place in taken:
                what = f"{spec[:60]!r} wants the same address as {taken[place][:60]!r}"
                raise OperatorError("--listen", what, "Give each listener a port of its own")
            taken[place] = spec
    return tuple(_mode(spec) for spec in listen)


def listener_name(mode: str) -> str:
    """Return a mode as `--listen` says it."""
    return "explicit" + mode.removeprefix("regular") if mode.startswith("regular") else mode


def _parsed(spec: str) -> ProxyMode:
    try:
        return ProxyMode.parse(_mode(spec))
    except ValueError as error:
        raise OperatorError("--listen", f"{spec[:60]!r}: {error}", _TODO) from None


def _mode(spec: str) -> str:
    """Translate explicit to mitmproxy's word for it, and refuse modes that inspect nothing."""
    spec = _BRACKETS.sub(r"\1", spec)  # mitmproxy listens on ::1, and knows no host [::1]
    name, at, rest = spec.partition("@")
    if name == "explicit":
        return f"regular{at}{rest}"
    if name in ("transparent", "wireguard") or name.startswith("reverse:https://"):
        return spec
    if _TUN.fullmatch(spec):
        return spec
    raise OperatorError("--listen", f"{spec[:60]!r} is no mode of the gateway", _TODO)
