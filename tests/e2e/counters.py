"""What the tests of limits share: a policy with prices, clients with names, and looking into the ledger."""

import asyncio
import json
from pathlib import Path
from typing import Any

from e2e.traffic import eventually
from e2e.zygote import command as sallyport
from sallyport.cli.ledger import open_ledger
from sallyport.stages.ledger import Level

HEADER = "x-test-user"
INPUT_USD, OUTPUT_USD = 10, 20
"""Per million tokens, so that a token costs so many millionths."""

POLICY = f"""version: 1
identity:
  header: {{name: {HEADER}, trusted_peers: [127.0.0.1/32]}}
  unknown: anonymous
prices:
  contract:
    - {{model: 'lab-*', input_usd: {INPUT_USD}, output_usd: {OUTPUT_USD}}}
limits:
  ask: the platform team
  lease_s: 2
  rules:
    - {{id: money, measure: cost_usd, limit: 1000, per: month}}
    - {{id: tokens, measure: total_tokens, limit: 100000000, per: month}}
    - {{id: calls, limit: 100000, per: month}}
"""
"""Everybody has room; every request is counted in requests, tokens and money."""


def levels(confdir: Path, prefix: str = "", ledger: str | None = None) -> dict[str, Level]:
    """Return the counters of a gateway, by key."""

    async def ask() -> dict[str, Level]:
        opened = open_ledger(ledger, confdir)
        try:
            return {level.key: level for level in await opened.levels(prefix)}
        finally:
            await opened.close()

    return asyncio.run(ask())


def used(confdir: Path, rule: str, user: str) -> int:
    """Return what somebody has used of a limit, once nothing of it is under way any more."""
    key = f"{rule}/principal=default:{user}"
    found: list[Level | None] = []

    def is_settled() -> bool:
        found.append(levels(confdir, key).get(key))
        return found[-1] is None or found[-1].reserved == 0

    eventually(is_settled, 5, f"{key} is settled")
    level = found[-1]
    return 0 if level is None else level.used


def reconciled(confdir: Path, *options: str) -> list[dict[str, Any]]:
    """Return the counters that were compared with the audit; fail if any of them differs."""
    policy = str(confdir.parent / "policy.yaml")
    ran = sallyport("limits", "reconcile", "--json", "--policy", policy, "--confdir", str(confdir), *options)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0, [line for line in lines if not line["agrees"]] or ran.stderr
    return lines
