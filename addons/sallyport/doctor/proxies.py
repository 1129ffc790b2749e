"""The proxy variables of the environment: that they agree, and that no provider is exempt from them."""

from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from sallyport.doctor.findings import Address, Check, Situation, fail, ok, warn

_NAMES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")
_SCHEMES = frozenset({"http", "https", "socks5", "socks5h", "socks4"})


def check_proxies(situation: Situation, environ: Mapping[str, str]) -> Iterator[Check]:
    """Look at what programs on this machine are told; values are never shown, they may hold passwords."""
    found = [*_problems(situation, environ)]
    if found:
        yield from found
        return
    chosen = https_proxy(environ)
    yield ok("proxy variables", f"HTTPS goes to {chosen[0]}:{chosen[1]}" if chosen else "none set")


def https_proxy(environ: Mapping[str, str]) -> Address | None:
    """Return host and port of the proxy for HTTPS, without user and password; None if there is none."""
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        if value := environ.get(name, "").strip():
            return proxy_address(value)
    return None


def proxy_address(url: str) -> Address | None:
    """Return host and port of a proxy URL; None if it is not one. A missing scheme means http."""
    try:
        parts = _split(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _SCHEMES or not parts.hostname:
        return None
    return parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme, 1080)


def _split(url: str) -> SplitResult:
    return urlsplit(url if "://" in url else f"http://{url}")


def _problems(situation: Situation, environ: Mapping[str, str]) -> Iterator[Check]:
    name = "proxy variables"
    for lower in _NAMES:
        upper = lower.upper()
        if lower in environ and upper in environ and environ[lower] != environ[upper]:
            yield fail(
                name,
                f"{lower} and {upper} differ: programs choose one or the other",
                "Set both to the same value, or unset one.",
            )
    for variable in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        value = environ.get(variable, "").strip()
        if value and proxy_address(value) is None:
            yield fail(name, f"{variable} is no proxy URL", "Write it like http://gateway.example:3128.")
    if https_proxy(environ) is None:
        if situation.from_client and not situation.transparent:
            yield warn(
                name,
                "no HTTPS_PROXY is set, so programs connect directly",
                "Set HTTPS_PROXY to the gateway, or say --transparent if the network redirects.",
            )
        return
    exempt = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    around = [host for host in situation.hosts if _is_exempt(host, exempt)]
    if around:
        yield fail(
            name,
            f"NO_PROXY lets {', '.join(around)} go around the proxy",
            "Take these names out of NO_PROXY.",
        )
    if situation.transparent:
        yield warn(
            name,
            "an explicit proxy is set although traffic is redirected transparently",
            "Unset HTTPS_PROXY, unless that proxy is the gateway as well.",
        )


def _is_exempt(host: str, no_proxy: str) -> bool:
    """Say whether most programs take NO_PROXY to name a host: whole, or as a domain with or without a dot."""
    names = (name.strip().lower().removeprefix("*").removeprefix(".") for name in no_proxy.split(","))
    return no_proxy.strip() == "*" or any(name and f".{host}".endswith(f".{name}") for name in names)
