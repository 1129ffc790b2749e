"""Who takes part, and the policy that knows most of them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from sallyport.data import policies_dir
from sallyport.state.keyed import fingerprint

PRESET = "balanced"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a provider key. known: whether the policy names the key's owner."""

    name: str
    key: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class People:
    """alice works with OpenAI, bob with Anthropic, carol with Gemini; nobody knows the stranger."""

    alice: Person
    bob: Person
    carol: Person
    stranger: Person

    @property
    def all(self) -> tuple[Person, ...]:
        return (self.alice, self.bob, self.carol, self.stranger)


def make_people() -> People:
    """Give everybody a key that is good for this run only."""
    alice, bob, carol = (Person(name, _key(name)) for name in ("alice", "bob", "carol"))
    return People(alice, bob, carol, Person("a stranger", _key("stranger"), known=False))


def write_policy(path: Path, people: Sequence[Person], gateway_key: bytes) -> None:
    """Write the balanced preset with one change: callers must be known, and these are."""
    yaml = YAML()
    policy = yaml.load((policies_dir() / f"{PRESET}.yaml").read_text(encoding="utf-8"))
    owners = [
        {"fingerprint": fingerprint(gateway_key, one.key), "owner": one.name, "tenant": "demo"}
        for one in people
        if one.known
    ]
    policy["identity"] = {"unknown": "deny", "keys": owners}
    text = StringIO()
    yaml.dump(policy, text)
    path.write_text(text.getvalue(), encoding="utf-8")


def _key(name: str) -> str:
    return f"demo-{name}-{secrets.token_hex(12)}"
