"""The known AI providers: which hosts are theirs, and which of their endpoints are read how.

Whatever is not written in rules/providers does not match: another host, path, method or query parameter,
another spelling of the same. A known host without a matching endpoint is refused by default, never passed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from sallyport.data import rules_dir
from sallyport.exchange import Operation
from sallyport.policy.hosts import HostMap, normalise_host
from sallyport.policy.problems import PolicyError, Problem
from sallyport.policy.providers import WEBSOCKET, EndpointEntry, ProviderEntry, read_providers
from sallyport.policy.regions import Regions
from sallyport.policy.restrictions import RestrictionEntry
from sallyport.policy.targets import TargetError, Template, split_target


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the target of a call already says.

    stream, model: None where the body has to tell. template: the catalogue's spelling of the path; method:
    that goes with it.
    captured: every value the client chose in path and query (names of the catalogue), credentials left
    out; such values can carry data, so that they deserve a scan like any text.
    """

    dialect: str
    operation: Operation
    stream: bool | None
    model: str | None
    template: str
    captured: tuple[tuple[str, str], ...] = ()
    method: str = ""


@dataclass(frozen=True, slots=True)
class Miss:
    """Why a call matches no endpoint. reason: path.encoded, unknown_path, unknown_method, unknown_query."""

    reason: str


class ProviderKind(StrEnum):
    """What a provider is to its users."""

    API = "api"
    WEB = "web"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a provider's keys travel. schemes: bearer, key, sigv4, cookie. Header names in lower case.

    signing_service: of AWS's signatures, "" where it takes none.
    """

    headers: tuple[str, ...]
    query: tuple[str, ...]
    schemes: tuple[str, ...]
    signing_service: str = ""

    def without(self, names: frozenset[str]) -> "Credentials":
        """Return the same less some headers, which a policy has given up to tokens of people."""
        if names.isdisjoint(self.headers):
            return self
        return replace(self, headers=tuple(h for h in self.headers if h not in names))


@dataclass(frozen=True, slots=True)
class Provider:
    """One AI provider.

    usage_if_asked: its OpenAI-style streams report usage only where stream_options asks for it.
    hosts: its host patterns, as the catalogue has them. voice: dialect in which it is spoken for where a call has none
    of its own, "opaque" where it has no dialect at all. flat_errors: as in its file.
    """

    name: str
    title: str
    kind: ProviderKind
    credentials: Credentials
    usage_if_asked: bool
    routes: "Routes" = field(repr=False)
    regions: Regions = field(repr=False)
    hosts: tuple[str, ...] = ()
    voice: str = "opaque"
    flat_errors: bool = False

    def endpoint(self, method: str, target: str) -> Endpoint | None:
        """Return the endpoint of a request line's method and target (path and query), None for no match."""
        found = self.routes.find(method, target)
        return found if isinstance(found, Endpoint) else None

    def resolve(self, method: str, target: str) -> Endpoint | Miss:
        """Return the endpoint, or why there is none."""
        return self.routes.find(method, target)

    @property
    def inspected(self) -> bool:
        """Whether any of its endpoints can be read at all."""
        return len(self.routes) > 0


@dataclass(frozen=True, slots=True)
class _Route:
    template: Template
    method: str
    entry: EndpointEntry


class Routes:
    """The endpoints of one provider, by shape of their path."""

    def __init__(self, entries: Iterable[EndpointEntry], secret_query: Iterable[str] = ()) -> None:
        self._secret = frozenset(secret_query)
        self._literal: dict[str, list[_Route]] = {}
        self._shaped: dict[int, list[_Route]] = {}
        self._listed: tuple[tuple[str, str, Operation], ...] = ()
        for entry in entries:
            route = _Route(Template(entry.path), entry.method, entry)
            self._listed += ((entry.method, entry.path, entry.operation),)
            if route.template.literal:
                self._literal.setdefault(entry.path, []).append(route)
            else:
                self._shaped.setdefault(entry.path.count("/"), []).append(route)

    def __len__(self) -> int:
        return len(self._listed)

    @property
    def listed(self) -> tuple[tuple[str, str, Operation], ...]:
        """Method, path template and operation of every endpoint, in the order of the catalogue."""
        return self._listed

    def find(self, method: str, target: str) -> Endpoint | Miss:
        """Return the endpoint of a call, or why there is none."""
        try:
            path, query = split_target(target)
        except TargetError as error:
            return Miss(error.reason)
        reason = "path.encoded" if "%" in path else "unknown_path"
        for route, captured in self._candidates(path):
            if route.method != method:
                reason = "unknown_method"
                continue
            values = route.entry.read_query(query)
            if values is None:
                return Miss("unknown_query")
            return self._endpoint(route, captured, values)
        return Miss(reason)

    def _candidates(self, path: str) -> Iterator[tuple[_Route, dict[str, str]]]:
        for route in self._literal.get(path, ()):
            yield route, {}
        for route in self._shaped.get(path.count("/"), ()):
            captured = route.template.match(path)
            if captured is not None:
                yield route, captured

    def _endpoint(self, route: _Route, captured: dict[str, str], query: Mapping[str, str]) -> Endpoint:
        entry = route.entry
        shown = tuple((k, v) for k, v in query.items() if k not in self._secret)
        return Endpoint(
            dialect=entry.dialect,
            operation=entry.operation,
            stream=entry.stream,
            model=_model(captured, query if entry.method == WEBSOCKET else {}),
            template=entry.path,
            captured=(*captured.items(), *shown),
            method=entry.method,
        )


def _model(captured: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """Return the model a target names: of the path, or of the query where that is the place for it."""
    places = (captured.get("model"), captured.get("deployment"), query.get("model"), query.get("deployment"))
    return next((name for name in places if name is not None), None)


class Catalogue:
    """All known providers. Host lookups cost the same however many there are."""

    def __init__(
        self,
        entries: Iterable[ProviderEntry],
        ech_names: Iterable[str] = (),
        restrictions: Iterable[RestrictionEntry] = (),
    ) -> None:
        """Take providers as read. Raises ValueError for a host that two of them claim."""
        self.restrictions = tuple(restrictions)
        listed = tuple(entries)
        self._providers = {e.name: _provider(e) for e in listed}
        self._hosts = HostMap((h, self._providers[e.name]) for e in listed for h in e.hosts)
        fixed = [(h, e.name) for e in listed for h in e.hosts if _is_fixed(h)]
        self.fixed_hosts = HostMap(fixed)
        """Hosts of which nobody but the provider can have one: written out, or open in the region alone."""
        self.with_fixed_hosts = frozenset(name for _, name in fixed)
        self._sign_in = HostMap((h, True) for h in dict.fromkeys(h for e in listed for h in e.sign_in))
        self._ech = HostMap((h, True) for h in ech_names)

    def provider(self, host: str) -> Provider | None:
        """Return the provider of a host, None for a host that is no AI host or only signs people in.

        Raises HostError for a name that cannot be compared; such a connection must be refused, not tunnelled.
        """
        name = normalise_host(host)
        return None if name in self._sign_in else self._hosts.get(name)

    def sign_in(self, host: str) -> bool:
        """Say whether a host only signs people in to a provider; it is tunnelled like any other host."""
        return normalise_host(host) in self._sign_in

    def hides_name(self, host: str) -> bool:
        """Say whether a host is an ECH public name: the true name is encrypted, so it is never tunnelled."""
        return normalise_host(host) in self._ech

    def named(self, name: str) -> Provider | None:
        """Return a provider by its own name."""
        return self._providers.get(name)

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._providers.values())

    def __len__(self) -> int:
        return len(self._providers)

    @property
    def host_patterns(self) -> tuple[str, ...]:
        """All host patterns of all providers, for name constraints, firewalls and the doctor."""
        return tuple(self._hosts)


def _is_fixed(pattern: str) -> bool:
    return "*" not in pattern and "{" not in pattern.replace("{region}", "")


def load_catalogue(*folders: Path) -> Catalogue:
    """Read every provider file of these folders. Raises PolicyError with all problems of all files."""
    known = read_providers(folders)
    try:
        return Catalogue(known.providers, known.ech_names, known.restrictions)
    except ValueError as error:
        where = str(folders[0]) if folders else "catalogue"
        raise PolicyError([Problem(where, "hosts", str(error), "A host belongs to one provider.")]) from None


def shipped_catalogue() -> Catalogue:
    """Read the catalogue that ships. Raises PolicyError."""
    return load_catalogue(rules_dir() / "providers")


def _provider(entry: ProviderEntry) -> Provider:
    return Provider(
        name=entry.name,
        title=entry.title,
        kind=ProviderKind(entry.kind),
        credentials=Credentials(
            tuple(h.lower() for h in entry.credentials.headers),
            entry.credentials.query,
            entry.credentials.schemes,
            entry.credentials.signing_service or "",
        ),
        usage_if_asked=entry.usage_if_asked,
        routes=Routes(entry.parsed_endpoints, entry.credentials.query),
        regions=Regions(entry.hosts, entry.regions, in_model=entry.region_in_model),
        hosts=entry.hosts,
        voice=entry.voice,
        flat_errors=entry.flat_errors,
    )
