"""Own bounded recognisers for the types on which Presidio is slow, logs what it met, or misses variants.

Each takes a folded text and a candidate span and yields (start, end, weight): weight 1 is as good as the
rule's score, less says that context is needed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from sallyport.detect import linear
from sallyport.detect.checksums import iban as iban_checksum

if TYPE_CHECKING:
    import tldextract

type Candidates = Iterator[tuple[int, int, float]]

_DIGITS = re.compile(r"\d+")
IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "NO15 BE16 DK18 FI18 FO18 GL18 NL18 SD18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 XK20 CH21 "
        "HR21 LI21 LV21 BG22 BH22 CR22 DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 OM23 TL23 "
        "AD24 CZ24 ES24 MD24 PK24 RO24 SA24 SE24 SK24 TN24 VG24 LY25 PT25 ST25 IS26 TR26 FR27 GR27 "
        "IT27 MC27 MR27 SM27 AL28 AZ28 BY28 CY28 DO28 GT28 HU28 LB28 PL28 SV28 BR29 EG29 PS29 QA29 "
        "UA29 JO30 KW30 MU30 MT31 SC31 LC32",
    )
}
_IBAN_BEGINS = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=[Ii][Bb][Aa][Nn]))[A-Za-z]{2}[ -]?[0-9]{2}(?=[ .-]?[A-Za-z0-9])"
)
_IBAN_RUN = re.compile(r"[A-Za-z]{2}[ -]?[0-9]{2}(?:[ .-]?[A-Za-z0-9]){11,28}")
_NO_MAILBOX = frozenset(".!#$%&'*+/=?^_{|}~-")
_RUN_ON = re.compile(
    "[A-Za-z]{2,}(?=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3])"
)
"""The last label of a domain where a script that writes no space behind it goes on: Thai, Chinese, Korean."""
_EXPIRY = re.compile(r"(?:0[1-9]|1[0-2])[23]\d|20[23]\d")
_DOUBLED = bytes.maketrans(b"0123456789", bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))
_BY_WORDS = 0.3
"""Weight of a card number that is one only where words say so: below every preset's score without them."""

_NO_STREET = re.compile(
    r"(?:(?:Die|Der|Das|Den|Dem|In|Nach|Wohnung|Haus|Adresse|Objekt|Praxis|Filiale|Anschrift"
    r"|[A-Z]\w{0,20}anschrift|[A-Z]\w{0,20}adresse|Address|Adres|Adress)\s)*"
)
"""Capital words that German sentences put before a street."""

_COUNTRY = re.compile(
    r"(?:, ?(?:Tamil Nadu|Karnataka|Maharashtra|Kerala|Gujarat|Telangana|West Bengal|Haryana|Punjab|Rajasthan|Odisha"
    r"|(?:Uttar|Andhra|Madhya|Himachal) Pradesh)\b)?"
    r"(?:, ?(?:(?:Northern )?Ireland|Eire|U\.?K\b\.?|United Kingdom|Great Britain|England|Scotland|Wales"
    r"|U\.?S\.?A\b\.?|US|United States(?: of America)?|Canada|Australia|New Zealand|India|Singapore|South Africa"
    r"|Deutschland|Germany|Osterreich|Austria|Schweiz|Suisse|Svizzera|Switzerland|France|Belgi(?:que|e|um)|Luxemb(?:o?u)rg"
    r"|Espana|Spain|Itali[ae]|Italy|Portugal|Brasil|Brazil|Mexico|(?:the |The )?Netherlands|Nederland|Polska|Poland"
    r"|Sverige|Sweden|Danmark|Denmark|Norge|Norway|Suomi|Finland)(?!\w))?"
)
"""The state and the country behind an address of more than a street; or nothing."""

_SAME_SHAPE = re.compile(r"(?<!\d)\d{3}[- .]\d{2}[- .]\d{4}(?!\d)")
_ROW = 100
"""Characters either side of a social security number in which its like makes it a row of numbers."""

_VERSIONED = linear.pattern(
    r"roll|grad|bump|revert|fix|introduc|deprec|remov|added|regress|broken|version|release|build|change-?log|lib|plugin|patch"
    r"|updat|aktuali|aggiorna|actualiz|mise a jour|pdater|bijgewerkt|docker|podman|image|helm|oci|tag|=['\"]?$",
    case_sensitive=False,
)
"""One of these stands before a version, or fixes behind it; a cheap look, for most lines of a log have none."""

_VERSION_BEFORE = linear.pattern(
    r"\b(?:(?:roll(?:ed|ing)?(?: it)? ?back|down-?grad\w*|up-?grad\w*)(?: [\w./-]{1,24}){0,3}? to"
    r"|(?:updates?|up-?grades?|aktualisier\w*|aktualizac\w*|aggiorna\w*|actualizac\w*|mise a jour"
    r"|oppdater\w*|opdater\w*"
    r"|uppdater\w*|bijgewerkt) (?:auf(?: (?:die )?version)?|vers(?: la)?|alla?|naar|til|till|do)"
    r"|(?:fixed|introduced|deprecated|regress\w*|broken) (?:in|since|as of)) ['\"`v]{0,2}$"
    r"|\b(?:versions|releases|builds|change-?log)\b[^\n]{0,50}?\d\.\d[\w.+-]*['\"`)]{0,2},?"
    r" ?(?:,|and|und|et|or|vs\.?) ['\"`v]{0,2}$"
    r"|\b(?:versions?|up-?grad\w*|down-?grad\w*|bump\w*|roll(?:ed|ing)? ?back)\b[^\n]{0,50}?\d\.\d[\w.+-]*"
    r"['\"`)]{0,2} (?:to|through|until) ['\"`v]{0,2}$"
    r"|\bchange-?log(?: says)?:? $"
    r"|[ ,](?:lib|library|plugin|patch level|build) v?$"
    r"|\b(?:(?:docker|podman) (?:pull|push|tag|rmi)|image:|(?-i:FROM)) [\"']?(?-i:[a-z0-9][a-z0-9._/-]*):$"
    r"|^[ \t]{0,8}[\"']?tag[\"']?: {0,2}[\"']?$",
    case_sensitive=False,
)
"""What is written before a version number of four parts."""

_VERSION_AFTER = linear.pattern(
    r"^['\"`]? (?:fixes (?:the|an?|[A-Z]{2,8}-\d)|adds support|introduces|deprecates|ships with)\b",
    case_sensitive=False,
)
_CHANGED_FROM = linear.pattern(
    r"\b(?:down-?grad\w*|up-?grad\w*|bump\w*)(?: [\w./-]{1,24}){0,3}? from ['\"`v]{0,2}$",
    case_sensitive=False,
)
_CHANGED_TO = linear.pattern(r"^['\"`]{0,2} (?:straight |directly )?(?:to|->) ['\"`v]{0,2}\d")
_DATED = linear.pattern(r"^ \((?:(?:19|20)\d\d-\d\d-\d\d|\d{1,2}/\d{1,2}/(?:\d\d){1,2})\)")
_CHANGES = linear.pattern(
    r"(?:change-?log|versions?|releases?)\b[^\n\d]{0,12}(?:v?[\d.]{3,20} \([\d/-]{6,10}\),? (?:and )?){0,6}$",
    case_sensitive=False,
)
_NAMED = linear.pattern(r"\w=['\"]?$")
_PACKAGED = linear.pattern(
    r"^(?:-r\d|[-+~](?:[a-z][\w.]{0,12}|\d{1,2}[a-z][\w.~+]{0,16}))(?:[^\w.]|$)", case_sensitive=False
)
"""The revision behind a version of a package: nginx=6.5.5.93-r1. A bare number may end a range of addresses."""

_NETWORK = linear.pattern(
    r"(?:^|[^a-z])(?:ip(?:v4|s|_?addr\w*)?|(?:add-|extra_|web)?hosts?(?:name)?|\w*servers?|clients?|peers?|dns|ping\w*"
    r"|connect\w*|sshd?|ports?|addr\w*|gateway|gw|subnets?|net|network\w*|routes?d?|routers?|traffic|login|logged"
    r"|resolver?|firewall|vpn|proxy|upstream|remote|cidr|acl|ban|banned|block(?:ed|list)?|nodes?|vm|machine|records?|cname"
    r"|ptr|mx|www|domain|site|zone|ranges?|targets?|scope|websocket|session|endpoint|listen\w*|bind|https?|tcp|udp|src|dst"
    r"|from=|to=|lb|balancer|ingress|egress|cluster|vip|tunnel|[wl]an|interface|eth\d|attack\w*|scan\w*|requests?|packets?"
    r"|users?|visitor|agent ip|account|admin|moved?|moving|migrat\w*)(?:[^a-z]|$)",
    case_sensitive=False,
)
"""Words of a network, and of those who use it: beside them four numbers are an address, whatever stands before."""

_VERSION_NAMED = linear.pattern(
    r"(?:^|[^a-z])(?:version|ver|build(?:[ _-]?(?:no|nr|number|id|version))?|semver)['\"]?\s?[:=]\s?['\"]?v?$",
    case_sensitive=False,
)
"""What is called a version or a build: build=2.1.12.1. Words of a network elsewhere on the line are not about it."""

_PROGRAM = linear.pattern(
    r"(?:^|[^a-z./@-])(?:nginx|apache|httpd|tomcat|jetty|caddy|traefik|haproxy|varnish|squid|envoy|lighttpd|iis|gunicorn"
    r"|uwsgi|openvpn|wireguard|openssh|openssl|dropbear|postfix|exim|dovecot|bind9?|unbound|dnsmasq|mysql|mariadb|postgres"
    r"(?:ql)?|mongodb|redis|memcached|rabbitmq|kafka|zookeeper|elasticsearch|opensearch|kibana|logstash|grafana|prometheus"
    r"|sql server|exchange|sharepoint|jenkins|gitlab|nexus|jira|confluence|docker|containerd|kubernetes|k3s|helm|etcd"
    r"|consul|nomad|terraform|ansible|java|jdk|jre|node(?:\.js|js)?|npm|python|php|ruby|perl|golang|\.net|chrome"
    r"|chromium|firefox|safari|opera|android|ios|macos|windows|debian|ubuntu|putty|winscp|filezilla|wordpress"
    r"|drupal|moodle|software|sw|app|lib|dll|driver):? v?$",
    case_sensitive=False,
)
"""A program directly before four small numbers."""

_DOUBTED = 0.4
"""Weight of an address that is more likely a version number: only words make one of it."""

_SMALL_FIRST, _SMALL = 32, 64
"""Below these the numbers of an address, the first and all, are as small as those of versions mostly are."""

_OPEN_RESOLVERS = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "4.2.2.2"})


def card(text: str, start: int, end: int) -> Candidates:
    """Payment cards: issuer prefix, length and Luhn, wherever a run of numbers hides one.

    Grouped as cards are printed it stands alone; in any other grouping, among its like, or of a length
    and issuer that article numbers share, only words say that it is one.
    """
    groups = [(start + m.start(), start + m.end()) for m in _DIGITS.finditer(text[start:end])]
    digits = "".join(text[low:high] for low, high in groups)
    done, offset = start, 0
    for first, (low, high) in enumerate(groups):
        begin = offset
        offset += high - low
        if low < done or digits[begin] not in "123456" or _follows_point(text, low):
            continue
        for last, stop in _ends(groups, first, begin):
            weight = _issuer(digits[begin:stop])
            if weight and _is_luhn(digits[begin:stop]):
                printed = _printed(text, groups[first : last + 1])
                if not printed and (first > 0 or last < len(groups) - 1):
                    continue
                done = groups[last][1]
                sure = printed and (weight == 1.0 or (weight == 0.6 and last > first))
                yield low, done, weight if sure and _alone(text, groups, first, last) else _BY_WORDS
                break


def _is_luhn(number: str) -> bool:
    """Every second digit before the last one counts doubled, its own digits added up."""
    raw = number.encode("ascii")
    return (sum(raw[-1::-2]) - 48 * len(raw[-1::-2]) + sum(raw[-2::-2].translate(_DOUBLED))) % 10 == 0


def _ends(groups: Sequence[tuple[int, int]], first: int, begin: int) -> list[tuple[int, int]]:
    """Return (last group, digits up to its end) for lengths a card can have, longest first."""
    found, stop = [], begin
    for last in range(first, min(len(groups), first + 19)):
        stop += groups[last][1] - groups[last][0]
        if stop - begin > 19:
            break
        if stop - begin >= 12:
            found.append((last, stop))
    return found[::-1]


def _follows_point(text: str, start: int) -> bool:
    """Say whether digits stand behind a decimal point, or behind the comma of a number below one."""
    point = text[max(start - 1, 0) : start]
    if point == ".":
        return text[max(start - 2, 0) : start - 1].isdigit()
    return (
        point == ","
        and text[max(start - 2, 0) : start - 1] == "0"
        and text[max(start - 3, 0) : start - 2] in ("", " ", "\t", "\n", "(", ":", "=", ";")
    )


def _printed(text: str, groups: Sequence[tuple[int, int]]) -> bool:
    """One run, or fours, or the groups of American Express and Diners, parted by one separator."""
    sizes = [b - a for a, b in groups]
    parted = {text[a:b] for (_, a), (b, _) in pairwise(groups)}
    fours = set(sizes[:-1]) == {4} and sizes[-1] <= 4
    return len(sizes) == 1 or (len(parted) == 1 and (fours or sizes in ([4, 6, 5], [4, 6, 4])))


def _alone(text: str, groups: Sequence[tuple[int, int]], first: int, last: int) -> bool:
    """Say whether a card's fours are no piece of a row of fours, unless of cards; when it expires may follow."""
    if any(high - low != 4 for low, high in groups[first : last + 1]):
        return True
    before = groups[max(first - 1, 0) : first]
    after = groups[last + 1 : last + 3]
    if after and _EXPIRY.fullmatch(text, *after[0]):
        after = after[1:]
    return all(high - low != 4 for low, high in [*before, *after[:1]]) or _are_cards(text, groups)


def _are_cards(text: str, groups: Sequence[tuple[int, int]]) -> bool:
    """Say whether numbers are cards, one after the other, and nothing else."""
    if len(groups) % 4 or any(high - low != 4 for low, high in groups):
        return False
    rows = (groups[at : at + 4] for at in range(0, len(groups), 4))
    numbers = ["".join(text[low:high] for low, high in row) for row in rows]
    return all(_issuer(number) == 1.0 and _is_luhn(number) for number in numbers)


def _issuer(number: str) -> float:
    length, two, four = len(number), int(number[:2]), int(number[:4])
    if number[0] == "4":
        return {16: 1.0, 19: 0.6, 13: 0.5}.get(length, 0.0)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return 1.0 if length == 16 else 0.0
    if length == 15 and four in (2131, 1800):
        return 0.6
    if two in (34, 37):
        return 1.0 if length == 15 else 0.0
    if four == 6011 or two == 65 or 6440 <= four <= 6499 or 3528 <= four <= 3589 or two == 62:
        return 1.0 if length == 16 else 0.5 if two == 62 and 17 <= length <= 19 else 0.0
    if 2200 <= four <= 2204:
        return 0.6 if length == 16 else 0.0
    if two in (36, 38, 39) or 3000 <= four <= 3059:
        return 0.6 if length == 14 else 0.0
    if two in (50, 56, 57, 58, 63, 67):
        return 0.5
    return 0.0


def iban(text: str, start: int, end: int) -> Candidates:
    """IBANs: the length their country has, then the remainder modulo 97; what follows is left alone.

    A candidate is a run of words and numbers, of which an IBAN may be any part, or only begin in it: "order
    SO81971989 on IBAN DE04 ..." begins with two letters and two digits that are none.
    """
    while start < end:
        stop = _iban_end(text, start)
        if stop is not None:
            yield start, stop, 1.0
        found = _IBAN_BEGINS.search(text, stop or start + 1, end)
        if found is None:
            return
        start = found.start()


def _iban_end(text: str, start: int) -> int | None:
    """Return where an IBAN ends that begins at a place; None where none begins."""
    length = IBAN_LENGTHS.get(text[start : start + 2].upper())
    run = _IBAN_RUN.match(text, start)
    if length is None or run is None:
        return None
    seen = 0
    for index in range(start, run.end()):
        seen += text[index].isalnum()
        if seen == length:
            value = text[start : index + 1]
            one_case = value in (value.upper(), value.lower()) or value[2:].upper() == value[2:]
            right = one_case and iban_checksum(value) and not text[index + 1 : index + 2].isalnum()
            return index + 1 if right else None
    return None


def ssn(text: str, start: int, end: int) -> Candidates:
    """US social security numbers: issued areas only, and not the ones printed in wallets."""
    digits = "".join(_DIGITS.findall(text[start:end]))
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if len(digits) != 9 or area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000":
        return
    if len(set(digits)) == 1 or digits == "078051120":
        return
    if end - start == 11 and text[start + 3] != text[start + 6]:
        return
    row = _SAME_SHAPE.search(text, max(0, start - _ROW), start) or _SAME_SHAPE.search(text, end, end + _ROW)
    yield start, end, 1.0 if end - start == 11 and not row else 0.3


def ip(text: str, start: int, end: int) -> Candidates:
    """Addresses that belong to somebody: not loopback, masks, version numbers or scope operators."""
    value = text[start:end].split("/")[0].rstrip(".")
    if value.endswith(":") and not value.endswith("::"):
        value = value[:-1]
    stop = start + len(value)
    weight = _ipv6(value) if ":" in value else _ipv4(value, is_network=stop < end)
    if weight and ":" not in value and _is_called_version(text[max(0, start - 40) : start], value):
        return
    if weight and ":" not in value and _is_version(text, start, stop):
        weight = min(weight, _DOUBTED)
    if weight:
        yield start, stop, weight


def _is_called_version(before: str, value: str) -> bool:
    """Say whether four numbers have the name of a version, or a program's before small ones; no private address has."""
    octets = [int(part) for part in value.split(".")]
    if _is_private(octets):
        return False
    small = octets[0] < _SMALL_FIRST and max(octets) < _SMALL
    return _VERSION_NAMED.search(before) is not None or (small and _PROGRAM.search(before) is not None)


def _is_private(octets: Sequence[int]) -> bool:
    first, second, third, _ = octets
    return (
        first == 10
        or (first == 172 and 16 <= second < 32)
        or (first == 192 and (second == 168 or second == third == 0))
    )


def _is_version(text: str, start: int, stop: int) -> bool:
    """Say whether four numbers stand where a version does, and no word of a network on their line."""
    line = text[max(0, start - 80, text.rfind("\n", max(0, start - 80), start) + 1) : start]
    after = text[stop : stop + 40].split("\n", 1)[0]
    if _VERSIONED.search(line) is None and _VERSION_AFTER.search(after) is None:
        return False
    told = (
        _VERSION_BEFORE.search(line) is not None
        or _VERSION_AFTER.search(after) is not None
        or (_CHANGED_TO.search(after) is not None and _CHANGED_FROM.search(line) is not None)
        or (_DATED.search(after) is not None and _CHANGES.search(line) is not None)
        or (_NAMED.search(line) is not None and _PACKAGED.search(after) is not None)
    )
    return told and _NETWORK.search(f"{line} ¤ {after}") is None


def _ipv4(value: str, *, is_network: bool) -> float:
    """Return the weight of dotted decimal; by hand, for ipaddress takes ten times as long."""
    parts = value.split(".")
    if len(parts) != 4 or any(not p.isdecimal() or len(p) > 3 or (p[0] == "0" and len(p) > 1) for p in parts):
        return 0.0
    first, second, _, last = octets = [int(p) for p in parts]
    if max(octets) > 255 or first in (0, 127) or first >= 224 or (first, second) == (169, 254):
        return 0.0
    if value in _OPEN_RESOLVERS:
        return 0.0
    if max(octets) < 32 or (last == 0 and is_network):
        return 0.3
    return 0.75 if _is_private(octets) else 1.0


def _ipv6(value: str) -> float:
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return 0.0
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        return 0.0
    return 1.0 if value.count(":") >= 3 and sum(c.isdigit() for c in value) >= 3 else 0.0


@lru_cache(maxsize=1)
def _suffixes() -> tldextract.TLDExtract:
    """The bundled public suffix list; never the network (the default extractor downloads at first use)."""
    import tldextract

    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    extract("load.example.com")
    return extract


def email(text: str, start: int, end: int) -> Candidates:
    """Mailboxes below a public suffix; a sentence that goes on without a space is cut off."""
    at = text.rindex("@", start, end)
    low = max(start, at - 64)
    low = max(low, *(text.rfind(mark, start, at) + 1 for mark in "=&?/|"))
    while low < at and text[low] in _NO_MAILBOX:
        low += 1
    labels = text[at + 1 : end].rstrip("-").split(".")
    if (run_on := _RUN_ON.match(labels[-1])) is not None:
        labels[-1] = run_on.group()
    while low < at and len(labels) > 1:
        domain = ".".join(labels).lower()
        if len(domain) <= 253 and _suffixes()(domain).top_domain_under_public_suffix:
            yield low, at + 1 + len(domain), 1.0
            return
        labels.pop()


def url(text: str, start: int, end: int) -> Candidates:
    """Web addresses without the punctuation of the sentence around them; a bracket stays if it was opened."""
    while end > start and (
        text[end - 1] in ".,;:!?*_~"
        or (text[end - 1] == ")" and text.count("(", start, end) < text.count(")", start, end))
    ):
        end -= 1
    if "." in text[start:end] or "://localhost" in text[start:end]:
        yield start, end, 1.0


def address(text: str, start: int, end: int) -> Candidates:
    """Postal addresses; a capital word after the comma is no town where the sentence goes on from it."""
    lead = _NO_STREET.match(text[start:end])
    start += lead.end() if lead is not None else 0
    comma = text.rfind(",", start, end)
    tail = text[comma + 1 : end] if comma > start else ""
    goes_on = re.match(r"'?\w| [a-z]|=", text[end : end + 2]) is not None
    has_street = any(c.isalpha() for c in text[start:comma])
    if tail.strip() and has_street and not any(c.isdigit() for c in tail) and goes_on:
        end = comma
    elif comma > start and (country := _COUNTRY.match(text, end)) is not None:
        end = country.end()
    yield start, end, 1.0
