from __future__ import annotations

from pathlib import Path

import pytest

from bus.address import BrokerAddress, TlsSettings


def test_from_url() -> None:
    """A URL gives host, port, and percent-decoded user and password."""
    address = BrokerAddress.from_url("mqtt://o%40ps:p%3Aw@broker.example:1884")
    assert address == BrokerAddress(host="broker.example", port=1884, username="o@ps", password="p:w")
    assert str(address) == "broker.example:1884"
    assert address.kind == "external"


def test_defaults() -> None:
    """Ports default to MQTT's own, mqtts means TLS, and arguments fill what the URL leaves out."""
    assert BrokerAddress.from_url("mqtt://h") == BrokerAddress(host="h", port=1883)
    tls = TlsSettings(ca_file=Path("ca.pem"))
    filled = BrokerAddress.from_url("mqtts://[::1]/", username="u", password="p", tls=tls)
    assert filled == BrokerAddress(host="::1", port=8883, username="u", password="p", tls=tls)
    assert BrokerAddress.from_url("mqtts://h").tls == TlsSettings()
    assert str(filled) == "[::1]:8883"


@pytest.mark.parametrize(
    "url",
    [
        "", "auto", "http://h", "mqtt://", "mqtt://h/topic", "mqtt://h?x=1", "mqtt://h#f", "mqtt://h:0",
        "mqtt://h:65536", "mqtt://h:x", "mqtt://:p@h", "mqtt://[::1",
    ],
)  # fmt: skip
def test_bad_url(url: str) -> None:
    """What is no broker's URL is refused in one sentence."""
    with pytest.raises(ValueError, match=r"^broker (url|address): "):
        BrokerAddress.from_url(url)


def test_password_is_hidden() -> None:
    """Neither the repr nor an error's sentence shows a password."""
    assert "hush" not in repr(BrokerAddress.from_url("mqtt://u:hush@h"))
    for url in ("mqtt://u:hush@h/x", "mqtt://u:hush@h:99999", "http://u:hush@h"):
        with pytest.raises(ValueError, match="broker") as caught:
            BrokerAddress.from_url(url)
        assert "hush" not in str(caught.value)


def test_tls_needs_mqtts() -> None:
    """TLS settings for a URL without TLS are a mistake, not ignored."""
    with pytest.raises(ValueError, match="mqtts"):
        BrokerAddress.from_url("mqtt://h", tls=TlsSettings())
