"""Listeners that are networks of their own: a tun device, and a WireGuard server in this process.

Of what arrives in them TCP goes the way of every connection, and nothing else leaves: layers.choose_layer closes
all UDP, QUIC and DNS among it. The keys of WireGuard lie in confdir; mitmproxy, left alone, writes them
where everybody can read them. It knows one peer and does not look at the addresses that this peer uses.
"""

import asyncio
import base64
import binascii
import json
from pathlib import Path
from typing import Any

import mitmproxy_rs
from mitmproxy.proxy import mode_servers, mode_specs

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, write_file
from sallyport.pki.files import locked_folder

CLIENT_ADDRESS = "10.0.0.1/32"
_KEY_BYTES = 32
_stock_handle_stream = mode_servers.ServerInstance.handle_stream


class TunnelStream:
    """A stream of a tunnel that can be aborted like any other connection; it is its own transport.

    Stock's has no transport, and one that is closed here goes on reading what the client sends.
    """

    def __init__(self, stream: mitmproxy_rs.Stream) -> None:
        self._stream = stream
        self._aborted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport = self

    async def read(self, n: int) -> bytes:
        if self._aborted.done():
            return b""
        reading: asyncio.Future[Any] = asyncio.ensure_future(self._stream.read(n))
        try:
            await asyncio.wait({reading, self._aborted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not reading.done():
                reading.cancel()
        return b"" if self._aborted.done() else bytes(reading.result())

    def write(self, data: bytes) -> None:
        if not self._aborted.done():
            self._stream.write(data)

    def abort(self) -> None:
        """End the connection now: nothing that still comes is read, nothing more is written."""
        if not self._aborted.done():
            self._aborted.set_result(None)
            self._stream.close()  # type: ignore[no-untyped-call]

    def get_write_buffer_size(self) -> int:
        """Return 0: what waits in the tunnel's own TCP is not told."""
        return 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


async def handle_stream(self: mode_servers.ServerInstance[Any], reader: Any, writer: Any = None) -> None:
    """Replace ServerInstance.handle_stream: what comes without a writer is a stream of a tunnel."""
    if writer is None:
        reader = writer = TunnelStream(reader)
    await _stock_handle_stream(self, reader, writer)


def is_tunnel(spec: str) -> bool:
    """Say whether a mode specification is a tunnel, whose connections live only as long as its listener."""
    mode = mode_specs.ProxyMode.parse(spec)
    return isinstance(mode, mode_specs.TunMode | mode_specs.WireGuardMode)


def ensure_keys(confdir: Path, spec: str) -> Path:
    """Make WireGuard's keys at first use, and write its client's configuration anew; return the latter's path.

    wireguard.conf holds the keys of both sides (JSON, as mitmproxy reads it), wireguard-client.conf is for
    wg-quick; both are for the gateway's user alone. Raises OperatorError if the keys are unsound or open to others.
    """
    keys, client = confdir / "wireguard.conf", confdir / "wireguard-client.conf"
    with locked_folder(confdir):
        if not keys.exists():
            fresh = {name: mitmproxy_rs.wireguard.genkey() for name in ("server_key", "client_key")}
            write_file(keys, json.dumps(fresh, indent=4).encode(), PRIVATE)
        if keys.stat().st_mode & 0o077:
            raise OperatorError(
                str(keys),
                "other users may read the keys of the tunnel",
                f"Remove it, and both sides get new keys; if nobody has read it: chmod 600 {keys}",
                exit_code=3,
            )
        server_key, client_key = _read(keys)
        write_file(client, _client_configuration(spec, server_key, client_key).encode(), PRIVATE)
    return client


def _read(file: Path) -> tuple[str, str]:
    try:
        found = json.loads(file.read_bytes())
        pair = str(found["server_key"]), str(found["client_key"])
        sound = all(len(base64.b64decode(key, validate=True)) == _KEY_BYTES for key in pair)
    except (ValueError, KeyError, TypeError, binascii.Error):
        sound = False
    if not sound:
        raise OperatorError(
            str(file),
            "it does not hold server_key and client_key, 32 bytes each in Base64",
            "Restore it from a backup, or remove it: both sides then get new keys",
            exit_code=3,
        ) from None
    return pair


def _client_configuration(spec: str, server_key: str, client_key: str) -> str:
    mode = mode_specs.ProxyMode.parse(spec)
    return (
        f"[Interface]\nPrivateKey = {client_key}\nAddress = {CLIENT_ADDRESS}\n\n"
        f"[Peer]\nPublicKey = {mitmproxy_rs.wireguard.pubkey(server_key)}\n"
        "# The networks that go through the gateway. Not everything: it carries TCP to ports 80 and 443 only,\n"
        "# so a resolver must lie outside of them.\nAllowedIPs = 0.0.0.0/0\n"
        f"Endpoint = {mode.listen_host('') or 'GATEWAY'}:{mode.listen_port(None)}\n"
    )
