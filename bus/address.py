"""Where a broker listens and how it wants to be spoken to."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from bus.errors import BrokerRefused

if TYPE_CHECKING:
    from pathlib import Path

_DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """TLS with the broker: whom we trust (the system's authorities by default), and who we are, if asked."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """One broker. ``kind`` says whose it is: ``mosquitto`` or ``amqtt`` if we started it, else ``external``.

    Raises ValueError if the port is none or a password comes without a user.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None
    kind: str = field(default="external", compare=False)

    def __post_init__(self) -> None:
        if not self.host or not 1 <= self.port <= 65535:
            raise ValueError(
                f"broker address: a host and a port of 1 to 65535, not {self.host!r} {self.port}"
            )
        if self.password is not None and self.username is None:
            raise ValueError("broker address: a password needs a user name")

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        tls: TlsSettings | None = None,
    ) -> BrokerAddress:
        """Return the address in ``mqtt[s]://[user[:password]@]host[:port]``; arguments fill what it omits.

        Raises ValueError with one sentence, which never shows the URL's password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"broker url: {error}") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError(
                f"broker url: begins with mqtt:// or mqtts://, not {url.partition(':')[0][:40]!r}"
            )
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("broker url: is mqtt[s]://[user[:password]@]host[:port] and nothing more")
        secure = parts.scheme == "mqtts"
        if tls is not None and not secure:
            raise ValueError("broker url: TLS settings need mqtts://")
        return cls(
            host=parts.hostname,
            port=port if port is not None else _DEFAULT_PORTS[parts.scheme],
            username=unquote(parts.username) if parts.username else username,
            password=unquote(parts.password) if parts.password else password,
            tls=(tls or TlsSettings()) if secure else None,
        )

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def tls_context(address: BrokerAddress) -> ssl.SSLContext | None:
    """Return the TLS context for *address*, read from its files (blocking), or None if it wants no TLS.

    Raises BrokerRefused naming the file that cannot be used.
    """
    tls = address.tls
    if tls is None:
        return None
    for path in (tls.ca_file, tls.certificate_file, tls.key_file):
        if path is not None and not path.is_file():
            raise BrokerRefused(str(address), f"TLS needs {path}, which is no file")
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.certificate_file is not None:
            context.load_cert_chain(tls.certificate_file, tls.key_file)
    except OSError as error:
        raise BrokerRefused(str(address), f"its TLS files do not hold ({error})") from None
    return context
