"""Which network addresses an untrusted URL may not reach. Pure: whoever connects asks for each resolved address."""

import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254")
)
"""Where clouds answer with credentials: AWS (also ECS and IPv6), GCP, Azure, Alibaba, Oracle."""

_SHARED = ipaddress.IPv4Network("100.64.0.0/10")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")


def refused_address(address: Address | str) -> str | None:
    """Why an untrusted URL may not reach `address`, as one word for a message; None when it may.

    An IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64) is judged as itself. Raises ValueError on a text
    that is no address.
    """
    ip = ipaddress.ip_address(address) if isinstance(address, str) else address
    if ip in _METADATA:
        return "metadata"
    if ip.version == 6:
        embedded = _embedded(ip)
        if embedded is not None:
            return refused_address(embedded)
    return _kind(ip)


def literal_address(host: str) -> Address | None:
    """The address that `host` spells in any form a resolver takes (dotted, octal, hex, a number); None for a name."""
    text = host.removeprefix("[").removesuffix("]")
    if ":" in text:
        try:
            return ipaddress.IPv6Address(text)
        except ValueError:
            return None
    text = text.removesuffix(".")
    if not text or not text.isascii() or any(character.isspace() for character in text):
        return None
    try:
        # Not ipaddress.ip_address: inet_aton knows 0x7f.1, 0177.0.0.1 and 2130706433, as every resolver does.
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except OSError:
        return None


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def _kind(ip: Address) -> str | None:
    if ip.is_unspecified:
        return "unspecified"
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast:
        return "multicast"
    # The 100.64/10 of carrier-grade NAT is neither private nor global to ipaddress.
    if ip.is_private or ip in _SHARED or ip in _NAT64_LOCAL or (ip.version == 6 and ip.is_site_local):
        return "private"
    return "reserved" if ip.is_reserved else None
