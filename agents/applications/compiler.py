"""C to WebAssembly, with clang and wasm-ld as they are in the ``ziglang`` wheel: the optional extra ``c``.

No C library, no start files, no entry but the two of the ABI. The stack comes first in the memory and
everything else behind it, so that a stack that overflows leaves the memory and the run traps; a function
whose own frame is larger than the whole stack does not compile. Pages have one octet (``--page-size=1``), so
the memory is exactly as large as stack and data.

The same source gives the same octets: the compiler runs in the source's own directory with nothing of the
person's environment that it would heed, ``__FILE__`` is the bare name, and ``__DATE__`` is an error. Its
caches and its outputs are in a directory that is gone afterwards.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from agents.applications.wording import printable
from agents.errors import NoProgramme
from agents.handset.security_module.programme import ENTRIES

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_STACK: Final = 256
STACK_STEP: Final = 16
"""A stack's octets are a multiple of these: what wasm-ld aligns it to."""
MAX_STACK: Final = 1 << 20
TIMEOUT_S: Final = 60.0
MAX_MADE: Final = 16 << 20
"""Octets that the tools may write into a file: far more than a module would take."""
MAX_SPACE: Final = 4 << 30
"""Octets of address space that they may have."""
INCLUDE: Final = Path(__file__).parent / "include"

# The features are those that the run unit has switched on. With bulk memory, copying is an instruction of the
# machine's and no call of memcpy.
_COMPILE: Final = (
    "-target",
    "wasm32-freestanding",
    "-mcpu=mvp+bulk_memory+bulk_memory_opt+mutable_globals+nontrapping_fptoint+sign_ext",
    "-std=c17",
    "-ffreestanding",
    "-Oz",
    "-g0",
    "-Wall",
    "-Wextra",
    "-Werror=date-time",
    "-Werror=frame-larger-than",
    "-ferror-limit=10",
    "-Xclang",
    "-fno-caret-diagnostics",
    "-isystem",
    str(INCLUDE),
)
_LINK: Final = (
    "-O2",
    "--compress-relocations",
    "--strip-all",
    "--no-entry",
    "--no-growable-memory",
    "--page-size=1",
    "--stack-first",
    "--threads=1",
    *(f"--export={entry}" for entry in ENTRIES),
)
_BOUNDED: Final = f"""
import resource, runpy
for limit, most in ((resource.RLIMIT_FSIZE, {MAX_MADE}), (resource.RLIMIT_AS, {MAX_SPACE})):
    hard = resource.getrlimit(limit)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(limit, (most, most))
runpy.run_module("ziglang", run_name="__main__")
"""
"""``python -m ziglang`` within bounds, which hold for what it starts as well."""
_PASSED_ON: Final = ("LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "SYSTEMROOT")
"""Of the environment: what it takes to run Python. CPATH and its like would be heeded."""

MAX_TOLD: Final = 20
_MAX_LINE: Final = 300
_MAX_READ: Final = 1 << 16
_NOT_DEFINED: Final = re.compile(r".*symbol exported via --export not found: (\w+)")
_NO_SUCH_FUNCTION: Final = re.compile(r".*undefined symbol: (\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of a source: WebAssembly, and what the compiler warns of, a sentence each."""

    code: bytes
    warnings: tuple[str, ...] = ()


def compile_c(source: Path, name: str, *, stack: int = DEFAULT_STACK, timeout_s: float = TIMEOUT_S) -> Built:
    """Return the programme of a source in C, *name* to the person; raise NoProgramme when it makes none."""
    if stack % STACK_STEP or not 0 < stack <= MAX_STACK:
        raise ValueError(f"a stack of {stack} octets")
    wheel = find_spec("ziglang")
    if wheel is None or wheel.origin is None:
        raise NoProgramme([f"{name} is C, and its compiler is not installed: pip install 'otafleet[c]'"])
    with TemporaryDirectory(prefix="otafleet-") as directory:
        scratch = Path(directory)
        linked, made = scratch / "linked", str(scratch / "object")
        tools = _Tools(source, name, scratch, Path(wheel.origin).parents[1], timeout_s)
        warnings = tools.run("cc", *_COMPILE, f"-Wframe-larger-than={stack}", "-c", tools.local, "-o", made)
        tools.run("wasm-ld", *_LINK, "-z", f"stack-size={stack}", "-o", str(linked), made)
        return Built(code=linked.read_bytes(), warnings=tuple(warnings))


class _Tools:
    """The compiler and the linker, run on one source."""

    def __init__(self, source: Path, name: str, scratch: Path, wheels: Path, timeout_s: float) -> None:
        self.local = f"./{source.name}"
        """The source as the compiler is told it: no name is taken for an option."""
        self._directory = source.parent
        self._name = name
        self._scratch = scratch
        self._timeout_s = timeout_s
        self._environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        self._environment["PYTHONPATH"] = str(wheels.resolve())
        for key in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR", "TMPDIR"):
            self._environment[key] = str(scratch)

    def run(self, tool: str, *arguments: str) -> list[str]:
        """Run *tool* and return what it warns of; raise NoProgramme when it fails, or takes too long."""
        said = self._scratch / "said"
        with said.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 -- our own interpreter, and no shell
                [sys.executable, "-P", "-c", _BOUNDED, tool, *arguments],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
            failed = self._wait(process)
        with said.open("rb") as file:
            told = self._told(file.read(_MAX_READ).decode(errors="replace").splitlines())
        if failed:
            raise NoProgramme(told or [f"{self._name} does not compile, and the compiler does not say why"])
        return told

    def _wait(self, process: subprocess.Popen[bytes]) -> bool:
        """Return whether *process* ended badly; whatever happens, it is over then."""
        try:
            return process.wait(self._timeout_s) != 0
        except subprocess.TimeoutExpired:
            raise NoProgramme([f"{self._name} does not compile within {self._timeout_s:g} s"]) from None
        finally:
            if process.returncode is None:  # time is over, or our own
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _told(self, lines: Iterable[str]) -> list[str]:
        """Return what the tools said, in the person's names, and not more of it than anybody reads."""
        told = [self._sentence(line) for line in lines if line.strip()]
        if len(told) > MAX_TOLD:
            told[MAX_TOLD:] = [f"{self._name}: and {len(told) - MAX_TOLD} lines more"]
        return told

    def _sentence(self, line: str) -> str:
        if match := _NOT_DEFINED.fullmatch(line):
            return f"{self._name} defines no function {match[1]}"
        if match := _NO_SUCH_FUNCTION.fullmatch(line):
            return f"{self._name} calls {match[1]}, which nobody defines: there is no C library"
        line = line.replace(f"{self._scratch}/", "").replace(self.local, self._name)
        return printable(line if self._name in line else f"{self._name}: {line}")[:_MAX_LINE]
