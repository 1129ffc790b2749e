"""Files of tests beside a policy: `*.test.yaml`, what they may say, and reading them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from sallyport.errors import OperatorError
from sallyport.exchange import Scalar
from sallyport.policy.load import PRESETS, validate
from sallyport.policy.problems import Wrong
from sallyport.policy.source import Source, read_source
from sallyport.policy.vocabulary import Name, Section, unique
from sallyport.rehearsal.given import Given

SUFFIX = ".test.yaml"


class Expect(Section):
    """What must come of a call. Only what is written is compared, and something must be."""

    action: Literal["allow", "modify", "deny"] | None = Field(
        default=None, description="What is enforced; `modify`: masked, or settings changed."
    )
    reason: Name | None = Field(
        default=None,
        description="Reason of a decision with that action (`access.default`); without `action`, of any.",
    )
    would_be: Literal["allow", "modify", "deny"] | None = Field(
        default=None, description="What it were if everything were enforced."
    )
    status: int | None = Field(default=None, description="HTTP status of the refusal.")
    masked: tuple[Name, ...] | None = Field(
        default=None, description="Entities taken out of the texts: exactly these; `[]` for none."
    )
    parameters: Mapping[Name, Scalar | None] | None = Field(
        default=None, description="Settings with which it leaves; null: not set."
    )
    needs: tuple[str, ...] | None = Field(
        default=None, description="Resources that need an approval (`model:gpt-5`): exactly these."
    )
    principal: Name | None = Field(default=None, description="Whom the identity stage found.")
    tenant: Name | None = Field(default=None, description="The tenant of the principal.")
    roles: tuple[Name, ...] | None = Field(default=None, description="Roles of the principal: exactly these.")
    region: str | None = Field(default=None, description='Region the call is found to go to, "" for unknown.')
    warned: bool | None = Field(default=None, description="Whether the caller is warned of a limit.")

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise Wrong("nothing is expected, so that the case cannot fail", "Add `action`, or any other key")
        if self.status is not None and self.action not in (None, "deny"):
            raise Wrong("only a refusal has a status", "Remove it, or expect `deny`", ("status",))
        return self


class Case(Section):
    """One call, and what must come of it."""

    name: Name = Field(description="What it shows, as a sentence.")
    given: Given = Field(default_factory=lambda: Given(), description="The facts, beside `defaults`.")
    expect: Expect = Field(description="What must come of it.")


class CaseFile(Section):
    """A file of tests."""

    policy: Name | None = Field(
        default=None,
        description="Policy file, relative to this one; null: `x.yaml` for `x.test.yaml`.",
    )
    defaults: Given = Field(
        default_factory=lambda: Given(), description="Facts of every case that says no other."
    )
    cases: tuple[Case, ...] = Field(min_length=1, description="The cases.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        unique((case.name for case in self.cases), "cases", "name")
        return self


def read_cases(path: Path) -> tuple[CaseFile, Source]:
    """Read a file of tests. Raises PolicyError with every problem in it."""
    source = read_source(path)
    return validate(CaseFile, source), source


def policy_of(path: Path, file: CaseFile) -> Path:
    """Return the policy that a file of tests is about."""
    if file.policy is not None:
        return path.parent / file.policy
    return path.with_name(path.name.removesuffix(SUFFIX) + ".yaml")


def found(paths: Sequence[Path], presets: Path) -> Iterator[Path]:
    """Yield the files of tests that paths mean: themselves, those in folders, those beside a policy.

    presets: folder of the policies that ship. Raises OperatorError for a path that means none.
    """
    seen: set[Path] = set()
    for path in paths:
        listed = _meant(path, presets)
        if not listed:
            raise OperatorError(
                str(path), "there are no tests here", f"Write them into a file that ends in {SUFFIX}"
            )
        for each in listed:
            if each.resolve() not in seen:
                seen.add(each.resolve())
                yield each


def _meant(path: Path, presets: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.rglob(f"*{SUFFIX}"))
    if str(path) in PRESETS and not path.exists():
        return [presets / f"{path}{SUFFIX}"]
    if path.name.endswith(SUFFIX):
        return [path]
    beside = path.with_name(path.name.removesuffix(".yaml") + SUFFIX)
    return [beside] if beside.exists() else []
