"""What a browser asked ahead of a call is judged in a replay as the gateway judges it."""

from pathlib import Path

import pytest
from mitmproxy import http

from replay.recording import flow, write
from replay.test_replay import nobody_s_folder, policy, run

__all__ = ["nobody_s_folder"]

ASKED = {
    "origin": "https://app.example.com",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


def preflight(at: float, body: bytes = b"", **more: str) -> http.HTTPFlow:
    made = flow("", at=at, body=body, answer=b"", kind="text/plain")
    made.request.method = "OPTIONS"
    made.request.headers = http.Headers(
        [(b"host", b"api.openai.com"), *((k.encode(), v.encode()) for k, v in (ASKED | more).items())]
    )
    made.response = http.Response.make(204)
    return made


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    """Three preflights, the second with a secret in a header that a gateway does not let out."""
    note = {"x-note": "AKIAQ4XMPL7WZ2RT5YUJ"}
    return str(write(tmp_path / "f.flow", [preflight(0), preflight(1, **note), preflight(2)]))


@pytest.mark.parametrize(("by", "refused"), [("principal", 0), ("network", 2), ("provider", 2)])
def test_it_needs_no_proof_and_counts_on_limits_of_which_it_tells_whom_they_count(
    recorded: str, tmp_path: Path, by: str, refused: int
) -> None:
    candidate = tmp_path / "c.yaml"
    candidate.write_text(
        "version: 1\nidentity: {require: [certificate]}\n"
        f"limits: {{rules: [{{id: calls, limit: 1, per: day, by: [{by}]}}]}}\n"
    )
    found = run(recorded, "--policy", str(candidate))
    assert found["changes"] == {**found["changes"], "same": 3 - refused, "newly_refused": refused}


def test_in_observe_its_headers_leave_and_are_searched_whatever_the_other_policy_leaves_of_them(
    recorded: str, tmp_path: Path
) -> None:
    observes = policy(tmp_path, "o.yaml", "mode: observe\n")
    enforces = policy(tmp_path, "e.yaml", "")
    for one, other in ((enforces, observes), (observes, enforces)):
        found = run(recorded, "--policy", one, "--against", other)
        assert (found["changes"]["same"], found["changes"]["would_change"]) == (2, 1)


def test_where_a_policy_does_not_list_it_it_is_refused_as_is_one_with_a_body(tmp_path: Path) -> None:
    file = str(write(tmp_path / "f.flow", [preflight(0), preflight(1, b"hello", **{"content-length": "0"})]))
    found = run(file, "--policy", policy(tmp_path, "c.yaml", ""))
    assert [sample["candidate"]["reason"] for sample in found["samples"]] == ["transport.preflight_body"]
    found = run(file, "--policy", policy(tmp_path, "d.yaml", "access: {operations: [chat]}\n"))
    assert found["changes"]["newly_refused"] == 2
