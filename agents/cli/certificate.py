"""Commands for people with a PKI: ``certificate show``, ``certificate export`` and ``certificate import``.

They read: a state directory, which a run may be writing to meanwhile, or a file. No private key is printed
or written by any of them.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path  # noqa: TC003 -- typer reads the annotations when it runs
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from agents.cli.telling import (
    EXIT_CONFIG,
    EXIT_FAILED,
    ConfigArgument,
    complain,
    load,
    make_console,
    told_in_sentences,
    write_whole,
)
from agents.errors import FleetError
from transport.errors import CertificateRejected

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents.fleet.issued import Issued


class Purpose(StrEnum):
    """Which of a subject's two public keys; ``x509_keys.Use``, which would take its time to import."""

    SIGNING = "signing"
    SEALING = "sealing"


app = typer.Typer(
    name="certificate",
    help="Show the certificates of a fleet, and take public keys out of it or look at others'.",
    no_args_is_help=True,
)


@app.command()
def show(
    config: ConfigArgument,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A role's name, or a module's address.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show who is certified in a fleet, by whom, until when, and with which keys."""
    from agents.cli.certificate_text import as_table, details, to_json

    with told_in_sentences():
        issued = _issued(config)
        chosen = issued.roles() if name is None else [issued.certificate(name)]
        if as_json:
            typer.echo(json.dumps([to_json(one) for one in chosen], indent=2))
        elif name is not None:
            _say(details(chosen[0]))
        else:
            make_console().print(as_table(chosen))
            _say([f"modules with a certificate: {issued.modules()}; show one by its address"])


@app.command()
def export(
    config: ConfigArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A role's name, or a module's address.")],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there, not to the standard output.")
    ] = None,
    purpose: Annotated[Purpose, typer.Option(help="Which of its two keys.")] = Purpose.SIGNING,
    key_only: Annotated[
        bool, typer.Option("--key-only", help="The public key alone, without a certificate.")
    ] = False,
) -> None:
    """Export a role's or a module's X.509 certificate, or its public key, as PEM; never a private key."""
    from agents.fleet.issued import public_key, x509_certificate

    if purpose is Purpose.SEALING and not key_only:
        complain(["an X.509 certificate has the signing key alone: take the sealing key with --key-only"])
        raise typer.Exit(EXIT_CONFIG)
    with told_in_sentences():
        issued = _issued(config)
        pem = public_key(issued, name, purpose) if key_only else x509_certificate(issued, name)
        if out is None:
            typer.echo(pem.decode(), nl=False)
        elif faults := write_whole(pem, out):
            raise FleetError(*faults)


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate or a public key, PEM or DER.")],
) -> None:
    """Say whose suite's key is in a certificate or a public key; exit 0 only if a suite takes it."""
    from agents.cli.certificate_text import brought, refused
    from transport.security.x509 import MAX_OCTETS

    try:
        with file.open("rb") as opened:
            octets = opened.read(MAX_OCTETS + 1)
    except OSError as error:
        complain([f"{file}: cannot be read: {error.strerror}"])
        raise typer.Exit(EXIT_CONFIG) from None
    try:
        lines = brought(octets)
    except CertificateRejected as rejection:
        complain([f"{file}: {refused(rejection)}"])
        raise typer.Exit(EXIT_FAILED) from None
    _say([f"{file}: a public key", *lines])


def _issued(config: Path) -> Issued:
    from agents.fleet.issued import Issued

    return Issued(load(config))


def _say(lines: Iterable[str]) -> None:
    console = make_console()
    for line in lines:
        console.print(Text(line), soft_wrap=True, highlight=False)
