"""Somebody on the broker who does not belong to the fleet: listens to everything, says anything.

It works beside the run, on threads with loops of their own, so that a run that stands still at one of its
``Moments`` can be listened to and spoken to meanwhile.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

import aiomqtt

from bus.frame import Bearer, Frame, TraceContext
from bus.topics import everything
from tests.scenarios.kit import meanwhile
from tests.scenarios.processes import END_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

HOST: Final = "127.0.0.1"
TRACE: Final = TraceContext(trace_id=b"T" * 16, span_id=b"S" * 8)
_NO_DELAY: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
_MARK: Final = b"wiretap: so far"
_END: Final = b"wiretap: no further"
_LISTENING: Final = "listening"
_CAUGHT_UP: Final = "caught up"


def say(port: int, messages: Iterable[tuple[str, bytes]]) -> None:
    """Publish payloads on topics; returns when the broker has handed them on, before the run goes on."""
    meanwhile(_say(port, list(messages)))


async def _say(port: int, messages: list[tuple[str, bytes]]) -> None:
    async with aiomqtt.Client(HOST, port, socket_options=_NO_DELAY) as client:
        for topic, payload in messages:
            await client.publish(topic, payload, qos=1)


def frame(bearer: Bearer, source: str, destination: str, pdu: bytes, *, number: int = 0) -> Frame:
    """Return a frame as anybody could make it; *number* makes its reference."""
    return Frame(
        bearer=bearer,
        source=source,
        destination=destination,
        pdu=pdu,
        reference=b"alien" + number.to_bytes(3, "big"),
        trace=TRACE,
        sent_at=0.0,
    )


def again(payload: bytes, *, number: int) -> bytes:
    """Return a recorded payload with a reference of its own, so that it does not pass for a repetition."""
    return replace(Frame.parse(payload), reference=b"again" + number.to_bytes(3, "big")).encode()


class Wiretap:
    """Records every payload of a fleet, from :meth:`open` until the broker is gone.

    *hear* is called with the topic of each payload, on the tap's own thread. With *echo* everything is said
    once more as soon as it is heard, as a network may with QoS 1.
    """

    def __init__(
        self, fleet: str, *, hear: Callable[[str], object] | None = None, echo: bool = False
    ) -> None:
        self.tape: list[tuple[str, bytes]] = []
        self._call = hear
        self._echo = echo
        self._echoes: set[tuple[str, bytes]] = set()
        self._fleet = fleet
        self._port = 0
        self._told: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="wiretap")

    def __enter__(self) -> Self:
        """Be there; nothing is heard yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until the broker is gone."""
        if self._port:
            self._thread.join(END_TIMEOUT_S)

    def open(self, port: int) -> None:
        """Listen at the broker on *port*; returns when it listens."""
        self._port = port
        self._thread.start()
        assert self._told.get(timeout=END_TIMEOUT_S) == _LISTENING

    def catch_up(self) -> None:
        """Return when the tape holds everything that the broker has taken so far."""
        say(self._port, [(f"otafleet/{self._fleet}/wiretap", _MARK)])
        assert self._told.get(timeout=END_TIMEOUT_S) == _CAUGHT_UP

    def leave(self) -> None:
        """Hear what the broker has taken so far, and no more: for a broker that outlives the fleet."""
        self.catch_up()
        say(self._port, [(f"otafleet/{self._fleet}/wiretap", _END)])
        self._thread.join(END_TIMEOUT_S)

    def heard(self, room: str) -> list[tuple[str, bytes]]:
        """Return what was recorded on the topics below *room*, such as ``role/bank``."""
        return [entry for entry in self.tape if entry[0].startswith(f"otafleet/{self._fleet}/{room}")]

    def _run(self) -> None:
        try:
            asyncio.run(self._listen())
        except aiomqtt.MqttError as end:
            self._told.put(str(end))

    async def _listen(self) -> None:
        async with aiomqtt.Client(HOST, self._port, socket_options=_NO_DELAY) as client:
            await client.subscribe(everything(self._fleet), qos=1)
            self._told.put(_LISTENING)
            async for message in client.messages:
                if message.payload == _MARK:
                    self._told.put(_CAUGHT_UP)
                elif message.payload == _END:
                    return
                else:
                    await self._hear(client, (message.topic.value, bytes(message.payload)))

    async def _hear(self, client: aiomqtt.Client, entry: tuple[str, bytes]) -> None:
        if entry in self._echoes:
            return
        self.tape.append(entry)
        if self._call:
            self._call(entry[0])
        if self._echo:
            self._echoes.add(entry)
            topic, payload = entry
            await client.publish(topic, payload, qos=1)
