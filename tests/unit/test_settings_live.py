"""Where WebRTC peers are met."""

import pytest

from gateway.settings import Settings


@pytest.mark.parametrize(
    ("given", "met_on"),
    [
        ({}, ("127.0.0.1",)),
        ({"http_host": "localhost"}, ("127.0.0.1",)),
        ({"http_host": "192.0.2.7"}, ("192.0.2.7",)),
        ({"http_host": "0.0.0.0"}, ()),
        ({"http_host": "::"}, ()),
        ({"http_host": "gateway.example"}, ()),
        ({"trusted_proxies": "127.0.0.1"}, ()),
        ({"http_host": "192.0.2.7", "trusted_proxies": "192.0.2.1"}, ("192.0.2.7",)),
        ({"webrtc_addresses": "192.0.2.8, 2001:db8::1"}, ("192.0.2.8", "2001:db8::1")),
    ],
)
def test_peers_are_met_where_http_is_unless_told(
    given: dict[str, str], met_on: tuple[str, ...]
) -> None:
    assert Settings(**given).meets_peers_on == met_on  # type: ignore[arg-type]


def test_names_are_no_addresses() -> None:
    with pytest.raises(ValueError, match="gateway"):
        Settings(webrtc_addresses="gateway.example")
