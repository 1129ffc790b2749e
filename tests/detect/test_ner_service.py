"""Names in worker processes: found exactly, bounded in time, and never taken for looked at when they were not."""

import contextlib
import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from detect.ner_engines import TRAP, save_package, save_ruler
from sallyport.decision import Finding
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.ner import lane
from sallyport.detect.ner import pool as pools
from sallyport.detect.ner.pool import Pool
from sallyport.detect.ner.service import NerScanner, NerSettings, Pools
from sallyport.errors import OperatorError
from sallyport.exchange import Segment, Surface

ALL = frozenset({"PERSON", "LOCATION", "ORGANIZATION", "NRP"})


@pytest.fixture(scope="module")
def ruler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ruler(tmp_path_factory.mktemp("model") / "ruler")


@pytest.fixture(scope="module")
def names(ruler: Path) -> Iterator[NerScanner]:
    with NerScanner.open(NerSettings(f"spacy:{ruler}", ALL, deadline_s=30.0)) as scanner:
        yield scanner


@pytest.fixture(scope="module")
def trap_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("site")
    save_package(folder, "sallyport_trap", TRAP)
    save_package(folder, "sallyport_sleeper", "import time\ndef load(**overrides):\n    time.sleep(600)\n")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def trap(trap_installed: None) -> Iterator[NerScanner]:
    """A scanner whose engine does what a text tells it, and may be lost as often as the tests like."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lane, "FREE_FAILURES", 1000)
        with NerScanner.open(NerSettings("spacy:sallyport_trap", deadline_s=20.0)) as scanner:
            yield scanner


def user(text: str, at: str = "/text") -> Segment:
    return Segment(at, Surface.USER, text)


def found(scanner: NerScanner, text: str) -> list[tuple[str, str]]:
    return [(f.entity, text[f.start : f.end]) for f in scanner.scan([user(text)])]


NUMBERS = itertools.count()


def unseen(text: str = "") -> str:
    """A text that no cache knows."""
    return f"{text} by Marta Quill, text {next(NUMBERS)}"


def works(scanner: NerScanner) -> bool:
    return found(scanner, unseen()) == [("PERSON", "Marta Quill")]


def hasty(scanner: NerScanner, deadline_s: float, max_queue_chars: int = 10_000_000) -> NerScanner:
    """The same workers with another deadline."""
    old = scanner.settings
    settings = NerSettings(old.engine, old.entities, deadline_s=deadline_s, max_queue_chars=max_queue_chars)
    return NerScanner(settings, scanner.pool)


def pid_of(scanner: NerScanner) -> int:
    """The process id of the one worker, which has nothing to do."""
    assert works(scanner)
    eventually(lambda: len(scanner.pool.pids) == 1)
    return scanner.pool.pids[0]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(holds: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


# -- what is found ---------------------------------------------------------------------------------------


def test_names_come_back_with_exact_places_in_presidios_words(names: NerScanner) -> None:
    text = "\U0001f600 Dear Marta Quill, Ove Lindqvist of Quill & Sons moved to New Amstel."
    assert found(names, text) == [
        ("PERSON", "Marta Quill"),
        ("PERSON", "Ove Lindqvist"),
        ("ORGANIZATION", "Quill & Sons"),
        ("LOCATION", "New Amstel"),
    ]
    first = names.scan([user(text)])[0]
    assert (first.rule, first.kind, first.severity) == ("pii.ner.PERSON", "pii", "medium")


def test_only_the_entities_scores_and_surfaces_that_are_wanted_are_reported(names: NerScanner) -> None:
    text = "Marta Quill in New Amstel"

    def with_settings(**changed: object) -> list[str]:
        settings = NerSettings(names.settings.engine, deadline_s=30.0, **changed)  # type: ignore[arg-type]
        segments = [Segment("/a", Surface.SYSTEM, text), Segment("/b", Surface.TOOL_RESULT, text)]
        return [f"{f.at} {f.entity}" for f in NerScanner(settings, names.pool).scan(segments)]

    assert with_settings() == ["/b PERSON", "/b LOCATION"]
    assert with_settings(entities=frozenset({"PERSON"})) == ["/b PERSON"]
    assert with_settings(min_score=0.9) == []
    assert with_settings(surfaces=frozenset({Surface.SYSTEM})) == ["/a PERSON", "/a LOCATION"]


def test_a_long_text_gives_every_name_once_wherever_it_stands(names: NerScanner) -> None:
    filler = "a few words and then, some more of them; "
    text = "".join(
        filler[: 7 + step % 31] + f" Marta Quill{'.' if step % 3 else chr(10)} " for step in range(4000)
    )
    expected = [i for i in range(len(text)) if text.startswith("Marta Quill", i)]
    spans = [(f.start, f.end) for f in names.scan([user(text)])]
    assert spans == [(start, start + len("Marta Quill")) for start in expected]


def test_line_breaks_inside_quoted_json_part_words(names: NerScanner) -> None:
    text = r'{"note": "signed\nMarta Quill\nNew Amstel"}'
    assert found(names, text) == [("PERSON", "Marta Quill"), ("LOCATION", "New Amstel")]


def test_a_placeholder_holds_no_name(tmp_path: Path) -> None:
    model = save_ruler(tmp_path / "greedy", {"PERSON": "PER"})
    tag = "ab2cd3ef4g"
    with NerScanner.open(NerSettings(f"spacy:{model}", deadline_s=30.0)) as scanner:
        assert found(scanner, "the PERSON there") == [("PERSON", "PERSON")]
        assert found(scanner, f"to <PERSON_{tag}> from < PERSON >") == [("PERSON", "PERSON")]


def test_half_a_surrogate_pair_moves_nothing(names: NerScanner) -> None:
    assert found(names, "\ud83d Marta Quill \udc00") == [("PERSON", "Marta Quill")]


# -- what is known costs nothing -------------------------------------------------------------------------


def test_a_conversation_that_is_sent_again_asks_for_its_new_part_only(names: NerScanner) -> None:
    turns = [user(f"turn {n} by Marta Quill", f"/{n}") for n in range(50)]
    before = names.scan(turns)
    longer = "Marta Quill wrote. " * 2000
    names.scan([user(longer)])
    impatient = hasty(names, 0.5)
    with stopped(pid_of(names)):
        assert impatient.scan(turns) == before
        assert len(impatient.scan([user(longer)])) == 2000
        with pytest.raises(ScanIncomplete):
            impatient.scan([*turns, user("one more turn", "/new")])


def test_what_was_found_before_the_time_was_up_is_found_at_the_next_try(names: NerScanner) -> None:
    text = "".join(
        f"Line {n} was written by Marta Quill and a few more words follow it here.\n" for n in range(30_000)
    )
    tries = 0
    while True:
        tries += 1
        with contextlib.suppress(ScanIncomplete):
            assert len(hasty(names, 0.4).scan([user(text)])) == 30_000
            break
        assert tries < 100
    assert tries > 1


def test_another_model_has_another_revision(names: NerScanner, tmp_path: Path) -> None:
    other = save_ruler(tmp_path / "other", {"Somebody": "PER"})
    with NerScanner.open(NerSettings(f"spacy:{other}", ALL, deadline_s=30.0)) as scanner:
        assert scanner.revision != names.revision
    less = NerSettings(names.settings.engine, frozenset({"PERSON"}))
    assert NerScanner(less, names.pool).revision != names.revision


# -- workers that fail -----------------------------------------------------------------------------------


def test_a_worker_killed_while_idle_is_replaced_and_nobody_is_refused(trap: NerScanner) -> None:
    pid = pid_of(trap)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: trap.pool.pids != (pid,))
    assert works(trap)
    assert not alive(pid)


def test_a_worker_killed_at_work_refuses_the_text_and_is_replaced(trap: NerScanner) -> None:
    pid = pid_of(trap)
    asked = trap.submit([user(unseen("STUCK"))])
    with pytest.raises(TimeoutError):
        asked.result(0.3)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ScanIncomplete):
        asked.result(20)
    assert works(trap)
    assert pid_of(trap) != pid


@pytest.mark.parametrize("bad", ["CRASH", "RAISE", "LIE", "DROP"])
def test_a_text_that_breaks_the_engine_is_refused_and_its_neighbours_are_not(
    trap: NerScanner, bad: str
) -> None:
    with stopped(pid_of(trap)):
        first = trap.submit([user(unseen())])
        eventually(lambda: not trap.pool.waiting_chars)
        neighbour = trap.submit([user(unseen())])
        broken = trap.submit([user(unseen(bad))])
        another = trap.submit([user(unseen())])
    with pytest.raises(ScanIncomplete):
        broken.result(20)
    assert [len(one.result(20)) for one in (first, neighbour, another)] == [1, 1, 1]


def test_a_worker_that_hangs_is_killed_at_the_deadline(trap: NerScanner) -> None:
    pid = pid_of(trap)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ScanIncomplete):
        hasty(trap, 0.3).scan([user(unseen())])
    eventually(lambda: not alive(pid))
    assert works(trap)


def test_an_engine_that_hangs_on_a_text_is_killed_at_the_deadline(trap: NerScanner) -> None:
    pid = pid_of(trap)
    with pytest.raises(ScanIncomplete):
        hasty(trap, 0.3).scan([user(unseen("STUCK"))])
    eventually(lambda: not alive(pid))


def test_a_long_text_takes_no_more_of_a_worker_than_its_deadline(names: NerScanner) -> None:
    text = "".join(f"Word {n} and more words of a text nobody has seen before.\n" for n in range(60_000))
    pid = pid_of(names)

    def cpu_s() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = cpu_s()
    with pytest.raises(ScanIncomplete):
        hasty(names, 0.3).scan([user(text)])
    found(names, "the next text waits until the worker is free again")
    assert pid_of(names) == pid
    assert cpu_s() - before < 2.0


def test_an_engine_that_keeps_crashing_rests_and_is_tried_again(
    trap_installed: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lane, "FREE_FAILURES", 1)
    monkeypatch.setattr(lane, "LONGEST_REST_S", 1.5)
    with NerScanner.open(NerSettings("spacy:sallyport_trap", deadline_s=20.0)) as trap:
        for attempt in range(2):
            with pytest.raises(ScanIncomplete, match="was lost"):
                trap.scan([user(f"CRASH {attempt}")])
        with pytest.raises(ScanIncomplete, match="keeps failing"):
            trap.scan([user("by Marta Quill")])
        assert trap.pool.pids == ()
        told = "a worker of spacy:sallyport_trap was lost: it ended"
        first, second = [record.getMessage() for record in caplog.records]
        assert first == told
        assert second.startswith(f"{told}; its place rests for 1.5 s. While all do, ")
        time.sleep(1.5)
        assert works(trap)


def test_more_than_the_queue_holds_is_refused_at_once(names: NerScanner) -> None:
    with stopped(pid_of(names)):
        held = names.submit([user(unseen())])
        eventually(lambda: not names.pool.waiting_chars)
        waits = names.submit([user("x" * 900)])
        with pytest.raises(ScanIncomplete, match="more text waits"):
            hasty(names, 30.0, max_queue_chars=1000).scan([user("y" * 200)])
        waits.cancel()
        held.cancel()
    eventually(lambda: not names.pool.waiting_chars)


def test_a_text_that_nobody_waits_for_is_not_looked_at(trap: NerScanner) -> None:
    pid = pid_of(trap)
    with stopped(pid):
        held = trap.submit([user(unseen())])
        eventually(lambda: not trap.pool.waiting_chars)
        assert trap.submit([user(unseen("CRASH"))]).cancel()
    assert len(held.result(20)) == 1
    assert works(trap)
    assert pid_of(trap) == pid


# -- what is left behind ---------------------------------------------------------------------------------

HOLDER = """
import sys, time
from sallyport.detect.ner.service import NerScanner, NerSettings
scanner = NerScanner.open(NerSettings(sys.argv[1]))
print(scanner.pool.pids[0], flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("hung", [False, True])
def test_a_gateway_killed_leaves_no_worker(ruler: Path, hung: bool) -> None:
    command = [sys.executable, "-c", HOLDER, f"spacy:{ruler}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ) as holder:
        assert holder.stdout is not None
        worker = int(holder.stdout.readline())
        if hung:
            os.kill(worker, signal.SIGSTOP)
        holder.kill()
    eventually(lambda: not alive(worker))


@pytest.mark.skipif(os.geteuid() != 0, reason="a worker cannot be looked into by its own user")
def test_a_worker_knows_no_secret_and_writes_nowhere(ruler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "canary-" + os.urandom(8).hex()
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    with NerScanner.open(NerSettings(f"spacy:{ruler}", deadline_s=30.0)) as scanner:
        place = Path(f"/proc/{pid_of(scanner)}")
        told = (place / "environ").read_bytes() + (place / "cmdline").read_bytes()
        assert canary.encode() not in told
        assert b"HF_HUB_OFFLINE=1" in told
        assert {os.readlink(place / "fd" / n) for n in "012"} == {"/dev/null"}
        limits = resource.prlimit(int(place.name), resource.RLIMIT_CORE)
        assert limits == (0, 0)
        sockets = [os.readlink(fd) for fd in (place / "fd").iterdir() if "socket" in os.readlink(fd)]
        assert len(sockets) == 1


def test_closing_ends_the_workers_and_fails_what_waits(trap_installed: None) -> None:
    scanner = NerScanner.open(NerSettings("spacy:sallyport_trap", workers=2, deadline_s=30.0))
    eventually(lambda: len(scanner.pool.pids) == 2)
    pids = scanner.pool.pids
    asked = [scanner.submit([user(f"STUCK {n}")]) for n in range(4)]
    time.sleep(0.2)
    scanner.close()
    assert not any(alive(pid) for pid in pids)
    for one in asked:
        with pytest.raises(ScanIncomplete):
            one.result(5)
    with pytest.raises(ScanIncomplete):
        scanner.scan([user("too late")])


# -- starting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ("spacy:no_such_package_here", "is installed"),
        ("spacy:/nowhere/at/all", "no spaCy pipeline"),
        ("onnx:/nowhere", ""),
        ("transformers:/nowhere", ""),
        ("magic", "no engine"),
    ],
)
def test_an_engine_that_is_not_there_is_told_to_the_operator(engine: str, says: str) -> None:
    with pytest.raises(OperatorError) as error:
        NerScanner.open(NerSettings(engine))
    assert says in error.value.what
    assert error.value.todo


def test_a_pipeline_without_names_is_told_to_the_operator(tmp_path: Path) -> None:
    import spacy

    spacy.blank("en").to_disk(tmp_path / "empty")
    with pytest.raises(OperatorError, match="no component that finds people"):
        NerScanner.open(NerSettings(f"spacy:{tmp_path / 'empty'}"))


def test_a_slow_start_ends_in_an_error_and_no_process(trap_installed: None) -> None:
    started = Pool("spacy:sallyport_sleeper", start_limit_s=0.5)
    with pytest.raises(OperatorError, match="lost while it started"):
        started.start()
    assert started.pids == ()


# -- reloading -------------------------------------------------------------------------------------------


@pytest.fixture
def kept() -> Iterator[Pools]:
    pools = Pools()
    yield pools
    pools.close()


def test_a_reload_keeps_workers_that_need_not_change(kept: Pools, ruler: Path) -> None:
    first = kept.scanner(NerSettings(f"spacy:{ruler}", deadline_s=30.0))
    again = kept.scanner(NerSettings(f"spacy:{ruler}", frozenset({"PERSON"}), deadline_s=20.0))
    assert first is not None
    assert again is not None
    assert again.pool is first.pool


def test_a_reload_with_another_model_serves_old_exchanges_to_their_end(
    kept: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "RETIRED_IDLE_S", 0.2)
    model = save_ruler(tmp_path / "model", {"Marta Quill": "PER"})
    settings = NerSettings(f"spacy:{model}", deadline_s=30.0)
    old = kept.scanner(settings)
    save_ruler(model, {"Ove Lindqvist": "PER"})
    new = kept.scanner(settings)
    assert old is not None
    assert new is not None
    text = "Marta Quill and Ove Lindqvist"
    assert found(new, text) == [("PERSON", "Ove Lindqvist")]
    assert old.revision != new.revision
    eventually(lambda: old.pool.pids == ())
    # Its worker is gone; one that is started now would not be the same engine, so it refuses.
    with pytest.raises(ScanIncomplete):
        hasty(old, 3.0).scan([user(text)])


def test_names_switched_off_end_their_workers(
    kept: Pools, ruler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "RETIRED_IDLE_S", 0.2)
    scanner = kept.scanner(NerSettings(f"spacy:{ruler}", deadline_s=30.0))
    assert scanner is not None
    assert kept.scanner(None) is None
    eventually(lambda: scanner.pool.pids == ())
    # An exchange that began before finds its names all the same.
    assert works(scanner)


def test_a_reload_that_fails_leaves_the_workers_alone(kept: Pools, ruler: Path) -> None:
    scanner = kept.scanner(NerSettings(f"spacy:{ruler}", deadline_s=30.0))
    assert scanner is not None
    with pytest.raises(OperatorError):
        kept.scanner(NerSettings("spacy:no_such_package_here"))
    assert works(scanner)


def test_finding_order_is_that_of_the_segments(names: NerScanner) -> None:
    segments = [user("to Marta Quill", "/b"), user("Ove Lindqvist in New Amstel", "/a")]
    places: list[Finding] = list(names.scan(segments))
    assert [(f.at, f.entity) for f in places] == [("/b", "PERSON"), ("/a", "PERSON"), ("/a", "LOCATION")]
