"""Passwords of letters alone in places that say that one stands there: any word counts, but what stands for one."""

import pytest

from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.exchange import Segment, Surface

PLACES = [
    "tacacs-server host 192.0.2.3 key {}",
    "edge(config)# ip ftp password {}",
    " ntp authentication-key 7 md5 {}",
    "snmp-server community {} RW",
    "rwcommunity {} 192.0.2.0/24",
    " neighbor 192.0.2.9 password {}",
    "snmpwalk -v2c -c {} 192.0.2.4 system",
    'createUser monitor SHA "{}"',
    "/msg NickServ IDENTIFY {}",
    'ALTER USER app IDENTIFIED BY "{}";',
    'gh secret set SMTP_PASSWORD --body "{}"',
    "fly secrets set SECRET_KEY={}",
    "netsh wlan set profileparameter name=Home keyMaterial={}",
    '<wsse:Password Type="PasswordText">{}</wsse:Password>',
    "Guest wifi: Kiebitz / {}",
    "WLAN-Schlüssel: {}",
    "here you go, admin:{}",
    "пароль от вайфая {}",
    "密码：{}",
    "비밀번호: {}",
    "mật khẩu: {}",
    "d-i passwd/root-password password {}",
    '"vpn_psk": {{"value": "{}", "sensitive": true}}',
]

CHOSEN = ["tulpenzwiebel", "TulpenZwiebel", "tulpen-zwiebel-nest", "kHbWqXjRzP", "Zizituk"]
STANDING_FOR_ONE = [
    "required",
    "password",
    "changeme",
    "string",
    "default",
    "$PASSWORD",
    "<password>",
    "encrypted",
]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(DetectionSettings(kinds=frozenset({Kind.SECRET}), cache_entries=0))


@pytest.mark.parametrize("place", PLACES)
def test_a_chosen_word_is_found_where_only_a_password_stands(detector: Detector, place: str) -> None:
    missed = []
    for word in CHOSEN:
        text = place.format(word)
        found = detector.scan([Segment("/t", Surface.USER, text)])
        if not any(word in text[finding.start : finding.end] for finding in found):
            missed.append(word)
    assert missed == []


@pytest.mark.parametrize("place", PLACES)
def test_what_stands_for_a_password_is_none_there(detector: Detector, place: str) -> None:
    texts = [place.format(word) for word in STANDING_FOR_ONE]
    found = [finding.rule for text in texts for finding in detector.scan([Segment("/t", Surface.USER, text)])]
    assert [rule for rule in found if rule.startswith("secrets.placed.")] == []
