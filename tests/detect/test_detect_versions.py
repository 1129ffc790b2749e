"""Versions of four numbers look like addresses of machines: these are found, those are not."""

import pytest

from detect.scanning import findings
from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector

ADDRESSES = [
    "rolled back to the old config, server 88.14.120.77 answers again",
    "Accepted publickey for root from 84.17.52.119 port 22",
    "upstream api { server 93.184.21.34:8080; }",
    "user upgraded from 84.17.52.119",
    "edit reverted from 84.17.52.119",
    "We moved the resolver from 80.12.55.3 to 80.12.55.9 last night",
    "Released the build 4.1.2 to 84.17.52.119",
    "Release notes were read by 84.17.52.119 (2026-03-02)",
    "name=84.17.52.119\nrole=edge",
    "targets=84.17.52.119-120",
    "docker run -e DB_HOST:84.17.52.119 api",
    "upgrade the client at 84.17.52.119 and 84.17.52.120",
    "rev shell to 45.83.12.90 suspected",
    "fw=84.17.52.119",
    "edge 84.17.52.119",
    "dispatch 84.17.52.119",
    "Printer 84.17.52.119 is out of paper",
    "deployed on 84.17.52.119, then rolled back",
    "Lease 84.17.52.119 was released at 10:00",
    "We reverted prod to 84.17.52.119",
    "docker swarm: manager:84.17.52.119, worker web",
    "image from camera:84.17.52.119",
    "pool=84.17.52.1-9",
    "nginx 84.17.52.119 timed out, client web",
    "jenkins 3.120.44.7 answers, host build1",
    "nginx 10.4.2.3, client 84.17.52.119",
    "app server 12.19.22.7 is a host",
    'ADRESSE = "10.8.0.14"',
    'indirizzo: "10.8.0.14"',
    'servidor = "10.8.0.14"',
    "hôte : 10.8.0.14",
]
VERSIONS = [
    "the app crashed, downgraded to 8.2.41.7 and all is well",
    "We upgraded from 6.0.3.12 to 6.1.0.44 on Friday",
    "Compare versions 9.10.28.250 and 6.15.9.177",
    "docker pull redis:11.7.5.61",
    "Our changelog says 1.4.8.62 (2022-10-03), 1.4.8.71 (2022-11-02)",
    '{"releases":[{"tagName":"12.4.6.91"}]}',
    'expect(semver("8.5.8.41")).toBeTruthy()',
    "<rev>10.11.36.182</rev>",
    '{"mac":"3C:44:7D:3E:90:62","ip":"::1","fw":"14.16.87.209"}',
    "at x.Y(Y.java:1) [core-3.1.4.12.jar:5.2.1.88]",
    "caddy 2.7.13.1: upstream timed out, client: web, server: shop",
    "peer web (OpenVPN 2.6.8.1), host up",
    "server runs Apache 2.4.58.1",
]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(DetectionSettings(kinds=frozenset({Kind.PII}), cache_entries=0))


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_found_whatever_stands_around_it(detector: Detector, text: str) -> None:
    assert "IP_ADDRESS" in {f.entity for f in findings(detector, text)}


@pytest.mark.parametrize("text", VERSIONS)
def test_a_version_is_no_address(detector: Detector, text: str) -> None:
    assert "IP_ADDRESS" not in {f.entity for f in findings(detector, text)}


@pytest.mark.parametrize("named", ["build=", "ver=", "version=", "app_version=", '"app_version": "'])
def test_a_version_beside_an_address_is_no_second_one(detector: Detector, named: str) -> None:
    text = f"login ok ip=35.84.127.104 {named}2.1.12.1 took=325ms"
    found = [text[f.start : f.end] for f in findings(detector, text) if f.entity == "IP_ADDRESS"]
    assert found == ["35.84.127.104"]
