"""A page is one of ours when it comes from the very address that it asks, and from no name that could be made to."""

import pytest

from api.call import is_own_origin


@pytest.mark.parametrize("place", [b"127.0.0.1:4200", b"localhost:4200", b"[::1]:4200", b"192.0.2.7"])
def test_the_address_that_is_asked_is_our_own(place: bytes) -> None:
    assert is_own_origin(b"http://" + place, place)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (b"http://evil.example", b"127.0.0.1:4200"),
        (b"http://127.0.0.1", b"127.0.0.1:4200"),
        (b"http://127.0.0.1.evil.example:4200", b"127.0.0.1:4200"),
        (b"null", b"127.0.0.1:4200"),
        (b"", b""),
        (b"http://[", b"["),
        (b"http://rebound.example:4200", b"rebound.example:4200"),
    ],
)
def test_everything_else_is_foreign(origin: bytes, host: bytes) -> None:
    assert not is_own_origin(origin, host)
