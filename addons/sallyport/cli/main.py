"""The command line: one name, subcommands from their own modules, errors that say where, what and what to do.

Exit codes: 0 done, 1 a negative answer, 2 bad input, 3 something outside is missing, 4 an error of ours.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from sallyport import __version__
from sallyport.cli.output import guarded_stdout, told
from sallyport.errors import OperatorError
from sallyport.heap import no_collection

_GROUPS = {
    "ca": ("sallyport.cli.ca", "Make, show and rotate the authority that clients trust."),
    "redirect": ("sallyport.cli.redirect", "Leave clients no way but through the gateway (nftables)."),
    "policy": ("sallyport.cli.policy", "Check, test, explain, compare and roll back policies."),
    "audit": ("sallyport.cli.audit", "Ask what happened; prove, report, forward, reveal, forget."),
    "approvals": ("sallyport.cli.approvals", "Approve what rules ask approval for; break glass."),
    "limits": ("sallyport.cli.limits", "Show how full limits are, reset them, grant more."),
    "directory": ("sallyport.cli.directory.app", "Who is who: people and tenants, by hand and by import."),
    "keys": ("sallyport.cli.keys.app", "Which credentials are used and whose; issue gateway keys."),
    "credentials": ("sallyport.cli.credentials", "The real credentials that take the place of gateway keys."),
    "rules": ("sallyport.cli.rules", "List, show and test the rule packs."),
}
_COMMANDS = {
    "run": ("sallyport.cli.run", "run", "Run the gateway."),
    "demo": ("sallyport.cli.demo", "demo", "Show real SDKs at work through a gateway."),
    "doctor": ("sallyport.cli.doctor", "doctor", "Find out what is not right, and what to do."),
    "stop": ("sallyport.cli.stop", "stop", "Stop traffic at once: everything, or one of a kind."),
    "resume": ("sallyport.cli.stop", "resume", "Let go what was stopped."),
    "stops": ("sallyport.cli.stop", "stops", "List what is stopped, since when, by whom and why."),
    "spend": ("sallyport.cli.spend", "spend", "Show what was used, and what it cost."),
    "replay": ("sallyport.cli.replay", "replay", "Say what a policy would have decided on recorded traffic."),
    "scan": ("sallyport.cli.scan", "scan", "Scan texts or files with the rule packs."),
}
"""Where a command is, and the line for it in the list of all, which is told without importing it."""


class LazyGroup(TyperGroup):
    """Imports a subcommand only when it is used: `audit list` must not wait for Presidio."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*_COMMANDS, *_GROUPS]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, row[-1]) for name, row in {**_COMMANDS, **_GROUPS}.items()])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _GROUPS:
            module, _ = _GROUPS[cmd_name]
            command: Any = typer.main.get_command(_imported(module).app)
            command.name = cmd_name
            return _plain(command)
        if cmd_name in _COMMANDS:
            module, function, _ = _COMMANDS[cmd_name]
            single = typer.Typer(add_completion=False, rich_markup_mode=None)
            single.command(name=cmd_name)(getattr(_imported(module), function))
            command = typer.main.get_command(single)
            command.name = cmd_name
            return _plain(command)
        return None


def _imported(module: str) -> ModuleType:
    with no_collection():
        return importlib.import_module(module)


_WORDS = {
    "<str>": "TEXT",
    "<Path>": "PATH",
    "<int>": "N",
    "<float>": "NUMBER",
    "<int range>": "N",
    "<float range>": "NUMBER",
    "<list[str]>": "TEXT",
}


def _all(command: Any) -> Iterator[Any]:
    """Yield a command and those below it, however deep."""
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from _all(each)


def _plain(command: Any) -> Any:
    """Make help plain: a list of commands tells first sentences whole, and no Python type stands at an argument."""
    for each in _all(command):
        first = (each.help or "").partition("\n\n")[0].replace("\n", " ")
        each.short_help = first.partition(". ")[0].removesuffix(".") + "."
        for param in each.params:
            if param.param_type_name == "argument":
                param.display_type_rich = lambda ctx: None
            elif param.metavar is None and not getattr(param, "is_flag", False):
                shown = param.display_type(typer.Context(each))
                param.metavar = _WORDS.get(shown)
    return command


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True, rich_markup_mode=None)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_tell_version
    ),
) -> None:
    """An egress gateway for AI traffic: identity, policy, masking and proof for unmodified clients."""


def main() -> None:
    """Run the command line and exit with its code."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        # Read when numpy is imported. Texts are small and cores have their own work: threads would only wait.
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    try:
        with guarded_stdout():
            app(standalone_mode=True)
    except OperatorError as error:
        sys.stderr.write(f"{told(error)}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        # An unforeseen exception may quote what it was working on; its type and place are enough.
        trace, place = error.__traceback__, ""
        while trace is not None:
            place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
            trace = trace.tb_next
        sys.stderr.write(f"internal error: {type(error).__name__} at {place}. Please report it.\n")
        sys.exit(4)


if __name__ == "__main__":
    main()
