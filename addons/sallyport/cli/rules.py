"""`sallyport rules`: list the rule packs, show a rule, run its examples."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sallyport.data import rules_dir
from sallyport.decision import Kind
from sallyport.detect.packs import KINDS, Rule, load, read_pack, read_taxonomy
from sallyport.errors import OperatorError

app = typer.Typer(
    help="List, show and test the rule packs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Folder = Annotated[Path | None, typer.Option("--rules", help="Rules folder; default: the one that ships.")]


@app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    paranoia: Annotated[int, typer.Option(min=1, max=4, help="Only rules up to this level.")] = 4,
    rules: Folder = None,
) -> None:
    """List the rules: id, severity, paranoia level, title."""
    table = Table("id", "severity", "level", "entity", "title", box=None)
    for rule in _rules(rules):
        if rule.paranoia <= paranoia and kind in (None, rule.kind):
            table.add_row(rule.id, rule.severity.value, str(rule.paranoia), rule.entity, rule.title)
    _console().print(table)


@app.command()
def show(id_: Annotated[str, typer.Argument(metavar="ID")], rules: Folder = None) -> None:
    """Show one rule: what it looks for, where it errs, and its examples."""
    found = [rule for rule in _rules(rules) if rule.id == id_]
    if not found:
        raise OperatorError(id_, "is no rule", "List the rules with `sallyport rules list`")
    rule = found[0]
    lines = [
        ("title", rule.title),
        ("description", rule.description),
        ("file", rule.where.split(" ")[0]),
        ("severity", rule.severity.value),
        ("entity", rule.entity),
        ("paranoia level", str(rule.paranoia)),
        ("points" if rule.kind is Kind.INJECTION else "score", _score(rule)),
        ("surfaces", ", ".join(sorted(rule.surfaces)) or "all"),
        ("tags", ", ".join(rule.tags)),
        ("keywords", ", ".join(rule.keywords)),
        ("pattern", rule.source),
        ("validator", rule.validator or ""),
        ("recogniser", rule.recogniser or ""),
        ("context", ", ".join(rule.context)),
        *((f"unless ({u.on})", f"{u.pattern.pattern}  - {u.why}") for u in rule.unless),
        *(("reference", r) for r in rule.references),
        *(("known false positive", k) for k in rule.known_false_positives),
        *(("match", e.text) for e in rule.match),
        *(("pass", e.text) for e in rule.clean),
    ]
    table = Table(rule.id, "", box=None)
    for name, value in lines:
        if value:
            table.add_row(name, ascii(value)[1:-1] if not value.isprintable() else value)
    _console().print(table, markup=False)


@app.command("test")
def test_(
    path: Annotated[Path | None, typer.Argument(help="A folder or one pack; default: all.")] = None,  # noqa: PT028
) -> None:
    """Run the examples of every rule. Exit code 1 if one does not do what it says."""
    from sallyport.detect.proof import prove

    rules = _rules(path)
    failures = [failure for rule in rules for failure in prove(rule)]
    for failure in failures:
        typer.echo(str(failure))
    examples = sum(len(rule.match) + len(rule.clean) for rule in rules)
    typer.echo(f"{len(rules)} rules, {examples} examples, {len(failures)} failed")
    if failures:
        raise typer.Exit(1)


def _rules(path: Path | None) -> tuple[Rule, ...]:
    if path is None:
        return load(rules_dir()).rules
    if not path.exists():
        raise OperatorError(str(path), "does not exist", "Give a rules folder or one pack")
    if path.is_dir():
        if not any((path / folder).is_dir() for folder in KINDS):
            todo = "Give their parent"
            raise OperatorError(str(path), "has none of the folders secrets, pii, injection", todo)
        return load(path).rules
    home = next((p for p in path.resolve().parents if p.name in KINDS), None)
    if home is None:
        todo = "Put the pack below secrets, pii or injection: the folder is its kind"
        raise OperatorError(str(path), "has no kind", todo)
    return read_pack(home.parent, path.resolve(), read_taxonomy(home.parent))


def _score(rule: Rule) -> str:
    return f"{rule.score * 10:g}" if rule.kind is Kind.INJECTION else f"{rule.score:g}"


def _console() -> Console:
    console = Console(soft_wrap=False, highlight=False)
    if not console.is_terminal:
        console.width = 400
    return console
