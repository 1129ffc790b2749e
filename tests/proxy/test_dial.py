"""Which resolved addresses may be reached: never this machine or a cloud's metadata, however they are spelt."""

import ipaddress

import pytest

from sallyport.proxy.dial import is_public, never_reachable

NEVER = [
    "127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "240.0.0.1", "100.100.100.200", "192.0.0.192",
    "::1", "fe80::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1", "2002:7f00:1::1", "2002:a9fe:a9fe::1",
]  # fmt: skip
INSIDE = ["10.0.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "fec0::1", "64:ff9b::a00:1", "2002:a00:1::1"]
OUTSIDE = ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822", "::ffff:93.184.216.34"]


@pytest.mark.parametrize("address", NEVER)
def test_no_name_leads_to_this_machine_or_to_metadata(address: str) -> None:
    assert never_reachable(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", INSIDE)
def test_an_inner_address_is_for_providers_alone(address: str) -> None:
    ip = ipaddress.ip_address(address)
    assert not never_reachable(ip)
    assert not is_public(ip)


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_of_the_internet_may_be_reached(address: str) -> None:
    ip = ipaddress.ip_address(address)
    assert not never_reachable(ip)
    assert is_public(ip)
