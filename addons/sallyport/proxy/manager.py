"""Hook dispatch that fails closed: whatever a hook raises, the thing it was to judge is denied.

Stock mitmproxy logs the exception and lets the traffic pass, and an exception in one addon silences its
siblings (reference facts F1, F3). Here later addons still run, and the denial depends on what was asked.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

from mitmproxy import addonmanager, exceptions, hooks, tls
from mitmproxy.connection import Client
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import layer, server_hooks

from sallyport.proxy.gate import gate
from sallyport.proxy.logs import error_name

logger = logging.getLogger("sallyport.proxy")


def deny(event: hooks.Hook) -> None:
    """Make sure that nothing goes on after a failed hook."""
    from sallyport.proxy.layers import CloseLayer, abort_connection
    from sallyport.proxy.websocket_layer import SocketMessage, SocketWake

    (data,) = event.args() or (None,)
    match data:
        case HTTPFlow():
            gate.revoke(data)
            if event.name not in {"requestheaders", "request", "http_connect"}:
                if data.killable:
                    data.kill()
            elif event.name == "http_connect":
                data.kill()
        case Client():
            data.error = data.error or "refused: internal"
        case server_hooks.ServerConnectionHookData():
            data.server.error = data.server.error or "refused: internal"
        case layer.NextLayer():
            data.layer = CloseLayer(data.context)
        case SocketMessage() | SocketWake():
            gate.revoke(data.flow)
            data.outcome = None
        case tls.ClientHelloData():
            data.ignore_connection = False
            abort_connection(data.context.client)
        case tls.TlsData():
            abort_connection(data.context.client)
        case _:
            pass


def _is_ours(error: BaseException) -> bool:
    """Tell a task's own cancellation, which must go on, from a CancelledError that a hook raised."""
    if not isinstance(error, asyncio.CancelledError):
        return True
    task = asyncio.current_task()
    return task is None or task.cancelling() == 0


async def trigger_event(self: addonmanager.AddonManager, event: hooks.Hook) -> None:
    """Run a hook on every addon; deny on the first and every exception, and go on."""
    for addon in self.chain:
        try:
            await self.invoke_addon(addon, event)
        except BaseException as error:
            _failed(event, error)


def _failed(event: hooks.Hook, error: BaseException) -> None:
    deny(event)
    logger.error("hook %s raised %s; the traffic it was to judge is refused", event.name, error_name(error))
    if not _is_ours(error):
        raise error


def trigger(self: addonmanager.AddonManager, event: hooks.Hook) -> None:
    """The synchronous form, used for configure: errors there stop the start, as in stock mitmproxy."""
    for addon in self.chain:
        try:
            with addonmanager.safecall():
                self.invoke_addon_sync(addon, event)
        except exceptions.AddonHalt:
            return


async def handle_lifecycle(self: addonmanager.AddonManager, event: hooks.Hook) -> None:
    """Dispatch an event without the update hook that stock mitmproxy sends after every flow hook.

    Nothing on the path of a request shows flows, and the second dispatch cost as much as the first.
    """
    await self.trigger_event(event)


class CachedManager(addonmanager.AddonManager):
    """The same dispatch with the callables of each hook looked up once. For hosts whose chain is fixed."""

    def __init__(self, master: Any) -> None:
        super().__init__(master)
        self._hooks: dict[str, tuple[Callable[..., Any], ...]] = {}

    def register(self, addon: Any) -> Any:
        self._hooks.clear()
        return super().register(addon)

    def remove(self, addon: Any) -> None:
        super().remove(addon)
        self._hooks.clear()

    async def trigger_event(self, event: hooks.Hook) -> None:
        callables = self._hooks.get(event.name)
        if callables is None:
            callables = tuple(f for addon in self.chain for _, f in self._iter_hooks(addon, event))
            self._hooks[event.name] = callables
        arguments = event.args()
        for function in callables:
            try:
                result = function(*arguments)
                if result is not None and inspect.isawaitable(result):
                    await result
            except BaseException as error:
                _failed(event, error)
