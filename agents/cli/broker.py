"""The command ``broker``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from agents.cli.telling import run_until_terminated, told_in_sentences
from agents.errors import FleetError

BROKER_PORT: Final = 1883


def broker(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Listen here, on 127.0.0.1.")] = BROKER_PORT,
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the broker keeps its configuration and queues.")
    ] = Path("state/broker"),
) -> None:
    """Run the broker alone, until it is stopped."""
    with told_in_sentences():
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FleetError(f"{directory}: cannot keep the broker's files: {error.strerror}") from None
        run_until_terminated(_serve_broker(port, directory))


async def _serve_broker(port: int, directory: Path) -> None:
    from bus.broker import open_broker
    from bus.tracing import configure, get_logger

    with configure(directory / "log.jsonl", process="broker"):
        async with open_broker(
            "auto", directory=directory, log=get_logger(agent="broker"), port=port
        ) as address:
            typer.echo(f"{address.kind} listens at mqtt://{address}; Ctrl-C stops it")
            await asyncio.Event().wait()
