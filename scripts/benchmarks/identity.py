"""What it costs to know who speaks: a token's first verification, every later look at it, and the whole stage.

Beside each time stands its ratio to the same number of keyed hashes of the token's text, measured in the same run:
machines differ, ratios less so. scripts/bench identity
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from issuing import Idp
from sallyport.exchange import Client, Exchange
from sallyport.policy.load import parse_policy
from sallyport.stages.directory import Person
from sallyport.stages.identity import IdentityStage
from sallyport.state.directory.snapshot import People, Snapshot
from sallyport.state.tokens.desk import TokenDesk, believed
from sallyport.state.tokens.sources import KeySources
from samples import Desk, exchange

POLICY = """version: 1
identity:
  tokens:
    - id: corp
      issuer: https://idp.example.com/realms/corp
      audience: [sallyport]
      keys: {url: "https://idp.example.com/keys"}
      groups: {roles: {ai: [developer], ops: [operator]}}
  header: {name: X-User, trusted_peers: [10.0.0.0/24], roles_header: X-Roles}
  networks: [{cidr: 10.0.0.0/8, principal: office}, {cidr: 192.168.0.0/16, principal: lab}]
"""

AGENT = (
    ("user-agent", "claude-cli/2.1.0 (external, cli)"), ("accept", "application/json"), ("x-app", "cli"),
    ("anthropic-version", "2023-06-01"), ("anthropic-beta", "a,b,c"), ("content-type", "application/json"),
    ("x-claude-code-session-id", "0c9c1f3e-2b1d-4b5e-9a51-0d3c5ad7f111"), ("accept-encoding", "gzip"),
)  # fmt: skip
"""What a coding agent sends beside its credential."""


def best_of(work: Callable[[], object], times: int, rounds: int) -> float:
    """Return the median over rounds of microseconds per call."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        for _ in range(times):
            work()
        found.append((time.perf_counter_ns() - started) / times / 1000)
    return median(found)


def once(asked: Exchange, stage: IdentityStage, section: object, ports: object) -> Callable[[], object]:
    def work() -> object:
        deciding = stage.decide(asked, section, ports)  # type: ignore[arg-type]
        try:
            deciding.send(None)
        except StopIteration as decided:
            return decided.value
        raise RuntimeError("the stage waited")

    return work


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15, help="repetitions, of which the median counts")
    options.add_argument("--people", type=int, default=20_000, help="people in the directory")
    chosen = options.parse_args()
    idp = Idp()
    policy = parse_policy(POLICY)
    sources = KeySources(None, lambda: b"k" * 32, read=lambda place: json.dumps(idp.jwks()).encode())
    desk = TokenDesk(believed(policy.identity.tokens, Path), sources)
    claims = {
        "groups": ["ai", "x"],
        "email": "ada@example.com",
        "name": "Ada",
        "scp": ["a", "b"],
        "jti": "x" * 36,
    }
    tokens = {algorithm: idp.token(algorithm, **claims) for algorithm in ("RS256", "ES256", "EdDSA")}
    people = [
        Person(f"p{n}", roles=("staff",), attributes=(("team", "x"),), names=(f"email:p{n}@example.com",))
        for n in range(chosen.people)
    ]
    people.append(Person("ada", roles=("staff",), names=(f"subject:{idp.issuer}|ada", "user:ada")))
    ports = replace(Desk().ports(), directory=Snapshot.of({}, People.of(people, ())), tokens=desk)
    stage, section = IdentityStage(), policy.identity

    key, text = b"k" * 32, tokens["RS256"].encode()
    unit = best_of(lambda: hashlib.blake2b(text, key=key, digest_size=16).digest(), 20_000, chosen.rounds)
    rows = [(f"keyed hash of a token of {len(text)} bytes", unit)]

    def first(token: str) -> Callable[[], object]:
        def work() -> object:
            desk._proofs.clear()
            return desk.subject("corp", token)

        return work

    for algorithm, token in tokens.items():
        assert desk.subject("corp", token) is not None, desk.why_not("corp", token)
        rows.append((f"first verification, {algorithm}", best_of(first(token), 300, chosen.rounds)))
    late = idp.token(exp=1)
    rows.append(
        ("refusal of an expired token", best_of(lambda: desk.subject("corp", late), 300, chosen.rounds))
    )
    for algorithm, token in tokens.items():
        desk.subject("corp", token)
        work = lambda token=token: desk.subject("corp", token)  # noqa: E731
        rows.append((f"every later look, {algorithm}", best_of(work, 20_000, chosen.rounds)))

    for name, client in {
        "network alone": Client("10.9.9.9", "explicit", headers=AGENT),
        "trusted header": Client(
            "10.0.0.9", "explicit", headers=(*AGENT, ("x-user", "ada"), ("x-roles", "a,b"))
        ),
        "token": Client("203.0.113.9", "explicit", headers=(*AGENT, ("x-sallyport-token", tokens["RS256"]))),
        "token, header, network": Client(
            "10.0.0.9",
            "explicit",
            headers=(*AGENT, ("x-user", "ada"), ("x-sallyport-token", tokens["RS256"])),
        ),
    }.items():
        decided = once(exchange(client=client), stage, section, ports)
        assert decided().principal is not None, decided()  # type: ignore[attr-defined]
        rows.append((f"stage: {name}", best_of(decided, 5_000, chosen.rounds)))

    sources.close()
    print(f"{'':34}      us    hashes")
    for name, cost in rows:
        print(f"{name:34} {cost:8.2f} {cost / unit:8.1f}")


if __name__ == "__main__":
    main()
