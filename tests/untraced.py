"""Which tests run without coverage's tracer: those that go, thousands of times, where others have been.

The tracer doubles the time that Python code takes. It has to see each line and branch once, not each of them
in each of two thousand altered messages. What runs untraced runs all the same, with each of its assertions;
coverage counts less by it and never more, so that what ``make test`` asks of it still holds.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

UNTRACED: Final = (
    # whole fleets, in process after process
    "tests/scenarios/",
    "tests/agents/test_allocator_killed.py",
    "tests/agents/test_crew.py",
    "tests/agents/test_metrics_run.py",
    # every case of a large product
    "tests/agents/test_module_forms.py",
    "tests/agents/test_subscriptions.py",
    "tests/agents/test_supplier_bearers.py",
    "tests/transport/test_handshake_identities.py",
    "tests/transport/test_handshake_secrecy.py",
    # every octet altered, every moment cut, floods
    "tests/agents/test_compile_bombs.py",
    "tests/agents/test_link_attacks.py",
    "tests/agents/test_module_attacks",
    "tests/agents/test_power_cuts",
    "tests/agents/test_run_unit_attacks.py",
    "tests/bus/test_capture.py::test_memory_is_bounded",
    "tests/transport/test_handshake_attacks.py::test_a_lost_message",
    "tests/transport/test_handshake_attacks.py::test_a_translator_between_two_forms",
    "tests/transport/test_handshake_attacks.py::test_no_altered_message_makes_a_session",
    "tests/transport/test_handshake_attacks.py::test_replay_of_an_old_session",
    "tests/transport/test_handshake_attacks.py::test_sessions_whose_messages_cross",
    "tests/transport/test_handshake_attacks.py::test_splice_of_two_sessions",
    # long walks through states
    "tests/agents/test_module_model.py",
    "tests/transport/test_cat_tp_network.py",
    "tests/transport/test_handshake_model.py",
)
"""How the names of these tests begin."""
_CHILDREN: Final = "COVERAGE_PROCESS_CONFIG"  # by which coverage starts in processes that a test starts


@contextmanager
def without_tracer() -> Iterator[None]:
    """Run what is inside without the tracer, in this thread, in new ones and in new processes."""
    here, threads, children = sys.gettrace(), threading.gettrace(), os.environ.pop(_CHILDREN, None)
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        if children is not None:
            os.environ[_CHILDREN] = children
        threading.settrace(threads)
        sys.settrace(here)
