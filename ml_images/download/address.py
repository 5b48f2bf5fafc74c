"""Which network addresses may be connected to: public ones, unless private ones are allowed.

Lists of URLs come from strangers. Without this rule a list could make our machines ask the cloud's metadata service, a
router or a database for "pictures". The rule is applied to resolved addresses, never to names, and the connection goes
to the very address that was checked (exchange.py), so that a name cannot change its mind in between.
"""

import ipaddress
import socket
from collections.abc import Callable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
# As socket.getaddrinfo: (host, port, family, type) -> [(family, type, protocol, canonical name, socket address)]
Resolve = Callable[..., list]

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # the only part of IPv6 that is handed out, RFC 4291
# Of no use to anybody, but newer than Python 3.11's own list: documentation (RFC 9637), 6to4's relays (RFC 7526).
_SET_APART = (ipaddress.ip_network("3fff::/20"), ipaddress.ip_network("192.88.99.0/24"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # IPv4 seen from networks that have IPv6 only, RFC 6052


class Refusal(Exception):
    """An attempt that ended before there was an answer; `outcome` is a name of ml_images.outcomes.

    No subclass of OSError on purpose: it has to pass through handlers of those as it is.
    """

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(f"{outcome}: {detail}")
        self.outcome = outcome


def is_public(address: IPAddress) -> bool:
    """Is the address one that anybody on the internet can reach? An IPv4 address inside an IPv6 one counts as well."""
    if any(address in network for network in _SET_APART):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(address.packed[-4:]))
    if address.sixtofour is not None and not is_public(address.sixtofour):
        return False
    return address in _GLOBAL_UNICAST and address.is_global


def checked_addresses(host: str, port: int, resolve: Resolve, allow_private: bool) -> list[tuple]:
    """The addresses of a host as (family, socket address), each of them allowed.

    One forbidden address condemns the host: its owner mixes them to slip through. Raises Refusal with bad_url,
    dns_error or address_refused.
    """
    try:
        found = resolve(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    except UnicodeError as error:  # an empty or overlong label, met by the idna codec
        raise Refusal("bad_url", f"{host}: {error}") from error
    except OSError as error:
        raise Refusal("dns_error", f"{host}: {error}") from error
    addresses = [(family, where) for family, _, _, _, where in found if family in (socket.AF_INET, socket.AF_INET6)]
    if not addresses:
        raise Refusal("dns_error", f"{host}: no address")
    for _, where in addresses:
        check_address(host, where[0], allow_private)
    return addresses


def check_address(host: str, address: str, allow_private: bool) -> None:
    """Raises Refusal, address_refused, where `host` must not be talked to at this address."""
    if not allow_private and not is_public(ipaddress.ip_address(address)):
        raise Refusal("address_refused", f"{host} is {address}, which is not public")
