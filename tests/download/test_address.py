import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_images.download.address import Refusal, checked_addresses, is_public

FORBIDDEN = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",  # carrier-grade NAT
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",  # metadata services of clouds
    "172.16.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "192.88.99.1",  # relays of 6to4
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a00:1::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%2",
    "fec0::1",
    "ff02::1",
    "3fff::1",  # documentation
    "4000::1",
]
PUBLIC = [
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("text", FORBIDDEN)
def test_addresses_of_ours_and_of_nobody_are_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_addresses_of_the_internet_are_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_judged_alike_in_every_dress(number: int) -> None:
    plain = IPv4Address(number)
    assert is_public(IPv6Address((0xFFFF << 32) | number)) == is_public(plain)
    assert is_public(IPv6Address((0x64FF9B << 96) | number)) == is_public(plain)
    if not is_public(plain):
        assert not is_public(IPv6Address((0x2002 << 112) | (number << 80)))


@given(st.integers(0, 2**128 - 1))
def test_a_public_ipv6_address_is_global_unicast_or_holds_a_public_ipv4(number: int) -> None:
    address = IPv6Address(number)
    if is_public(address):
        assert number >> 125 == 1 or number >> 32 in (0xFFFF, 0x64FF9B << 64)


def answering(*addresses: str):
    def resolve(host: str, port: int, family: int, kind: int) -> list:
        return [(socket.AF_INET6 if ":" in text else socket.AF_INET, kind, 6, "", (text, port)) for text in addresses]

    return resolve


def outcome_of(resolve, allow_private: bool = False) -> str:
    with pytest.raises(Refusal) as caught:
        checked_addresses("photos.test", 80, resolve, allow_private)
    return caught.value.outcome


def test_public_addresses_are_kept_in_the_resolvers_order() -> None:
    found = checked_addresses("photos.test", 80, answering("2606:4700::1111", "8.8.8.8"), False)
    assert found == [(socket.AF_INET6, ("2606:4700::1111", 80)), (socket.AF_INET, ("8.8.8.8", 80))]


def test_one_private_address_condemns_the_host() -> None:
    assert outcome_of(answering("8.8.8.8", "10.0.0.1")) == "address_refused"
    assert outcome_of(answering("8.8.8.8", "::1")) == "address_refused"


def test_private_addresses_pass_where_they_are_allowed() -> None:
    assert checked_addresses("photos.test", 80, answering("10.0.0.1"), True) == [(socket.AF_INET, ("10.0.0.1", 80))]


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "::1", "localhost"])
def test_every_spelling_of_loopback_is_seen_through(host: str) -> None:
    with pytest.raises(Refusal) as caught:
        checked_addresses(host, 80, socket.getaddrinfo, False)
    assert caught.value.outcome in ("address_refused", "dns_error")  # some resolvers know no odd spellings


def test_names_without_an_address_are_dns_errors() -> None:
    def failing(*args: object) -> list:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert outcome_of(failing) == "dns_error"
    assert outcome_of(answering(), allow_private=True) == "dns_error"


def test_a_name_that_cannot_exist_is_a_bad_url() -> None:
    with pytest.raises(Refusal) as caught:
        checked_addresses("a" * 70 + ".test", 80, socket.getaddrinfo, False)
    assert caught.value.outcome == "bad_url"
