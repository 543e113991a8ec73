"""Where notifications may go: not to what only the server can reach, however that is written."""

import asyncio
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.notifications import others
from api.notifications.targets import UnusableTarget, check_target, is_public, parse_target, shown

SPECIAL = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/29", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"),
]
SPECIAL_6 = [
    *("::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32", "2001::/32", "100::/64"),
]


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[int]:
    first = int(network.network_address)
    return st.integers(first, first + network.num_addresses - 1)


special = st.sampled_from(SPECIAL).flatmap(lambda text: inside(IPv4Network(text))).map(IPv4Address)
special_6 = st.sampled_from(SPECIAL_6).flatmap(lambda text: inside(IPv6Network(text))).map(IPv6Address)
ways_to = st.sampled_from(
    [
        lambda four: IPv6Address(0xFFFF00000000 | int(four)),
        lambda four: IPv6Address(int(four)),
        lambda four: IPv6Address(int(IPv6Address("64:ff9b::")) | int(four)),
        lambda four: IPv6Address(int(IPv6Address("2002::")) | int(four) << 80),
    ]
)


@given(special | special_6)
def test_special_addresses_are_not_public(address: IPv4Address | IPv6Address) -> None:
    assert not is_public(address)


@given(special, ways_to)
def test_addresses_that_lead_to_special_ones_are_not_public(address: IPv4Address, way: object) -> None:
    assert callable(way)
    assert not is_public(way(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "1.1.1.1"])
def test_other_addresses_are_public(address: str) -> None:
    assert is_public(IPv4Address(address))
    assert is_public(IPv6Address(f"::ffff:{address}"))
    assert is_public(IPv6Address("2606:4700:4700::1111"))


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://127.0.0.1/x",
            "https://localhost:8080",
            "json://10.0.0.1/x",
            "http://[::1]/",
            "http://169.254.169.254/",
        ),
        *("http://[::ffff:192.168.0.1]/", "http://user:pass@0.0.0.0/", "http://2130706433/", "http://127.1/"),
        *("http://0x7f000001/", "https://[fe80::1%25eth0]/", "jsons://[64:ff9b::7f00:1]/"),
    ],
)
def test_urls_to_what_is_not_public_are_refused_unless_that_is_allowed(url: str) -> None:
    with pytest.raises(UnusableTarget, match="not public"):
        asyncio.run(check_target(url, allow_private=False))
    assert asyncio.run(check_target(url, allow_private=True)).is_webhook


@pytest.mark.parametrize(
    "url",
    ["mailto://user:pass@example.com?smtp=localhost", "gotify://localhost/token", "syslog://", "xml://192.168.1.1/x"],
)
def test_so_are_those_that_go_through_another_service(url: str) -> None:
    with pytest.raises(UnusableTarget):
        asyncio.run(others.check(parse_target(url), allow_private=False))
    asyncio.run(others.check(parse_target(url), allow_private=True))


@pytest.mark.parametrize(
    "url", ["", "x", "https://", "http:///x", "https://a b/", "https://a:99999/", "://x", "a" * 5000]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UnusableTarget):
        parse_target(url)


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", True),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", True),
        ("mailto://user:pass@example.com", True),
        ("https://example.com/hook", False),
        ("jsons://example.com/hook", False),
        ("nowhere://example.com", False),
    ],
)
def test_the_urls_of_a_service_are_known_as_such(url: str, known: bool) -> None:
    assert asyncio.run(others.is_known(parse_target(url))) is known


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://host.example/a", "http://host.example/********"),
        ("http://host.example:80/a", "http://host.example/********"),
        ("jsons://host.example:8443/a", "jsons://host.example:8443/********"),
        ("http://[2001:db8::1]:81/a", "http://[2001:db8::1]:81/********"),
    ],
)
def test_the_port_is_shown_where_it_is_not_the_usual_one(url: str, text: str) -> None:
    assert shown(parse_target(url)) == text


@given(st.text("abc:/@?#[].1", min_size=1), st.sampled_from(["https", "json", "slack", "mailto"]))
def test_no_more_is_shown_of_a_url_than_its_scheme_and_host(rest: str, scheme: str) -> None:
    url = f"{scheme}://user:SECRET@host.example/{rest}SECRET?t=SECRET#SECRET"
    try:
        text = shown(parse_target(url))
    except UnusableTarget as error:
        text = str(error)
    assert "SECRET" not in text
    assert "user" not in text
    if scheme in ("slack", "mailto"):
        assert text == f"{scheme}://********"
