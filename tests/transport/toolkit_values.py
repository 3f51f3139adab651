"""Values that the tests of the toolkit share: the vectors, and strategies for everything that can be said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hypothesis import strategies as st

from tests.transport.vectors import load
from transport.toolkit import (
    MAX_RECEIVE_DATA,
    MAX_SEND_DATA,
    MAX_TEXT,
    ChannelOpening,
    ChannelStatus,
    CommandType,
    Envelope,
    EventCode,
    ProactiveCommand,
    Tag,
    TerminalResponse,
    TerminalResult,
    TransportProtocol,
)

if TYPE_CHECKING:
    from enum import IntEnum

Said: TypeAlias = ProactiveCommand | TerminalResponse | Envelope

_KINDS: dict[str, type[Said]] = {
    kind.__name__: kind for kind in (ProactiveCommand, TerminalResponse, Envelope)
}
_ENUMS: dict[str, type[IntEnum]] = {
    "type": CommandType,
    "tag": Tag,
    "event": EventCode,
    "events": EventCode,
    "result": TerminalResult,
    "protocol": TransportProtocol,
}
_TEXTS = {"access_name"}
_VALUES: dict[str, type[ChannelStatus | ChannelOpening]] = {
    "channel_status": ChannelStatus,
    "statuses": ChannelStatus,
    "opening": ChannelOpening,
}


class Vector(NamedTuple):
    """Octets, and the value that they say; *exact*: it encodes to the same octets."""

    name: str
    octets: bytes
    value: Said
    exact: bool


def _field(name: str, said: Any) -> Any:
    """Return the value of a field as a vector file has it."""
    if isinstance(said, list):
        return tuple(_field(name, one) for one in said)
    if isinstance(said, dict):
        return _VALUES[name](**{key: _field(key, one) for key, one in said.items()})
    if name in _ENUMS:
        return _ENUMS[name][said]
    return bytes.fromhex(said) if isinstance(said, str) and name not in _TEXTS else said


def _vector(entry: dict[str, Any]) -> Vector:
    value = _KINDS[entry["kind"]](**{name: _field(name, said) for name, said in entry["says"].items()})
    return Vector(entry["id"], bytes.fromhex(entry["octets"]), value, entry.get("exact", True))


VECTORS = [_vector(entry) for entry in load("toolkit")["vector"]]

_numbers = st.integers(1, 7)
_octets = st.integers(0, 255)
_paths = st.lists(
    st.binary(min_size=2, max_size=2).filter(lambda step: step != b"\x3f\0"), min_size=1, max_size=3
)
_labels = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,14}[A-Za-z0-9])?", fullmatch=True)
_words = st.binary(max_size=MAX_TEXT)
_short = st.sampled_from([CommandType.DISPLAY_TEXT, CommandType.GET_INPUT])
_plain = st.sampled_from(
    [
        kind
        for kind in CommandType
        if kind.name
        in {"REFRESH", "SET_UP_EVENT_LIST", "SEND_SHORT_MESSAGE", "DISPLAY_TEXT", "CLOSE_CHANNEL"}
    ]
)

openings = st.builds(
    ChannelOpening,
    protocol=st.sampled_from(TransportProtocol),
    port=st.integers(0, 0xFFFF),
    address=st.binary(min_size=4, max_size=4),
    buffer=st.integers(1, 0xFFFF),
    access_name=st.lists(_labels, max_size=4).map(".".join),
    bearer_type=_octets,
    bearer_parameters=st.binary(max_size=12),
)
statuses = st.builds(ChannelStatus, channel=st.integers(0, 7), established=st.booleans(), info=_octets)


def _command(kind: CommandType, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[ProactiveCommand]:
    return st.builds(ProactiveCommand, type=st.just(kind), **fields)


commands: st.SearchStrategy[ProactiveCommand] = st.one_of(
    st.builds(ProactiveCommand, type=_short, qualifier=_octets, text=_words),
    _command(CommandType.SEND_SHORT_MESSAGE, tpdu=st.binary(max_size=176)),
    _command(
        CommandType.REFRESH,
        qualifier=_octets,
        files=st.lists(_paths.map(lambda steps: b"\x3f\0" + b"".join(steps)), max_size=5).map(tuple),
    ),
    _command(
        CommandType.SET_UP_EVENT_LIST,
        events=st.lists(st.sampled_from(EventCode), max_size=4).map(tuple),
    ),
    _command(
        CommandType.TIMER_MANAGEMENT, timer=st.integers(1, 8), timer_value_s=st.integers(1, 24 * 3600 - 1)
    ),
    _command(CommandType.TIMER_MANAGEMENT, qualifier=st.integers(1, 2), timer=st.integers(1, 8)),
    _command(CommandType.OPEN_CHANNEL, qualifier=_octets, opening=openings),
    _command(CommandType.CLOSE_CHANNEL, channel=_numbers),
    _command(CommandType.RECEIVE_DATA, channel=_numbers, length=st.integers(1, 255)),
    _command(
        CommandType.SEND_DATA,
        qualifier=st.integers(0, 1),
        channel=_numbers,
        data=st.binary(max_size=MAX_SEND_DATA),
    ),
    _command(CommandType.GET_CHANNEL_STATUS),
)


def _response(
    kind: st.SearchStrategy[CommandType], **fields: st.SearchStrategy[Any]
) -> st.SearchStrategy[TerminalResponse]:
    return st.builds(
        TerminalResponse, type=kind, qualifier=_octets, result=st.sampled_from(TerminalResult), **fields
    )


responses: st.SearchStrategy[TerminalResponse] = st.one_of(
    _response(_plain, cause=st.none() | _octets),
    _response(st.just(CommandType.GET_INPUT), cause=st.none() | _octets, text=_words),
    _response(
        st.just(CommandType.TIMER_MANAGEMENT),
        timer=st.none() | st.integers(1, 8),
        timer_value_s=st.none() | st.integers(0, 24 * 3600 - 1),
    ),
    _response(
        st.just(CommandType.OPEN_CHANNEL),
        cause=st.none() | _octets,
        channel_status=st.none() | statuses,
        bearer=st.binary(max_size=12),
        buffer=st.none() | st.integers(0, 0xFFFF),
    ),
    _response(
        st.just(CommandType.RECEIVE_DATA),
        data=st.binary(max_size=MAX_RECEIVE_DATA),
        length=st.none() | _octets,
    ),
    _response(st.just(CommandType.SEND_DATA), cause=st.none() | _octets, length=st.none() | _octets),
    _response(st.just(CommandType.GET_CHANNEL_STATUS), statuses=st.lists(statuses, max_size=8).map(tuple)),
)


def _envelope(tag: Tag, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Envelope]:
    return st.builds(Envelope, tag=st.just(tag), **fields)


envelopes: st.SearchStrategy[Envelope] = st.one_of(
    _envelope(Tag.SMS_PP_DOWNLOAD, tpdu=st.binary(max_size=200)),
    _envelope(Tag.CELL_BROADCAST_DOWNLOAD, page=st.binary(min_size=88, max_size=88)),
    _envelope(Tag.MENU_SELECTION, item=_octets),
    _envelope(Tag.TIMER_EXPIRATION, timer=st.integers(1, 8), timer_value_s=st.integers(0, 24 * 3600 - 1)),
    _envelope(
        Tag.EVENT_DOWNLOAD,
        event=st.just(EventCode.DATA_AVAILABLE),
        channel_status=statuses,
        length=_octets,
    ),
    _envelope(Tag.EVENT_DOWNLOAD, event=st.just(EventCode.CHANNEL_STATUS), channel_status=statuses),
)
said: st.SearchStrategy[Said] = st.one_of(commands, responses, envelopes)
kinds: st.SearchStrategy[type[Said]] = st.sampled_from(list(_KINDS.values()))
