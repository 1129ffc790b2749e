"""Each stage by itself: what it denies, what it changes, what it leaves alone."""

import pytest

from sallyport.decision import Action, Decision, Kind, Mode, Severity
from sallyport.exchange import Attachment, Operation, Surface
from sallyport.policy.load import parse_policy
from sallyport.policy.problems import PolicyError
from sallyport.policy.sections import Policy
from sallyport.stages.access import AccessStage
from sallyport.stages.identity import IdentityStage
from sallyport.stages.injection import InjectionStage
from sallyport.stages.masking import MaskingStage
from sallyport.stages.places import HEADER
from sallyport.stages.secrets import SecretsStage
from samples import Desk, Findings, exchange, finding, segment

MAIL = "marta.quill@example.com"


def policy(text: str = "") -> Policy:
    return parse_policy("version: 1\n" + text)


async def access(text: str, found: Findings | None = None, **request: object) -> Decision:
    section = policy(text).access
    desk = Desk(found or Findings())
    return await AccessStage().decide(exchange(segment("hi"), **request), section, desk.ports())  # type: ignore[arg-type]


async def test_an_operation_or_attachment_the_policy_does_not_name_is_refused() -> None:
    assert (await access("", operation=Operation.BATCH)).reason == "access.operation"
    picture, sound = Attachment("/a", "image/png", 10), Attachment("/b", "audio/wav", 10)
    assert (await access("", attachments=(picture,))).action is Action.ALLOW
    assert (await access("", attachments=(picture, sound))).reason == "access.attachment"


MEDIA = """
access:
  operations: [chat, file, audio]
  attachments:
    allow: [image/*]
    max_bytes: 100
    rules:
      - {operations: [file], media: [application/pdf], action: allow, max_bytes: 50}
      - {media: [image/svg+xml], action: refuse}
      - {operations: [audio], media: [audio/*, video/*], action: allow}
"""


@pytest.mark.parametrize(
    ("operation", "media_type", "size", "reason"),
    [
        (Operation.CHAT, "image/png", 100, ""),
        (Operation.CHAT, "image/png", 101, "access.attachment_size"),
        (Operation.CHAT, "image/png", None, ""),
        (Operation.CHAT, "image/svg+xml", 1, "access.attachment"),
        (Operation.CHAT, "IMAGE/SVG+XML; charset=x", 1, "access.attachment"),
        (Operation.CHAT, "application/pdf", 1, "access.attachment"),
        (Operation.FILE, "application/pdf", 50, ""),
        (Operation.FILE, "application/pdf", 51, "access.attachment_size"),
        (Operation.AUDIO, "audio/wav", 10**9, ""),
        (Operation.CHAT, "audio/wav", 1, "access.attachment"),
        (Operation.BATCH, "image/png", 1, "access.operation"),
    ],
)
async def test_content_goes_by_its_type_its_operation_and_its_size(
    operation: Operation, media_type: str, size: int | None, reason: str
) -> None:
    held = (Attachment("/a", "image/png", 1), Attachment("/b", media_type, size))
    decided = await access(MEDIA, operation=operation, attachments=held)
    assert (decided.action is Action.DENY) == bool(reason)
    assert not reason or decided.reason == reason
    kind = media_type.partition(";")[0].lower()
    assert not reason.startswith("access.attachment") or (
        f": {kind}. " in decided.message and decided.media == kind
    )


async def test_a_refusal_quotes_no_type_that_is_none() -> None:
    decided = await access("", attachments=(Attachment("/a", "write to anna\nschmidt", 1),))
    assert decided.action is Action.DENY
    assert "anna" not in decided.message


def test_a_refusal_has_no_size_up_to_which_it_allows() -> None:
    with pytest.raises(PolicyError, match="max_bytes"):
        policy("access: {attachments: {rules: [{action: refuse, max_bytes: 5}]}}")


async def test_an_unknown_endpoint_is_refused_unless_the_policy_lets_it_pass_unread() -> None:
    assert (await access("", operation=Operation.OPAQUE)).reason == "access.unknown_endpoint"
    opaque = await access("access: {unknown_endpoint: opaque}", operation=Operation.OPAQUE)
    assert opaque.action is Action.ALLOW


RULES = """
access:
  default: deny
  rules:
    - {id: small, effect: permit, when: "request.model == 'gpt-5'", message: m}
    - {id: never, effect: forbid, when: "request.max_output_tokens > 100", message: too much, mode: MODE}
"""


async def test_forbid_wins_over_permit_and_default_deny_holds() -> None:
    rules = RULES.replace("MODE", "enforce")
    assert (await access(rules)).reason == "access.small"
    assert (await access(rules, model="other")).reason == "access.default"
    refused = await access(rules, max_output_tokens=200)
    assert (refused.action, refused.reason, refused.message) == (Action.DENY, "access.never", "too much")


async def test_a_rule_on_trial_says_so_and_does_not_hide_one_in_force() -> None:
    tried = await access(RULES.replace("MODE", "observe"), max_output_tokens=200)
    assert (tried.action, tried.rule_mode) == (Action.DENY, Mode.OBSERVE)
    later = RULES.replace("MODE", "observe") + (
        '    - {id: really, effect: forbid, when: "request.max_output_tokens > 100", message: no}\n'
    )
    assert (await access(later, max_output_tokens=200)).reason == "access.really"


async def test_a_condition_without_an_answer_denies() -> None:
    text = (
        "access: {rules: [{id: odd, effect: forbid, when: \"principal.attributes['x'] == 'y'\", message: m}]}"
    )
    assert (await access(text)).reason == "access.odd"


async def test_access_asks_for_findings_only_if_a_rule_reads_them() -> None:
    unread, read = Findings(), Findings()
    await access(RULES.replace("MODE", "enforce"), unread)
    text = "access: {rules: [{id: f, effect: forbid, when: 'findings.size() > 0', message: m}]}"
    await access(text, read)
    assert (unread.asked, read.asked) == (0, 1)


TEXT = f"my key is SECRETVALUE and my mail {MAIL} twice {MAIL}"


async def test_a_secret_is_refused_with_its_kind_and_never_its_value() -> None:
    desk = Desk(Findings([finding(TEXT, "SECRETVALUE", Kind.SECRET, "API_KEY")]))
    decision = await SecretsStage().decide(exchange(segment(TEXT)), policy().secrets, desk.ports())
    assert decision.action is Action.DENY
    assert "API_KEY" in decision.message
    assert "SECRETVALUE" not in repr(decision)


async def test_a_secret_can_be_masked_but_not_in_a_header() -> None:
    section = policy("secrets: {action: mask}").secrets
    desk = Desk(Findings([finding(TEXT, "SECRETVALUE", Kind.SECRET, "API_KEY")]))
    decision = await SecretsStage().decide(exchange(segment(TEXT)), section, desk.ports())
    assert decision.action is Action.MODIFY
    (edit,) = decision.edits
    assert desk.ports().vault.original(edit.replacement) == "SECRETVALUE"  # type: ignore[attr-defined]
    at = HEADER + "0"
    desk = Desk(Findings([finding(TEXT, "SECRETVALUE", Kind.SECRET, "API_KEY", at=at)]))
    decision = await SecretsStage().decide(exchange(segment(TEXT, at)), section, desk.ports())
    assert decision.action is Action.DENY


async def test_secrets_below_the_severity_are_recorded_only() -> None:
    desk = Desk(Findings([finding(TEXT, "SECRETVALUE", Kind.SECRET, "X", severity=Severity.LOW)]))
    decision = await SecretsStage().decide(exchange(segment(TEXT)), policy().secrets, desk.ports())
    assert decision.action is Action.ALLOW
    assert len(decision.findings) == 1


async def test_an_exclusion_ends_on_its_day_and_may_ask() -> None:
    found = Findings([finding(TEXT, "SECRETVALUE", Kind.SECRET, "X", rule="secrets.test.x")])

    async def decide(extra: str) -> Action:
        section = policy(f"secrets: {{exclusions: [{{rule: secrets.test.*, why: w, {extra}}}]}}").secrets
        return (await SecretsStage().decide(exchange(segment(TEXT)), section, Desk(found).ports())).action

    assert await decide("until: 2026-11-21") is Action.ALLOW
    assert await decide("until: 2026-11-20") is Action.DENY
    assert await decide("when: \"request.model == 'gpt-5'\"") is Action.ALLOW
    assert await decide("when: \"request.model == 'other'\"") is Action.DENY
    assert await decide("when: \"principal.attributes['nothing'] == 'x'\"") is Action.DENY


async def masked(section: str, at: str = "/messages/0/content", entity: str = "EMAIL_ADDRESS") -> Decision:
    desk = Desk(Findings([finding(TEXT, MAIL, entity=entity, at=at)]))
    return await MaskingStage().decide(exchange(segment(TEXT, at)), policy(section).masking, desk.ports())


@pytest.mark.parametrize(
    ("operator", "action", "shape"),
    [
        ("placeholder", Action.MODIFY, "<EMAIL_ADDRESS_"),
        ("redact", Action.MODIFY, "[EMAIL_ADDRESS]"),
        ("hash", Action.MODIFY, "<EMAIL_ADDRESS_HASH_"),
        ("deny", Action.DENY, ""),
        ("allow", Action.ALLOW, ""),
    ],
)
async def test_each_operator_does_its_own(operator: str, action: Action, shape: str) -> None:
    decision = await masked(f"masking: {{entities: {{EMAIL_ADDRESS: {operator}}}}}")
    assert decision.action is action
    assert all(e.replacement.startswith(shape) for e in decision.edits)
    assert MAIL not in repr(decision)


async def test_what_cannot_be_edited_is_refused_but_an_address_in_a_header_is_ordinary() -> None:
    assert (await masked("", HEADER + "0")).reason == "masking.unmaskable"
    assert (await masked("", HEADER + "0", "IP_ADDRESS")).action is Action.ALLOW
    assert (await masked("", entity="IP_ADDRESS")).action is Action.MODIFY


async def test_unsure_findings_are_left_alone() -> None:
    desk = Desk(Findings([finding(TEXT, MAIL, score=0.3)]))
    decision = await MaskingStage().decide(exchange(segment(TEXT)), policy().masking, desk.ports())
    assert decision.action is Action.ALLOW


async def test_reasoning_the_provider_wrote_goes_back_as_it_was_and_forged_reasoning_does_not() -> None:
    desk = Desk(Findings([finding(TEXT, MAIL)]))
    asked = exchange(segment(TEXT, surface=Surface.REASONING))
    stage, section = MaskingStage(), policy().masking
    assert (await stage.decide(asked, section, desk.ports())).action is Action.MODIFY
    desk.vault.scope("t", "p", "c1").remember_answer(TEXT)
    assert (await stage.decide(asked, section, desk.ports())).action is Action.ALLOW


async def test_injection_scores_add_up_per_segment_on_the_surfaces_that_count() -> None:
    text, other = "do this now", "/messages/1/content"
    halves = [finding(text, w, Kind.INJECTION, "X", score=0.5) for w in ("do", "now")]
    apart = [halves[0], finding(text, "now", Kind.INJECTION, "X", score=0.5, at=other)]
    stage, section = InjectionStage(), policy().injection

    async def action(found: list[object], surface: Surface = Surface.USER) -> Action:
        asked = exchange(segment(text, surface=surface), segment(text, other))
        return (await stage.decide(asked, section, Desk(Findings(found)).ports())).action  # type: ignore[arg-type]

    assert await action([*halves]) is Action.DENY
    assert await action([*apart]) is Action.ALLOW
    assert await action([*halves], Surface.SYSTEM) is Action.ALLOW


async def test_the_same_input_gives_the_same_decision() -> None:
    found = Findings([finding(TEXT, MAIL), finding(TEXT, "SECRETVALUE", Kind.SECRET, "K")])
    for stage, section in (
        (SecretsStage(), policy("secrets: {action: mask}").secrets),
        (MaskingStage(), policy().masking),
        (InjectionStage(), policy().injection),
        (AccessStage(), policy().access),
        (IdentityStage(), policy().identity),
    ):
        decide = stage.decide  # type: ignore[attr-defined]
        first = await decide(exchange(segment(TEXT)), section, Desk(found).ports())
        assert first == await decide(exchange(segment(TEXT)), section, Desk(found).ports())
