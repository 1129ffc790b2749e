"""Tool calls in answers: names by allowed and denied globs, arguments by patterns at places."""

import pytest

from sallyport.detect.linear import SyntaxUnknown
from sallyport.detect.watching.toolcalls import ARGUMENT, NOT_ALLOWED, UNREADABLE, ArgumentRule, ToolCheck


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("read_file", True),
        ("fs_list", True),
        ("fs_delete", False),
        ("FS_DELETE", False),
        ("shell", False),
        ("", False),
    ],
)
def test_names_are_allowed_by_globs_and_denials_win(name: str, allowed: bool) -> None:
    check = ToolCheck(allow=["read_file", "fs_*"], deny=["*delete*"])
    assert check.allows(name) is allowed
    assert check.problems(name, "{}") == ([] if allowed else [NOT_ALLOWED])


def test_no_list_allows_all_and_an_empty_list_none() -> None:
    assert ToolCheck().problems("anything", "{") == []
    assert ToolCheck(allow=[]).problems("anything", "{}") == [NOT_ALLOWED]


INSIDE = ArgumentRule("fs_*", "/path", must=r"\A/srv/[\w./-]+\z", must_not=r"\.\.")
NO_KEYS = ArgumentRule("*", "", must_not=r"id_rsa")


@pytest.mark.parametrize(
    ("name", "arguments", "problems"),
    [
        ("fs_read", '{"path": "/srv/data/a.txt"}', []),
        ("fs_read", '{"path": "/srv/../etc/passwd"}', [ARGUMENT]),
        ("fs_read", '{"path": "\\u002fetc/passwd"}', [ARGUMENT]),
        ("fs_read", '{"path": "\\u002fsrv/data"}', []),
        ("fs_read", '{"file": "/srv/a"}', [ARGUMENT]),
        ("fs_read", "", [ARGUMENT]),
        ("fs_read", '{"path": "/srv/a", "path": "/etc/passwd"}', [UNREADABLE]),
        ("fs_read", '{"path": "/srv/a"', [UNREADABLE]),
        ("fs_read", '{"path": ["/srv/a", "/srv/b/../c"]}', [ARGUMENT]),
        ("fs_read", '{"path": {"/srv/..": 1}}', [ARGUMENT]),
        ("mail", '{"to": "me", "parts": [{"text": "the id_rsa"}]}', [ARGUMENT]),
        ("mail", '{"to": "me", "id_rsa": 1}', [ARGUMENT]),
        ("mail", "free text about id_rsa", [ARGUMENT]),
        ("mail", "free text", []),
        ("mail", '{"n": 5}', []),
        ("mail", '"\\ud83d"', []),
        ("mail", "[" * 100_000, [UNREADABLE]),
    ],
)
def test_arguments_are_judged_where_a_rule_looks(name: str, arguments: str, problems: list[str]) -> None:
    assert ToolCheck(arguments=[INSIDE, NO_KEYS]).problems(name, arguments) == problems


@pytest.mark.parametrize(
    ("pointer", "text"),
    [("/a~1b", '{"a/b": "x"}'), ("/m~0n", '{"m~n": "x"}'), ("/l/1", '{"l": ["y", "x"]}'), ("/", '{"": "x"}')],
)
def test_pointers_follow_rfc_6901(pointer: str, text: str) -> None:
    assert ToolCheck(arguments=[ArgumentRule("t", pointer, must="^x$")]).problems("t", text) == []
    assert ToolCheck(arguments=[ArgumentRule("t", pointer, must="^y$")]).problems("t", text) == [ARGUMENT]


def test_a_number_is_its_json_text() -> None:
    check = ToolCheck(arguments=[ArgumentRule("pay", "/amount", must=r"\A[0-9]{1,3}\z")])
    assert check.problems("pay", '{"amount": 250}') == []
    assert check.problems("pay", '{"amount": 2500}') == [ARGUMENT]


def test_a_pattern_that_re2_has_not_is_refused_when_it_is_written() -> None:
    with pytest.raises(SyntaxUnknown):
        ToolCheck(arguments=[ArgumentRule("t", must="(?=x)")])
