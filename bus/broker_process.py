"""What runs in a broker's own process, so that no broker outlives the run that started it.

``amqtt HOST PORT`` serves the embedded broker until its standard input ends, that is until whoever holds the
other end of the pipe is gone, even by SIGKILL.

``exec PARENT PROGRAM ARGUMENT…`` asks the kernel to terminate this process with its parent (Linux), then
becomes the program. So the parent needs no code between fork and exec, which would not be safe with threads.

Stands alone: it is run by its path and imports nothing of ours; heavy imports are in the functions that need
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import Final, NoReturn

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_USAGE: Final = 2


def die_with(parent: int) -> None:
    """Have the kernel send us SIGTERM when *parent*, our parent's process id, ends; elsewhere do nothing."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(0)


def become(parent: int, command: list[str]) -> NoReturn:
    """Turn into *command*, whose first word is a path, tied to the life of *parent*."""
    die_with(parent)
    os.execv(command[0], command)  # noqa: S606 -- no shell is the point


async def serve(host: str, port: int) -> None:
    """Serve the embedded broker on *host* and *port* until standard input ends or SIGTERM comes."""
    from amqtt.broker import Broker

    listener = {"type": "tcp", "bind": f"{host}:{port}"}
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": listener}, "plugins": plugins})
    await broker.start()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is the parent's to act on
    stdin = sys.stdin.fileno()

    def watch() -> None:
        if not os.read(stdin, 64):
            ended.set()

    loop.add_reader(stdin, watch)
    await ended.wait()
    loop.remove_reader(stdin)
    await broker.shutdown()


def main(arguments: list[str]) -> None:
    """Run one of the two modes."""
    match arguments:
        case ["amqtt", host, port]:
            with contextlib.suppress(ImportError):
                import uvloop

                asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
            asyncio.run(serve(host, int(port)))
        case ["exec", parent, *command] if command:
            become(int(parent), command)
        case _:
            sys.exit(_USAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
