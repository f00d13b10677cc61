"""Which addresses are refused, in every spelling that a resolver understands."""

import pytest

from migrator.core.addresses import literal_address, refused_address


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", "loopback"),
        ("127.1", "loopback"),
        ("0177.0.0.1", "loopback"),
        ("0x7f.0.0.1", "loopback"),
        ("0x7f000001", "loopback"),
        ("2130706433", "loopback"),
        ("127.0.0.1.", "loopback"),
        ("0", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("169.254.0.7", "link-local"),
        ("169.254.169.254", "metadata"),
        ("0xA9FEA9FE", "metadata"),
        ("168.63.129.16", "metadata"),
        ("[fd00:ec2::254]", "metadata"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "private"),
        ("[::1]", "loopback"),
        ("::1", "loopback"),
        ("[::]", "unspecified"),
        ("[::ffff:127.0.0.1]", "loopback"),
        ("[::ffff:7f00:1]", "loopback"),
        ("[::127.0.0.1]", "reserved"),
        ("[64:ff9b::a9fe:a9fe]", "metadata"),
        ("[64:ff9b:1::1]", "private"),
        ("[2002:7f00:1::]", "loopback"),
        ("[fe80::1%25eth0]", "link-local"),
        ("[fc00::1]", "private"),
        ("[fec0::1]", "private"),
        ("[ff02::1]", "multicast"),
    ],
)
def test_an_inner_address_is_refused_in_every_spelling(host: str, reason: str) -> None:
    address = literal_address(host)
    assert address is not None
    assert refused_address(address) == reason


@pytest.mark.parametrize("host", ["93.184.216.34", "8.8.8.8", "[2606:4700::6810:85e5]", "[64:ff9b::808:808]"])
def test_a_public_address_is_allowed(host: str) -> None:
    address = literal_address(host)
    assert address is not None
    assert refused_address(address) is None
    assert refused_address(str(address)) is None


@pytest.mark.parametrize("host", ["example.com", "localhost", "cafe.be", "1.2.3.4.example", "", "[zz::1]", "1 2"])
def test_a_name_is_no_address(host: str) -> None:
    assert literal_address(host) is None
