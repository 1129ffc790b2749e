"""`sallyport rules`: list the rule packs, show a rule, run its examples."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sallyport.cli.patternless import patternless
from sallyport.cli.ruledescription import described
from sallyport.data import rules_dir
from sallyport.decision import Kind
from sallyport.detect.packfile import read_taxonomy
from sallyport.detect.packs import KINDS, Rule, load, read_pack
from sallyport.detect.watching.rulefile import FOLDER, OutputRule, load_output, read_output_pack
from sallyport.errors import OperatorError

app = typer.Typer(
    help="List, show and test the rule packs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Folder = Annotated[
    Path | None,
    typer.Option("--rules", metavar="FOLDER", help="Rules folder. [default: the one that ships]"),
]


_FOLDERS = (*KINDS, FOLDER)


@app.command("list")
def list_(
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    paranoia: Annotated[
        int, typer.Option(metavar="1-4", min=1, max=4, help="Only rules up to this level.")
    ] = 4,
    tag: Annotated[
        str | None, typer.Option(metavar="TAG", help="Only rules with this tag, such as LLM01.")
    ] = None,
    rules: Folder = None,
) -> None:
    """List the rules: id, severity, paranoia level, entity, title. What has no pattern: "model" or "check"."""
    table = Table("id", "severity", "level", "entity", "title", box=None)
    for rule in _rules(rules):
        if rule.paranoia <= paranoia and kind in (None, rule.kind) and tag in (None, *rule.tags):
            table.add_row(rule.id, rule.severity.value, str(rule.paranoia), rule.entity, rule.title)
    if rules is None and tag is None:
        for one in patternless():
            if kind in (None, one.kind):
                table.add_row(one.id, "", one.level, one.entity, one.title)
    _console().print(table, markup=False)


@app.command()
def show(id_: Annotated[str, typer.Argument(metavar="ID")], rules: Folder = None) -> None:
    """Show one rule: what it looks for, where it errs, and its examples."""
    packs = _rules(rules)
    others = {one.id: one for one in patternless()}
    if id_ in others:
        one = others[id_]
        lines = [("title", one.title), ("entity", one.entity), ("found by", one.how)]
    else:
        lines = described(_named(id_, packs, [*others]))
    typer.echo(id_)
    for name, value in lines:
        if value:
            typer.echo(f"  {name:<22}{value if value.isprintable() else ascii(value)[1:-1]}")


@app.command("test")
def test_(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="A rules folder or one pack; default: all that ships."),
    ] = None,  # noqa: PT028
) -> None:
    """Run the examples of every rule.

    Exit code 0: each does what it says; 1: one does not; 2: a pack cannot be loaded. Packs that can be loaded
    are tested whatever is wrong with others.
    """
    from sallyport.detect.proof import prove
    from sallyport.detect.watching.proof import prove_output

    rules: list[Rule | OutputRule] = []
    broken = failed = 0
    for pack in _packs(path):
        try:
            loaded = pack.read()
            failures = [
                failure
                for rule in loaded
                for failure in (prove_output(rule) if isinstance(rule, OutputRule) else prove(rule))
            ]
        except OperatorError as error:
            typer.echo(str(error), err=True)
            broken += 1
            continue
        for failure in failures:
            typer.echo(str(failure))
        failed += len(failures)
        rules += loaded
    examples = sum(len(rule.match) + len(rule.clean) for rule in rules)
    not_loaded = f", {broken} packs not loaded" if broken else ""
    typer.echo(f"{len(rules)} rules, {examples} examples, {failed} failed{not_loaded}")
    if broken:
        raise typer.Exit(2)
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Pack:
    """A pack below its rules folder."""

    root: Path
    path: Path
    taxonomy: frozenset[str]

    def read(self) -> tuple[Rule | OutputRule, ...]:
        """Return its rules. Raises OperatorError."""
        if self.path.relative_to(self.root).parts[0] == FOLDER:
            return read_output_pack(self.root, self.path, self.taxonomy)
        rules = read_pack(self.root, self.path, self.taxonomy)
        seen: dict[str, Rule] = {}
        for rule in rules:
            first = seen.setdefault(rule.id, rule)
            if first is not rule:
                raise OperatorError(rule.where, f"is already at {first.where}", "Rename one of them")
        return rules


def _packs(path: Path | None) -> Iterator[_Pack]:
    """Yield the packs of a rules folder, of a folder below it, or one. Raises OperatorError where none is."""
    path = rules_dir() if path is None else path.resolve()
    if not path.exists():
        raise OperatorError(str(path), "does not exist", "Give a rules folder or one pack")
    root = _root(path)
    taxonomy = read_taxonomy(root) or read_taxonomy(rules_dir())
    within = [root / folder for folder in _FOLDERS] if path == root else [path]
    files = [f for place in within for f in (sorted(place.rglob("*.yaml")) if place.is_dir() else [place])]
    files = [file for file in files if file.is_file()]
    if not files:
        raise OperatorError(str(path), "holds no pack", "Packs are files that end in .yaml")
    yield from (_Pack(root, file, taxonomy) for file in files)


def _root(path: Path) -> Path:
    """Return the rules folder of a path: itself, or the parent of the folder that says the kind."""
    if path.is_dir() and any((path / folder).is_dir() for folder in _FOLDERS):
        return path
    home = next((p for p in (path, *path.parents) if p.name in _FOLDERS and p.is_dir()), None)
    if home is None:
        todo = "The folder of a pack is its kind: put it below secrets, pii, injection or output"
        raise OperatorError(str(path), "has no kind", todo)
    return home.parent


def _rules(path: Path | None) -> tuple[Rule | OutputRule, ...]:
    """Return all rules of a rules folder. Raises OperatorError."""
    if path is None:
        return load(rules_dir()).rules + load_output(rules_dir()).rules
    if not path.exists():
        raise OperatorError(str(path), "does not exist", "Give a rules folder")
    if not path.is_dir() or not any((path / folder).is_dir() for folder in _FOLDERS):
        raise OperatorError(
            str(path), "has none of the folders secrets, pii, injection, output", "Give their parent"
        )
    return load(path).rules + load_output(path).rules


def _named(id_: str, rules: tuple[Rule | OutputRule, ...], models: list[str]) -> Rule | OutputRule:
    found = next((rule for rule in rules if rule.id == id_), None)
    if found is not None:
        return found
    near = _near(id_, [*(rule.id for rule in rules), *models])
    todo = f"Did you mean {' or '.join(near)}?" if near else "List the rules with `sallyport rules list`"
    raise OperatorError(id_, "is no rule", todo)


def _near(id_: str, known: list[str]) -> list[str]:
    """Return up to three ids that were meant: those with these words in them, else those spelt alike."""
    words = [word for word in id_.lower().replace("_", ".").split(".") if len(word) > 2]
    holding = [name for name in known if words and all(word in name.lower() for word in words)]
    by_end = get_close_matches(id_, known, n=3, cutoff=0.7)
    last = id_.rpartition(".")[2]
    ends = [name for name in known if get_close_matches(last, [name.rpartition(".")[2]], n=1, cutoff=0.75)]
    return list(dict.fromkeys([*holding, *by_end, *ends]))[:3]


def _console() -> Console:
    console = Console(soft_wrap=False, highlight=False)
    if not console.is_terminal:
        console.width = 400
    return console
