"""What an access decision costs: 200 rules, half of them with conditions, against one condition evaluated bare.

    scripts/bench access [--rules N] [--calls N] [--rounds N]

Microseconds per decision (median of rounds, p50 and p95 of single decisions), and the ratio to one evaluation of
one condition in the same run: with the whole input, as the CEL library takes it, and with the names it reads.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sallyport.decision import Action
from sallyport.exchange import (
    Client,
    Exchange,
    Operation,
    Parameter,
    Principal,
    Request,
    Segment,
    Surface,
    Tool,
    ToolKind,
)
from sallyport.policy.condition import Condition
from sallyport.policy.inputs import condition_input
from sallyport.policy.load import parse_policy
from sallyport.policy.sections import Policy
from sallyport.stages.access import AccessStage
from samples import Desk

WHEN = (
    "'contractor' in principal.roles && request.max_output_tokens > 4000",
    "'team' in principal.attributes && principal.attributes['team'] == 'former-{n}' && request.stream",
    "request.tools.exists(t, t.startsWith('admin_')) && principal.confidence < 0.8",
    "time.received_at.getHours('Europe/Berlin') < 6 && !('night' in principal.roles)",
    "request.input_chars > 200000 && request.model.startsWith('model-{n}')",
    "'temperature' in request.parameters && request.parameters.temperature > 1.5",
    "client.address.startsWith('203.0.113.') && request.provider != 'openai'",
    "request.attachments.exists(a, a.startsWith('audio/')) || request.attachment_bytes > 5000000",
)
PLAIN = (
    "models: ['model-{n}*', 'other-{n}']",
    "providers: [provider-{n}, mistral], roles: [role-{n}]",
    "tenants: [tenant-{n}], operations: [embedding]",
    "tools: ['tool-{n}', 'admin_*'], roles: [guest]",
    "hosted_tools: ['web_search*'], tenants: [tenant-{n}]",
    "principals: ['build-{n}', 'svc-{n}-*']",
)


def rules(count: int, *, narrowed: bool) -> Policy:
    """Return a policy of so many rules, every second with a condition. narrowed: conditions have lists beside them."""
    lines = ["version: 1", "access:", "  default: deny", "  rules:"]
    lines.append("    - {id: may, effect: permit, roles: [staff], models: ['gpt-*', 'claude-*'], message: m}")
    for n in range(count - 1):
        keys = PLAIN[n % len(PLAIN)].format(n=n)
        if n % 2:
            when = WHEN[n // 2 % len(WHEN)].format(n=n)
            # A third of the narrowed ones is for everybody's tenant, and so is asked for every call.
            near = "tenants: [acme]" if n // 2 % 9 == 0 else keys
            keys = f'{near}, when: "{when}"' if narrowed else f'when: "{when}"'
        lines.append(f"    - {{id: r{n}, effect: forbid, {keys}, message: m}}")
    return parse_policy("\n".join(lines))


def calls() -> list[Exchange]:
    """Return what an office sends: chats of several people, agents with tools, some embeddings."""
    base = Exchange(
        "x", "c", datetime(2026, 11, 23, 10, 0, tzinfo=UTC), "api.openai.com", Client("10.0.0.7", "explicit"),
        Request("openai", "openai_chat", Operation.CHAT, "gpt-5", (Segment("/a", Surface.USER, "x" * 2000),)),
    )  # fmt: skip
    tools = tuple(f"tool-{n}" for n in range(40, 60))
    found = []
    for n in range(24):
        who = Principal(f"person-{n}", "acme", ("staff", "eng"), (("team", f"team-{n % 5}"),), "jwt", 0.95)
        request = replace(
            base.request,
            model=("gpt-5", "gpt-5-mini", "claude-sonnet-4-20250514")[n % 3],
            stream=n % 2 == 0,
            parameters=(Parameter("temperature", 0.7, "/temperature"), Parameter("stream", True, "/stream")),
        )
        if n % 4 == 0:
            declared = (*(Tool(name) for name in tools), Tool("code_interpreter", ToolKind.HOSTED))
            request = replace(request, tools=(*tools, "code_interpreter"), declared=declared)
        found.append(replace(base, request=request, principal=who))
    return found


def per_call(work: Callable[[], object], count: int) -> float:
    """Return microseconds of one call, the median of single ones."""
    took = []
    for _ in range(count):
        started = time.perf_counter_ns()
        work()
        took.append(time.perf_counter_ns() - started)
    return statistics.median(took) / 1000


async def decisions(policy: Policy, asked: Sequence[Exchange], count: int) -> list[float]:
    """Return microseconds of so many single decisions."""
    stage, ports = AccessStage(), Desk().ports()
    took = []
    for n in range(count):
        exchange = asked[n % len(asked)]
        started = time.perf_counter_ns()
        decision = await stage.decide(exchange, policy.access, ports)
        took.append((time.perf_counter_ns() - started) / 1000)
        if decision.action is not Action.ALLOW:
            raise SystemExit(f"a call of the benchmark was refused: {decision.reason}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rules", type=int, default=200)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    asked = calls()
    condition = Condition.compile(WHEN[0])
    values = condition_input(asked[0])
    whole = dict(values.values)
    policies = {
        "conditions behind lists (tenant, model, role, ...)": rules(given.rules, narrowed=True),
        "every condition asked of every call": rules(given.rules, narrowed=False),
    }
    for policy in policies.values():
        asyncio.run(decisions(policy, asked, 200))
    bare, read = [], []
    p50: dict[str, list[float]] = {title: [] for title in policies}
    p95: dict[str, list[float]] = {title: [] for title in policies}
    for _ in range(given.rounds):  # in turns, so that a noisy moment falls on all of them
        bare.append(per_call(lambda: condition._expression.eval(data=whole), given.calls))
        read.append(per_call(lambda: condition.holds(values), given.calls))
        for title, policy in policies.items():
            took = sorted(asyncio.run(decisions(policy, asked, given.calls)))
            p50[title].append(took[len(took) // 2])
            p95[title].append(took[len(took) * 95 // 100])
    print(f"{given.rules} rules, {given.calls} decisions a round, {given.rounds} rounds; microseconds\n")
    print(f"{'one condition, whole input':52}{statistics.median(bare):8.1f}")
    print(f"{'one condition, names it reads':52}{statistics.median(read):8.1f}\n")
    print(f"{'access decision':52}{'p50':>8}{'p95':>8}{'p50 / bare':>12}")
    for title in policies:
        ratio = statistics.median(a / b for a, b in zip(p50[title], bare, strict=True))
        a, b = statistics.median(p50[title]), statistics.median(p95[title])
        print(f"{title:52}{a:8.1f}{b:8.1f}{ratio:12.1f}")


if __name__ == "__main__":
    main()
