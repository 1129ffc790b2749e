"""The detector that a policy asks for: the same in `sallyport run` and in `sallyport scan`. No proxy is imported."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from sallyport.data import policies_dir, rules_dir
from sallyport.decision import Kind, Mode
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.linear import SyntaxUnknown
from sallyport.detect.ner.service import NerSettings
from sallyport.detect.packs import Packs
from sallyport.detect.watching.rulefile import load_output
from sallyport.detect.watching.typed import Scanner
from sallyport.errors import OperatorError
from sallyport.policy.load import PRESETS, load_policy, load_preset
from sallyport.policy.problems import choices
from sallyport.policy.sections import Policy
from sallyport.policy.source import At, read_source
from sallyport.stages.followers import AnswerRules


def read_policy(name: str, mode: Mode | None = None) -> Policy:
    """Load a policy by preset name or path; a file of the name of a preset wins. Raises OperatorError."""
    if name in PRESETS and not Path(name).exists():
        return load_preset(name, mode=mode)
    if not os.path.lexists(name) and not Path(name).suffix and Path(name).name == name:
        todo = f"Name a policy file, or use {choices(PRESETS)}"
        raise OperatorError(name or "policy", "there is no file and no preset of this name", todo)
    return load_policy(Path(name), mode=mode)


def places_of(name: str) -> Callable[[At], str]:
    """Return what gives file:line:column of a key of that policy; reads the file when it is first asked."""
    path = policies_dir() / f"{name}.yaml" if name in PRESETS and not Path(name).exists() else Path(name)
    source = cache(lambda: read_source(path, name))
    return lambda at: source().where(at)


def detection_settings(policy: Policy) -> DetectionSettings:
    """Return what a policy says about detection."""
    return DetectionSettings(
        paranoia_secrets=policy.detection.paranoia,
        paranoia_injection=policy.injection.paranoia,
        injection_false_alarms=policy.injection.max_false_alarms,
        injection_second_opinion=policy.injection.second_opinion,
        min_score=min(policy.masking.min_score, 0.5),
        deadline_s=policy.detection.deadline_s,
        cpu_s=policy.detection.cpu_s,
        max_chars=policy.detection.max_text_bytes,
        recognisers=policy.recogniser_files,
    )


def ner_settings(policy: Policy) -> NerSettings | None:
    """Return what a policy says about names and places; None where they are not looked for."""
    ner = policy.detection.ner
    if not ner.is_on:
        return None
    folder = policy.ner_folder
    engine = ner.engine if folder is None else f"{ner.engine.partition(':')[0]}:{folder.resolve()}"
    return NerSettings(
        engine=engine,
        entities=frozenset(ner.entities),
        min_score=ner.min_score,
        workers=ner.workers,
        deadline_s=min(ner.deadline_s, policy.detection.deadline_s),
        surfaces=frozenset(ner.surfaces),
        max_queue_chars=ner.max_queue_chars,
    )


def make_detector(policy: Policy, packs: Packs | None = None) -> Detector:
    """Build the detector a policy asks for; it is warm when returned. packs: None reads what is shipped."""
    detector = Detector(detection_settings(policy), packs)
    detector.warm()
    return detector


def answer_settings(policy: Policy) -> DetectionSettings:
    """Return what a policy says about detection in answers.

    Injection in an answer commands nobody, and the same text is seldom seen twice: no classifier, no cache.
    """
    scores = [own.output.min_score for own in (policy, *policy.of_tenants.values())]
    return replace(
        detection_settings(policy),
        kinds=frozenset({Kind.PII, Kind.SECRET}),
        min_score=min(0.5, *scores),
        injection_false_alarms=None,
        injection_second_opinion=False,
        cache_entries=0,
    )


def make_answer_rules(policy: Policy, packs: Packs) -> AnswerRules:
    """Build what answers are looked at with. Raises OperatorError."""
    detector = Detector(answer_settings(policy), packs)
    detector.warm()
    return answer_rules(policy, detector)


def answer_rules(policy: Policy, scanner: Scanner) -> AnswerRules:
    """Return what answers are looked at with. scanner: finds values as answer_settings say. Raises OperatorError."""
    rules = AnswerRules(scanner, load_output(rules_dir()).rules)
    for own in (policy, *policy.of_tenants.values()):
        try:
            rules.check(own.output)
            rules.warm(own.output, own.transport.hold_chars)
        except SyntaxUnknown as error:
            todo = "Write it without look-around and back references: RE2 has neither"
            raise OperatorError(
                "output.tools.arguments", f"a pattern cannot be read: {error}", todo
            ) from None
    return rules
