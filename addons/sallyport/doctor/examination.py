"""The whole examination, in the order in which one thing explains the next."""

from collections.abc import Iterator, Mapping

from cryptography import x509

from sallyport.doctor import machine, network
from sallyport.doctor.authority import check_authority, public_certificate
from sallyport.doctor.findings import Check, Level, Situation, failed, skipped
from sallyport.doctor.proxies import check_proxies
from sallyport.doctor.trust import check_trust, client_target, loopback_target
from sallyport.errors import OperatorError
from sallyport.pki import Authority


def examine(situation: Situation, environ: Mapping[str, str]) -> Iterator[Check]:
    """Yield what each check found, as soon as it is known.

    environ: this process's own environment; the programs that try a handshake get it unchanged.
    """
    yield machine.check_python()
    yield machine.check_mitmproxy()
    yield from machine.check_environment(environ)
    yield machine.check_clock()
    if not situation.from_client:
        yield machine.check_files(situation)
        yield from machine.check_disk(situation)
        yield machine.check_store(situation)
    checked, authority = check_authority(situation)
    yield checked
    yield network.check_redirect(situation)
    yield from network.check_listener(situation)
    yield from check_proxies(situation, environ)
    yield from _trust(situation, environ, authority)
    yield from network.check_upstream(situation)
    yield from _way_around(situation, authority)


def _trust(situation: Situation, environ: Mapping[str, str], authority: Authority | None) -> Iterator[Check]:
    if situation.from_client:
        yield from check_trust(client_target(situation), environ, Level.FAIL, situation.timeout_s)
    elif authority is None:
        yield skipped("trust", "there is no fit CA to try with", "See the check of the CA.")
    else:
        # On a gateway nobody has to trust it: programs started here would notice, the clients not.
        with loopback_target(authority, situation.hosts) as target:
            yield from check_trust(target, environ, Level.WARN, situation.timeout_s)


def _way_around(situation: Situation, authority: Authority | None) -> Iterator[Check]:
    ours: x509.Certificate | None = None
    try:
        ours = public_certificate(situation, authority)
    except OperatorError as error:
        yield failed("way around", error)
        return
    yield from network.check_way_around(situation, ours)
