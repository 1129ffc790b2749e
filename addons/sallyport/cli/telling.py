"""Telling the webhook of a policy what an operator did."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import typer

from sallyport.cli.operator import operator

if TYPE_CHECKING:
    from sallyport.policy.limits import Limits
    from sallyport.state.webhook import Fact


def tell(limits: "Limits", key: str, what: str) -> None:
    """Send one notification, and wait for it; say so on stderr if it was not taken. what: reset or grant."""
    from sallyport.stages.ledger import limit_of

    notify(limits, f"limit.{what}", {"limit": limit_of(key), "counter": key})


def notify(limits: "Limits", kind: str, facts: "dict[str, Fact]") -> None:
    """Send one notification of an operator's act, and wait for it; say so on stderr if it was not taken."""
    receiver = limits.webhook
    if receiver is None:
        return
    from sallyport.state.webhook import (
        Notification,
        post,
    )  # a kill switch must not wait for what few policies use

    told = Notification(kind, kind, datetime.now(UTC), {**facts, "by": operator()}).plain()
    body = orjson.dumps({"gateway": "cli", "notifications": [told]})
    if asyncio.run(post(receiver, body)) is not None:
        typer.echo(
            f"the webhook did not take it: check limits.webhook.url and the variable {receiver.secret_env}",
            err=True,
        )
