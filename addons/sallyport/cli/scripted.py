"""The gateway as a script of stock mitmdump. The guards stay when mitmproxy removes the script."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from mitmproxy import ctx, exceptions

from sallyport.cli.assembly import Assembled, assemble, make_catalogue, parse_connect_to
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.pki.create import ensure_ca
from sallyport.pki.paths import confdir as default_confdir
from sallyport.proxy import core, logs
from sallyport.proxy.addon import GatewayAddon
from sallyport.proxy.host import HostSettings, apply_settings, assert_options, set_options


class ScriptedGateway(GatewayAddon):
    """GatewayAddon that sets mitmdump's options and refuses to run with unsafe ones."""

    def __init__(self, assembled: Assembled, settings: HostSettings) -> None:
        super().__init__(assembled.gateway)
        self._assembled = assembled
        self._settings = settings

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
    ensure_ca(confdir, make_catalogue().host_patterns)
    mode = os.environ.get("SALLYPORT_MODE")
    upstream_ca = os.environ.get("SALLYPORT_UPSTREAM_CA")
    assembled = assemble(
        policy=os.environ.get("SALLYPORT_POLICY", "balanced"),
        mode=Mode(mode) if mode else None,
        confdir=confdir,
        store_url=os.environ.get("SALLYPORT_STORE"),
        ledger_url=os.environ.get("SALLYPORT_LEDGER"),
        connect_to=parse_connect_to([v for v in os.environ.get("SALLYPORT_CONNECT_TO", "").split(",") if v]),
    )
    settings = HostSettings(modes=(), confdir=confdir, upstream_ca=Path(upstream_ca) if upstream_ca else None)
    return ScriptedGateway(assembled, settings)
