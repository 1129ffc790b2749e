"""`sallyport policy bundle`: a policy with its files as one signed file, and what `run` makes of it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sallyport.audit.events import EventKind
from sallyport.audit.store import Store
from sallyport.audit.text import printable
from sallyport.cli import replacing
from sallyport.cli.detection import read_policy
from sallyport.cli.last_run import remember
from sallyport.cli.operator import act, put
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.policy.sections import Policy
from sallyport.state.policybundles import (
    Bundle,
    Serials,
    private_key,
    public_key,
    read_bundle,
    remove_others,
    unpack,
    verified,
)

_TRUST = frozenset(("ca", "file", "ca_file"))
"""Files of identity that a bundle holds: whom to trust. Passwords and revocation lists change on their own."""


def bundle(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", readable=False, help="Policy file; with --show, --accept a bundle."),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Bundle to write.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="KEY", help="Ed25519 private key that signs, PEM.")
    ] = None,
    serial: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Higher than that of the last one.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Tell what a bundle holds.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Let gateways of this folder go back to this bundle; recorded.")
    ] = False,
    policy_key: Annotated[
        Path | None, typer.Option(metavar="PUB", help="With --show, --accept: check the signature with it.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="With --accept: why.")] = "",
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Put a policy, its tenants' files, recognisers, authorities and tests into one signed file.

    Run with it: sallyport run --policy policy.bundle --policy-key policy.pub. What is unsigned, changed or older than
    what was in force is then refused, at start and at each reload.
    """
    if show:
        _show(file, policy_key)
    elif accept:
        _accept(file, policy_key, reason, store, confdir)
    else:
        _make(file, output, key, serial)


def _make(file: Path, output: Path | None, key: Path | None, serial: int | None) -> None:
    if output is None or key is None or serial is None:
        raise OperatorError("policy bundle", "it needs -o, --key and --serial", "Give all three")
    policy = read_policy(str(file))
    made = Bundle(serial, policy.revision, file.name, _files(policy, file))
    sealed = made.sealed(private_key(key))
    with replacing.output(output, "-o") as written:
        written.write(sealed)
    typer.echo(
        f"{output}: serial {serial}, revision {policy.revision}, {len(made.files)} files, {made.digest}"
    )


def _files(policy: Policy, main: Path) -> dict[str, str]:
    """Return the texts of all files of a policy. Raises OperatorError for one that lies elsewhere or is no text."""
    names = {main.name, *policy.tenants.files.values(), *policy.detection.recognisers}
    folder = main.parent
    names |= {path.relative_to(folder).as_posix() for path in folder.glob("*.test.yaml")}
    names |= {
        str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
        for at, path in policy.identity_files
        if at[-1] in _TRUST
    }
    files = {}
    for name in sorted(names):
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise OperatorError(
                name, "this file of the policy lies outside its folder", "Move it beside the policy"
            )
        try:
            files[path.as_posix()] = (folder / path).read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError):
            raise OperatorError(name, "it cannot be read as text", "A bundle holds text files only") from None
    return files


def _show(file: Path, policy_key: Path | None) -> None:
    if policy_key is None:
        found, _ = read_bundle(file)
        told = "not checked: give --policy-key"
    else:
        found, told = verified(file, public_key(policy_key)), "good"
    members = {"serial": found.serial, "revision": found.revision, "sha256": found.digest, "signature": told}
    for name, value in members.items():
        typer.echo(f"{name:<10}{printable(str(value))}")
    for name, text in sorted(found.files.items()):
        typer.echo(f"  {printable(json.dumps(name))}  {len(text.encode())} bytes")


def _accept(
    file: Path, policy_key: Path | None, reason: str, store: str | None, confdir: Path | None
) -> None:
    if policy_key is None or not reason.strip():
        raise OperatorError("--accept", "it needs --policy-key and --reason", "Give both")
    found = verified(file, public_key(policy_key))
    opened = Store.open(store_address(store, confdir), create=False)
    try:
        accepted = act(
            EventKind.POLICY_PROMOTED,
            stage="policy",
            reason="policy.bundle",
            policy_revision=found.revision,
            detail=f"serial:{found.serial}:{found.digest}",
        )
        put(opened, accepted)
    finally:
        opened.close()
    Serials((confdir or default_confdir()) / "policies").keep(found)
    typer.echo(
        f"{file}: serial {found.serial} may take force, and none below it. Put it in force with a reload."
    )


class BundledPolicy:
    """A policy that `run` reads from a signed bundle, anew at each reload."""

    def __init__(self, path: Path, key: Path, home: Path) -> None:
        self._path, self._confdir, self._home = path, home, home / "policies"
        self._key = public_key(key)
        self._serials = Serials(self._home)
        self._read: tuple[Bundle, Path] | None = None
        self.digest_in_force = ""

    def peek(self, path: Path | None = None) -> Bundle:
        """Return what the bundle, or another one, holds now, with a good signature. Raises OperatorError."""
        return verified(path or self._path, self._key)

    def file(self) -> str:
        """Return the path of the main file, written out of the bundle once that was checked. Raises OperatorError."""
        found = verified(self._path, self._key)
        self._serials.check(found)
        try:
            main = unpack(found, self._path.absolute().parent, self._home)
        except OSError as error:
            what = f"the bundle cannot be unpacked there ({error.strerror})"
            raise OperatorError(str(self._home), what, "See who owns the folder") from None
        self._read = found, main
        return str(main)

    def taken(self) -> None:
        """Note the bundle that was read last as the newest in force, and remove what older ones left behind.

        Raises OperatorError.
        """
        if self._read is not None:
            bundle, main = self._read
            self.digest_in_force = bundle.digest
            try:
                self._serials.keep(bundle)
                remember(self._confdir, str(main))
                remove_others(main.parent)
            except OSError as error:
                what = f"the serial cannot be noted there ({error.strerror})"
                raise OperatorError(str(self._home), what, "See who owns the folder") from None
