"""The gateway as a script of stock mitmdump. The guards stay when mitmproxy removes the script."""

import logging
import os
import sys
from pathlib import Path
from typing import Any
from weakref import WeakSet

from mitmproxy import ctx, exceptions, http

from sallyport.cli.assembly import Assembled, assemble
from sallyport.cli.benches import Setup, Side
from sallyport.cli.connectto import parse_connect_to
from sallyport.cli.loaded import Loaded
from sallyport.cli.options import store_address
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.pki.create import ensure_ca
from sallyport.pki.paths import confdir as default_confdir
from sallyport.policy.catalogue import shipped_catalogue
from sallyport.proxy import core, logs
from sallyport.proxy.addon import GatewayAddon
from sallyport.proxy.host import HostSettings, apply_settings, assert_options, set_options


class ScriptedGateway(GatewayAddon):
    """GatewayAddon that sets mitmdump's options and refuses to run with unsafe ones."""

    def __init__(self, assembled: Assembled, settings: HostSettings, loaded: Loaded) -> None:
        super().__init__(assembled.gateway)
        self._assembled = assembled
        self._settings = settings
        self._loaded = loaded
        self._from_file: WeakSet[http.HTTPFlow] = WeakSet()

    def load(self, loader: object) -> None:
        set_options(ctx.options, self._settings, self.gateway.live)
        logs.mask_root()

    def running(self) -> None:
        # Another script may have changed them since load.
        set_options(ctx.options, self._settings, self.gateway.live)
        assert_options(ctx.options)
        proxyserver = ctx.master.addons.get("proxyserver")
        apply_settings(
            self.gateway,
            self.gateway.live,
            lambda: {(str(h), int(p)) for h, p, *_ in proxyserver.listen_addrs()},
        )

    def configure(self, updated: set[str]) -> None:
        """Take an unsafe option back: mitmproxy undoes a change that an OptionsError answers."""
        if not ctx.master.addons.get("proxyserver").is_running:
            return
        try:
            assert_options(ctx.options)
        except OperatorError as error:
            raise exceptions.OptionsError(str(error)) from None

    def done(self) -> None:
        self._assembled.close()

    # -- flows that mitmdump reads from a file (-r): no connection of theirs was ever here --------------

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        if flow.live:
            self._from_file.discard(flow)  # one that was read is sent again: now it is a call as any other
            await super().requestheaders(flow)
        else:
            self._from_file.add(flow)

    async def request(self, flow: http.HTTPFlow) -> None:
        if flow in self._from_file:
            await self._loaded.judge(flow)
        else:
            await super().request(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        if flow not in self._from_file:
            super().responseheaders(flow)

    async def response(self, flow: http.HTTPFlow) -> None:
        if flow not in self._from_file:
            await super().response(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        if flow not in self._from_file:
            super().error(flow)


def make_addons() -> list[Any]:
    """Install the guards, then build the one addon. What raises here stops mitmdump at its start."""
    core.install()
    try:
        return [_make_addon()]
    except Exception as error:
        # mitmdump prints log records on stdout, and after a reload without their text: stderr tells what to mend.
        what = str(error) if isinstance(error, OperatorError) else f"internal error: {type(error).__name__}"
        sys.stderr.write(f"{what}\n")
        # mitmdump ends its start for an error that the root logger sees; other loggers are kept from it.
        logging.getLogger().error("sallyport did not start; stderr says why")
        raise


def _make_addon() -> ScriptedGateway:
    # mitmdump shows every logger's records; Presidio has one for each recogniser it loads.
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    confdir = default_confdir()
    ensure_ca(confdir, shipped_catalogue().host_patterns)
    said = os.environ.get("SALLYPORT_MODE")
    policy, mode = os.environ.get("SALLYPORT_POLICY", "balanced"), Mode(said) if said else None
    upstream_ca = os.environ.get("SALLYPORT_UPSTREAM_CA")
    assembled = assemble(
        policy=policy,
        mode=mode,
        confdir=confdir,
        store_url=os.environ.get("SALLYPORT_STORE"),
        ledger_url=os.environ.get("SALLYPORT_LEDGER"),
        connect_to=parse_connect_to([v for v in os.environ.get("SALLYPORT_CONNECT_TO", "").split(",") if v]),
    )
    settings = HostSettings(modes=(), confdir=confdir, upstream_ca=Path(upstream_ca) if upstream_ca else None)
    address = store_address(os.environ.get("SALLYPORT_STORE"), confdir)
    setup = Setup(Side.of(policy, mode), None, mode, address, str(confdir), assembled.gateway.key)
    return ScriptedGateway(assembled, settings, Loaded(setup))
