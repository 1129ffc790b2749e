"""A gateway's folder, store and policy file, and the commands on them, without a gateway."""

from pathlib import Path

from typer.testing import CliRunner

from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.cli.policyversions import keep_version
from sallyport.policy.load import load_policy


def told(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["policy", *words], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout


class Site:
    """A gateway's folder, its store and a policy file; run() does what a start or reload does to them."""

    def __init__(self, folder: Path) -> None:
        self.conf, self.file = folder / "conf", folder / "site" / "policy.yaml"
        self.conf.mkdir()
        self.file.parent.mkdir()
        self.store = Store.open(self.conf / "audit.db")
        self.words = ["--confdir", str(self.conf)]

    def run(self, text: str, kind: EventKind = EventKind.POLICY_CHANGED, gateway: str = "gw-1") -> str:
        self.file.write_text(text)
        policy = load_policy(self.file)
        keep_version(str(self.file), None, policy, self.conf)
        self.store.write([Event(kind=kind, gateway=gateway, policy_revision=policy.revision)])
        return policy.revision
