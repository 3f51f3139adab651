"""A record of DEF: what one resource is, as a value and as octets.

The octets are a msgpack array, in the order of the fields. Its first element is the record's version, so that
later ones can have more.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgpack

from agents.handset.security_module.errors import ImageRejected
from agents.handset.security_module.life_cycle import (
    KEY_REMOVERS,
    AtEnd,
    ResourceEvent,
    ResourceState,
    transition,
)
from agents.handset.security_module.rights import rights_mask, rights_names
from transport.security.domain_key import MAX_DUMP_OCTETS
from transport.security.keyset import DEFAULT_PROTECTION

if TYPE_CHECKING:
    from collections.abc import Mapping

_RECORD_VERSION: Final = 4
_DIGEST_OCTETS: Final = 32
_MAX_SESSION_KEYS: Final = 130  # two keys a direction of at most 32 octets, and what they are
_MAX_NAMES: Final = 4
_MAX_NAME: Final = 24
MAX_COUNTER: Final = 0xFFFFFFFFFF  # CNTR has five octets (TS 102 225 §5.1.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """The keyset that a handshake left in a resource, as ``SessionKeys.dump`` wrote it, and its counters."""

    keys: bytes = field(repr=False)
    received_counter: int = 0
    sent_counter: int = 0

    def __post_init__(self) -> None:
        if type(self.keys) is not bytes or not self.keys or len(self.keys) > _MAX_SESSION_KEYS:
            raise ValueError(f"the keys of a session are 1 to {_MAX_SESSION_KEYS} octets")
        _check_range("received_counter", self.received_counter, 0, MAX_COUNTER)
        _check_range("sent_counter", self.sent_counter, 0, MAX_COUNTER)


_RANGES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "rsc_id": (1, 0xFFFF),
        "start": (0, 0xFFFFFFFF),
        "code_size": (0, 0xFFFFFFFF),
        "data_size": (0, 0xFFFFFFFF),
        "code_length": (0, 0xFFFFFFFF),
        "version": (0, 0xFFFFFFFF),
        "expires_at": (0, 0xFFFFFFFFFFFF),
        "message_identifier": (0, 0xFFFE),
        "executions_left": (-1, 0xFFFFFFFF),
    },
)
_LENGTHS: Final[Mapping[str, tuple[type[bytes | str], int]]] = MappingProxyType(
    {
        "tar": (bytes, 3),
        "service": (str, 64),
        "supplier": (str, 64),
        "supplier_number": (str, 20),
        "suite": (str, 16),
        "supplier_public": (bytes, 2048),
        "supplier_sealing": (bytes, 2048),
        "code_digest": (bytes, _DIGEST_OCTETS),
        "supplier_digest": (bytes, _DIGEST_OCTETS),
        "server": (bytes, 8),
        "protection": (str, 16),
        "dh_base": (bytes, 512),
        "dh_modulus": (bytes, 512),
        "logic_name": (str, 32),
        "domain_key": (bytes, MAX_DUMP_OCTETS),
    },
)


_RANGE_CHECKS: Final = tuple((name, *bounds) for name, bounds in _RANGES.items())
_LENGTH_CHECKS: Final = tuple((name, *bounds) for name, bounds in _LENGTHS.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One resource. Sizes and ``start`` are octets of the image, code first, then data.

    ``supplier_number`` is where short messages to the supplier go; ``server`` is where it is on the packet
    network (IPv4 address 4, TCP port 2, UDP port 2), ``bearers`` the networks in the order of choice.
    ``supplier_public`` and ``code_digest`` (SHA-256) are empty when there is none; ``expires_at`` is in
    seconds of the epoch, 0 = never; ``executions_left`` is -1 when unlimited; ``at_end`` says what expiry and
    exhaustion do. ``suite`` and ``forms`` are what a secure connection may be made with, ``dh_base`` and
    ``dh_modulus`` its Diffie-Hellman parameters b and M, big-endian, empty when the suite has its own;
    ``supplier_sealing`` is the key that forms encrypt to which do, and empty for others;
    a global service has a ``logic_name``, a ``domain_key``, as it was dumped, and the ``message_identifier``
    of broadcasts for it. One that cannot be is a ValueError.
    """

    rsc_id: int
    tar: bytes
    service: str
    state: ResourceState = ResourceState.RESERVED
    supplier: str
    supplier_number: str = ""
    suite: str
    forms: tuple[str, ...]
    supplier_public: bytes
    start: int
    code_size: int
    data_size: int
    code_length: int = 0
    code_digest: bytes = b""
    supplier_digest: bytes = b""
    version: int = 0
    rights: frozenset[str] = frozenset()
    expires_at: int = 0
    executions_left: int = -1
    at_end: AtEnd = AtEnd.DEACTIVATE
    bearers: tuple[str, ...] = ("sms",)
    server: bytes = b""
    protection: str = DEFAULT_PROTECTION
    dh_base: bytes = b""
    dh_modulus: bytes = b""
    logic_name: str = ""
    supplier_sealing: bytes = b""
    domain_key: bytes = field(default=b"", repr=False)
    message_identifier: int = 0
    session: SessionRecord | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, low, high in _RANGE_CHECKS:
            _check_range(name, getattr(self, name), low, high)
        for name, kind, longest in _LENGTH_CHECKS:
            value = getattr(self, name)
            if type(value) is not kind or len(value) > longest:
                raise ValueError(f"{name} is {kind.__name__} of at most {longest}")
        for names in (self.bearers, self.forms):
            if not 1 <= len(names) <= _MAX_NAMES or any(
                type(name) is not str or len(name) > _MAX_NAME for name in names
            ):
                raise ValueError("a resource has one to four bearers and as many forms of secure connection")
        if len(self.server) not in (0, 8):
            raise ValueError("a server has an address and two ports")
        if len(self.tar) != 3:
            raise ValueError("a TAR has three octets")
        digest_octets = _DIGEST_OCTETS if self.code_length else 0
        if self.code_length > self.code_size or len(self.code_digest) != digest_octets:
            raise ValueError("a programme fits its area and has a digest, or there is none")
        if self.state is ResourceState.FREE or (self.state is ResourceState.LOADED and not self.code_length):
            raise ValueError(f"no such definition can be {self.state}")
        rights_mask(self.rights)

    @property
    def data_start(self) -> int:
        """Where the data part begins."""
        return self.start + self.code_size

    @property
    def end(self) -> int:
        """Where the area ends, not included."""
        return self.start + self.code_size + self.data_size

    def state_after(self, event: ResourceEvent) -> ResourceState:
        """Return the state after an event, FREE after a release; raise TransitionRefused."""
        return transition(self.state, event, loaded=bool(self.code_length))

    def after(self, event: ResourceEvent, **changes: Any) -> Definition:
        """Return the definition after an event, with these fields changed too; raise TransitionRefused.

        A block, like expiry and exhaustion, takes the supplier's key and the session with it. After a release
        there is no definition: that is ``DefinitionTable.remove``, and here a ValueError.
        """
        state = self.state_after(event)
        if event in KEY_REMOVERS:
            changes |= {"supplier_public": b"", "session": None}
        return replace(self, state=state, **changes)

    def at_its_largest(self) -> Definition:
        """Return the definition with all that may change as long as it can become, once it is reserved."""
        keys = bytes(_MAX_SESSION_KEYS)
        return replace(
            self,
            state=ResourceState.SUSPENDED,
            code_length=self.code_size,
            code_digest=bytes(_DIGEST_OCTETS if self.code_size else 0),
            session=SessionRecord(keys=keys, received_counter=MAX_COUNTER, sent_counter=MAX_COUNTER),
            version=_RANGES["version"][1],
            expires_at=_RANGES["expires_at"][1],
            executions_left=_RANGES["executions_left"][1],
        )

    def encode(self) -> bytes:
        """Return the record, as ``parse`` takes it."""
        values = [getattr(self, name) for name in _FIELDS]
        values[_STATE] = self.state.value
        values[_RIGHTS] = rights_mask(self.rights)
        values[_AT_END] = _AT_ENDS.index(self.at_end)
        if self.session is not None:
            values[_SESSION] = [getattr(self.session, name) for name in _SESSION_FIELDS]
        octets: bytes = msgpack.packb([_RECORD_VERSION, *values])
        return octets

    @classmethod
    def parse(cls, octets: bytes) -> Definition:
        """Return the definition in a record; raise ImageRejected when it is none."""
        try:
            version, *values = msgpack.unpackb(octets, max_array_len=32, max_map_len=0, max_ext_len=0)
            if version != _RECORD_VERSION:
                raise ImageRejected("unknown-definition-version")
            values[_STATE] = ResourceState(values[_STATE])
            values[_RIGHTS] = rights_names(values[_RIGHTS])
            values[_AT_END] = _AT_ENDS[values[_AT_END]]
            for index in _TUPLES:
                values[index] = tuple(values[index])
            if values[_SESSION] is not None:
                values[_SESSION] = SessionRecord(**dict(zip(_SESSION_FIELDS, values[_SESSION], strict=True)))
            return cls(**dict(zip(_FIELDS, values, strict=True)))
        except (ValueError, TypeError, IndexError) as error:
            # The cause is left out on purpose: it could quote what the record holds.
            raise ImageRejected("bad-definition", type(error).__name__) from None


_FIELDS: Final = tuple(each.name for each in fields(Definition))
_SESSION_FIELDS: Final = tuple(each.name for each in fields(SessionRecord))
_STATE: Final = _FIELDS.index("state")
_RIGHTS: Final = _FIELDS.index("rights")
_AT_ENDS: Final = tuple(AtEnd)
_AT_END: Final = _FIELDS.index("at_end")
_TUPLES: Final = (_FIELDS.index("bearers"), _FIELDS.index("forms"))
_SESSION: Final = _FIELDS.index("session")


def _check_range(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is a number from {low} to {high}")
