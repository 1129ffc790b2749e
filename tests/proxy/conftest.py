"""A gateway and a lab in a loop of their own thread, so that tests can use blocking sockets."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateways import InnerGateway, inner_gateway


@contextmanager
def inner_gateway_in_thread(folder: Path, **options: Any) -> Iterator[InnerGateway]:
    """Run inner_gateway() elsewhere; what it raises at start is raised here."""
    ready = threading.Event()
    box: dict[str, Any] = {}

    async def main() -> None:
        stop = asyncio.Event()
        box["loop"], box["stop"] = asyncio.get_running_loop(), stop
        async with inner_gateway(folder, **options) as running:
            box["gateway"] = running
            ready.set()
            await stop.wait()

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            box["error"] = error
        finally:
            ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(30)
    if "error" in box:
        raise box["error"]
    try:
        yield box["gateway"]
    finally:
        box["loop"].call_soon_threadsafe(box["stop"].set)
        thread.join(20)
    if "error" in box:
        raise box["error"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inner")
