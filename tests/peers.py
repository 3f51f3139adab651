"""Programs of other people that some tests run: found, or the test is skipped, or in CI failed."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest


def need(name: str) -> str:
    """Return the path of program *name*; without it skip the test, or fail it where peers are required.

    CI sets ``OTAFLEET_REQUIRE_PEERS=1``, so that nothing is skipped unnoticed.
    """
    return _found(name, shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin"))


def openssl(*arguments: str | Path, octets: bytes = b"") -> bytes:
    """Return what openssl prints for *arguments*, given *octets* to read; it must succeed."""
    command = [need("openssl"), *map(str, arguments)]
    run = subprocess.run(command, input=octets, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


@cache
def made_by_openssl(*options: str) -> bytes:
    """Return a private key that openssl made, as PEM, once for the same *options*."""
    return openssl("genpkey", *options)


def need_file(path: str) -> Path:
    """Return the *path* of a file that a package of other people has installed; without it as ``need``."""
    return Path(_found(path, path if Path(path).exists() else None))


def _found(name: str, path: str | None) -> str:
    if path:
        return path
    if os.environ.get("OTAFLEET_REQUIRE_PEERS") == "1":
        pytest.fail(f"{name} is not installed and OTAFLEET_REQUIRE_PEERS=1")
    pytest.skip(f"{name} is not installed")
