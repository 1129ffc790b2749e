"""A schema cannot make the check of an answer write the whole answer into one error after another."""

import json

import pytest

from sallyport.detect.watching.schema import INVALID, SchemaCheck


@pytest.mark.parametrize("branch", ['{"type":"null"}', "false"])
def test_a_keyword_counts_by_the_size_of_what_it_would_write(branch: str) -> None:
    def source(branches: int) -> str:
        return f'{{"anyOf":[{",".join([branch] * branches)}]}}'

    text = json.dumps({"a": ["x" * 10] * 5000})
    assert SchemaCheck(source(100)).problem(text) == INVALID
    assert SchemaCheck(source(9000)).problem(text) is None  # too much work, and so not judged


def test_a_long_answer_that_does_not_fit_is_still_found() -> None:
    source = json.dumps({"type": "object", "properties": {"a": {"items": {"type": "string"}}}})
    assert SchemaCheck(source).problem(json.dumps({"a": ["x" * 10] * 9000})) is None
    assert SchemaCheck(source).problem(json.dumps({"a": [*["x" * 10] * 9000, 1]})) == INVALID
