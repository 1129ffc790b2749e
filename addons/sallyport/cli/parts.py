"""What a policy needs before a gateway can run with it: made by `sallyport run`, tried by `sallyport policy check`.

One function for both, so that a policy that is called good is one that a gateway starts with. Nothing is
started here and no network is asked.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sallyport.cli.detection import ner_settings
from sallyport.decision import Mode
from sallyport.detect import linear
from sallyport.errors import OperatorError
from sallyport.metering.prices import ContractPrice, PriceList
from sallyport.metering.tariff import Tariff
from sallyport.policy.catalogue import Catalogue
from sallyport.policy.output import Output
from sallyport.policy.problems import PolicyError, Problem
from sallyport.policy.restrictions import Restricted, restricted
from sallyport.policy.sections import Policy
from sallyport.policy.source import At, dotted
from sallyport.proxy.clientcerts import ClientTrust
from sallyport.proxy.proxyauth import KnownUsers
from sallyport.state.tokens.desk import Believed, believed
from sallyport.state.tokens.sources import local_keys

type Where = Callable[[At], str]
"""Gives file:line:column of a path in the policy file."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a policy and the files it names come to."""

    tariff: Tariff
    restricted: Restricted
    client_trust: ClientTrust | None
    proxy_users: KnownUsers | None
    believed: tuple[Believed, ...]


def make_parts(policy: Policy, catalogue: Catalogue, where: Where) -> Parts:
    """Read everything a policy names. Raises PolicyError with the problems of all its parts."""
    faults = _Faults(policy, where)
    tariff, issuers = make_tariff(policy), believed(policy.identity.tokens, policy.beside)
    trust = users = None
    chosen = Restricted()
    with faults.below(("restrictions",)):
        chosen = make_restricted(policy, catalogue, where)
    with faults.below(("identity", "certificates")):
        trust = make_client_trust(policy)
    with faults.below(("identity", "proxy_auth")):
        users = make_proxy_users(policy)
    for index, each in enumerate(issuers):
        with faults.below(("identity", "tokens", index, "keys")):
            local_keys(each.place)
    for index in range(len(policy.recogniser_files)):
        with faults.below(("detection", "recognisers", index)):
            _read_recognisers(policy, index)
    with faults.below(("detection", "ner", "engine")):
        _find_engine(policy)
    faults.found += _unread_patterns(policy.output, where)
    if faults.found:
        raise PolicyError(faults.found)
    return Parts(tariff, chosen, trust, users, issuers)


class _Faults:
    """Errors of a policy's parts, each with the key of the policy it comes from."""

    def __init__(self, policy: Policy, where: Where) -> None:
        self.found: list[Problem] = []
        self._files = policy.identity_files
        self._where = where

    @contextmanager
    def below(self, at: At) -> Iterator[None]:
        """Keep an OperatorError of what is made inside, under the key below at that names its file, or under at."""
        try:
            yield
        except PolicyError as error:
            self.found += error.problems
        except OperatorError as error:
            keys = (key for key, path in self._files if key[: len(at)] == at and _is_in(error, path))
            at = next(keys, at)
            what = f"{error.where}: {error.what}"
            self.found.append(Problem(self._where(at), dotted(at), what, f"{error.todo.removesuffix('.')}."))


def _is_in(error: OperatorError, path: Path) -> bool:
    names = (str(path), str(path.absolute()))
    return any(error.where == name or error.where.startswith(f"{name}:") for name in names)


def _unread_patterns(output: Output, where: Where) -> Iterator[Problem]:
    """Yield the patterns of tool arguments that the gateway could not compile."""
    for index, rule in enumerate(output.tools.arguments):
        for key, written in (("must", rule.must), ("must_not", rule.must_not)):
            try:
                if written is not None:
                    linear.pattern(written)
            except linear.SyntaxUnknown as error:
                at: At = ("output", "tools", "arguments", index, key)
                todo = "Write it without look-around and back references: RE2 has neither."
                yield Problem(where(at), dotted(at), f"the pattern cannot be read: {error}", todo)


def make_client_trust(policy: Policy) -> ClientTrust | None:
    """Return the client authorities of a policy, None where it asks for no certificates. Raises OperatorError."""
    section = policy.identity.certificates
    if section is None:
        return None
    return ClientTrust(section, policy.beside(section.ca), [policy.beside(name) for name in section.crl])


def make_proxy_users(policy: Policy) -> KnownUsers | None:
    """Return the users of the explicit proxy, None where it asks for no password. Raises OperatorError."""
    section = policy.identity.proxy_auth
    if section is None:
        return None
    passwords, tokens = (None if f is None else policy.beside(f) for f in (section.passwords, section.tokens))
    return KnownUsers(section, passwords, tokens)


def make_restricted(policy: Policy, catalogue: Catalogue, where: Where) -> Restricted:
    """Return the tenant restrictions of a policy; one that does not enforce for all changes no call, so it has none.

    Raises PolicyError with all that is wrong in them, in a policy that observes as well.
    """
    chosen = restricted(catalogue.restrictions, policy.restrictions, where)
    return chosen if policy.mode is Mode.ENFORCE else Restricted()


def make_tariff(policy: Policy) -> Tariff:
    """Return the prices a policy asks for."""
    contract = (
        ContractPrice(
            c.provider,
            c.model,
            c.input_usd,
            c.output_usd,
            cache_read=c.cache_read_usd,
            cache_write=c.cache_write_usd,
            request=c.request_usd,
        )
        for c in policy.prices.contract
    )
    free = policy.prices.unknown_model == "pass"
    return Tariff(
        PriceList(tuple(contract)),
        policy.prices.credit_usd,
        unknown_is_free=free,
        unnamed_tier=policy.prices.unnamed_tier,
    )


def _read_recognisers(policy: Policy, index: int) -> None:
    """Read one of the operator's files as the detector will. Raises OperatorError with its file and line."""
    from sallyport.detect.recogniser_files import read  # with Presidio: seconds

    for _ in read(policy.recogniser_files[index]):
        pass


def _find_engine(policy: Policy) -> None:
    """Look for the engine of names, without loading it. Raises OperatorError."""
    from sallyport.detect.ner.engines import find

    settings = ner_settings(policy) if policy.uses_names else None
    if settings is not None:
        find(settings.engine)
