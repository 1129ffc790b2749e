"""A month of every dialect before two policies: each change is found, counted as made by hand, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster
from typer.testing import CliRunner

from replay.month import BASE, CANDIDATE, Expected, month
from replay.recording import write
from sallyport.cli.main import app


@pytest.fixture(autouse=True)
def nobody_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "confdir"))


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("policies")
    (folder / "base.yaml").write_text(BASE)
    (folder / "next.yaml").write_text(CANDIDATE)
    return ["--policy", str(folder / "next.yaml"), "--against", str(folder / "base.yaml")]


def recorded(folder: Path, count: int) -> tuple[list[str], Expected]:
    """Write the month into two files that overlap in time."""
    make, expected = month(count)
    flows = [*make()]
    files = [write(folder / name, part) for name, part in (("b", flows[::2]), ("a", flows[1::2]))]
    return [*map(str, files)], expected


def said(*words: str) -> str:
    done = CliRunner().invoke(app, ["replay", *words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_all_that_changes_in_a_month_is_found_exactly(tmp_path: Path, policies: list[str]) -> None:
    files, expected = recorded(tmp_path, 300)
    found = json.loads(said(*files, *policies, "--jobs", "1"))
    assert found["flows"] == expected.flows
    assert {change: count for change, count in found["changes"].items() if count} == expected.changes
    assert found["by"]["rule"] == expected.rules
    assert found["by"]["tenant"] == expected.tenants
    assert found["base"]["answers_ended"] == 0
    assert found["candidate"]["answers_ended"] == expected.changes["answer_newly_ended"]
    edited = expected.rules["pii.contact.email_address"]["answer_changed"]
    assert found["candidate"]["answers_edited"] == {"pii.contact.email_address": edited}
    assert found["by"]["stage"]["output"] == {
        change: expected.changes[change] for change in ("answer_newly_ended", "answer_changed")
    }


@pytest.mark.timeout(300)
def test_whoever_does_the_work_the_bytes_are_the_same(tmp_path: Path, policies: list[str]) -> None:
    files, _ = recorded(tmp_path, 130)
    report, page = tmp_path / "report.json", tmp_path / "page.html"
    pages = []
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        outputs = []
        for how in (["--jobs", "1"], ["--jobs", "2"], ["--dask", cluster.scheduler_address]):
            outputs.append(said(*files, *policies, *how, "--report", str(report), "--html", str(page)))
            assert report.read_text() == outputs[-1]
            pages.append(page.read_bytes())
    assert len(set(outputs)) == len(set(pages)) == 1
    found: Any = json.loads(outputs[0])
    assert found["by"]["rule"]["limits.daily"]
    assert found["by"]["stage"]["output"]
