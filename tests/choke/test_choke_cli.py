"""`sallyport redirect` as an operator meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from choke_net import Net
from typer.testing import CliRunner, Result

from sallyport.cli.redirect import app
from sallyport.errors import OperatorError

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy/nftables/sallyport.nft"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_example_in_deploy_is_what_print_writes() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    head, ruleset = text[: text.index("add table")], text[text.index("add table") :]
    command = next(line for line in head.splitlines() if line.startswith("# sallyport redirect print"))
    printed = invoke(*command.removeprefix("# sallyport redirect ").split())
    assert printed.exit_code == 0
    assert printed.output == ruleset


def test_bad_input_is_an_operator_error_with_exit_code_2() -> None:
    result = invoke("print", "-i", "eth0; drop")
    assert isinstance(result.exception, OperatorError)
    assert result.exception.exit_code == 2


@pytest.mark.root
def test_apply_status_and_remove(net: Net) -> None:
    def sallyport(*arguments: str) -> Result:
        return net.gateway(lambda: invoke(*arguments))

    assert sallyport("status").exit_code == 1
    checked = sallyport("apply", "-i", "clients", "--check")
    assert checked.exit_code == 0
    assert "nothing was changed" in checked.output
    applied = sallyport("apply", "-i", "clients")
    assert applied.exit_code == 0
    assert "in force" in applied.output
    assert "nothing listens" in applied.output
    assert "already" in sallyport("apply", "-i", "clients").output

    status = sallyport("status", "--json")
    assert status.exit_code == 0
    found = json.loads(status.output)
    assert found["state"] == "present"
    assert {"chain": "intercept", "rule": "intercepted", "packets": 0, "bytes": 0} in found["rules"]
    assert "QUIC around the gateway" in sallyport("status").output

    net.nft("flush", "chain", "inet", "sallyport", "passage")
    changed = sallyport("status", "--json")
    assert changed.exit_code == 1
    assert json.loads(changed.output)["state"] == "changed"

    assert sallyport("remove").exit_code == 0
    assert "was not there" in sallyport("remove").output


@pytest.mark.root
@pytest.mark.parametrize("command", ["status", "apply -i lo0", "remove"])
def test_without_the_right_to_change_the_filter_it_says_so(command: str) -> None:
    script = (
        "import sys\n"
        "from sallyport.cli.redirect import app\n"
        "from sallyport.errors import OperatorError\n"
        "try:\n"
        "    app(sys.argv[1:], standalone_mode=False)\n"
        "except OperatorError as error:\n"
        "    print(error)\n"
        "    sys.exit(error.exit_code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        ("setpriv", "--bounding-set=-net_admin", sys.executable, "-c", script, *command.split()),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 3, result.stderr
    assert "CAP_NET_ADMIN" in result.stdout


@pytest.mark.root
def test_without_nft_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    result = invoke("status")
    assert isinstance(result.exception, OperatorError)
    assert result.exception.exit_code == 3
    assert "package nftables" in str(result.exception)
