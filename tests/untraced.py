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
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNTRACED: Final = (
    # whole fleets, in process after process
    "tests/scenarios/",
    "tests/agents/test_allocator_killed.py",
    "tests/agents/test_crew.py",
    "tests/agents/test_metrics_run.py",
    "tests/agents/test_worker.py",
    # a market each, whose roles others have seen at work
    "tests/agents/test_announcer.py",
    "tests/agents/test_antenna.py",
    "tests/agents/test_cell.py",
    "tests/agents/test_operator.py",
    "tests/agents/test_phone.py",
    "tests/agents/test_revocations.py::test_a_resource_of_another_supplier",
    "tests/agents/test_revocations.py::test_revoked_twice",
    "tests/agents/test_revocations.py::test_the_others_notice_nothing",
    "tests/agents/test_revocations.py::test_what_",
    "tests/agents/test_rollouts.py::test_a_paused_campaign",
    "tests/agents/test_rollouts.py::test_a_version_on_trial_is_served_to_nobody",
    "tests/agents/test_rollouts.py::test_an_abort_is_final",
    "tests/agents/test_rollouts.py::test_modules_reports_decide",
    "tests/agents/test_rollouts.py::test_stages_are_broadcast",
    "tests/agents/test_rollouts.py::test_whatever_a_kill_leaves",
    "tests/agents/test_rollouts_adversity.py",
    "tests/agents/test_supplier.py",
    "tests/agents/test_supplier_keys.py::test_a_resource_in_use",
    "tests/agents/test_supplier_keys.py::test_nobody_but_its_operator",
    # every case of a large product
    "tests/agents/test_link_sessions.py::test_every_form",
    "tests/agents/test_module_forms.py",
    "tests/agents/test_module_operator_session.py::test_every_suite",
    "tests/agents/test_module_reporting.py::test_what_a_report_takes",
    "tests/agents/test_module_selection.py::test_no_such_",
    "tests/agents/test_step_checks.py",
    "tests/agents/test_steps.py::test_an_order_says",
    "tests/agents/test_steps.py::test_each_order",
    "tests/agents/test_subscriptions.py",
    "tests/agents/test_supplier_bearers.py",
    "tests/transport/test_handshake_identities.py",
    "tests/transport/test_handshake_secrecy.py",
    # every octet altered, any octets, every moment cut, floods
    "tests/agents/test_audits.py::test_whatever_a_module_says",
    "tests/agents/test_card_driver.py",
    "tests/agents/test_chart_forms.py::test_hostile_texts",
    "tests/agents/test_compile_bombs.py",
    "tests/agents/test_link_attacks.py",
    "tests/agents/test_messages.py",
    "tests/agents/test_module_attacks",
    "tests/agents/test_module_card_io.py",
    "tests/agents/test_module_download.py::test_any_",
    "tests/agents/test_module_download.py::test_memory_is_bounded",
    "tests/agents/test_module_links.py::test_a_server_that_never_stops",
    "tests/agents/test_module_links.py::test_any_octets",
    "tests/agents/test_module_links.py::test_garbage",
    "tests/agents/test_module_links.py::test_small_buffers",
    "tests/agents/test_module_operator_session_attacks.py",
    "tests/agents/test_module_packets.py",
    "tests/agents/test_power_cuts",
    "tests/agents/test_run_unit_attacks.py",
    "tests/agents/test_store.py::test_after_kill_9",
    "tests/agents/test_trace_index.py::test_hostile_lines",
    "tests/bus/test_bearer_sms.py::test_many_packets",
    "tests/transport/test_cat_tp_connection.py::test_arbitrary_datagrams",
    "tests/transport/test_cat_tp_hostile.py::test_whatever_a_peer_says",
    "tests/transport/test_cat_tp_repeats.py::test_many_on_a_slow_machine",
    "tests/transport/test_handshake_attacks.py::test_a_lost_message",
    "tests/transport/test_handshake_attacks.py::test_a_message_",
    "tests/transport/test_handshake_attacks.py::test_a_translator_between_two_forms",
    "tests/transport/test_handshake_attacks.py::test_cut_and_lengthened",
    "tests/transport/test_handshake_attacks.py::test_fields_of_zeros",
    "tests/transport/test_handshake_attacks.py::test_messages_out_of_their_turn",
    "tests/transport/test_handshake_attacks.py::test_no_altered_message_makes_a_session",
    "tests/transport/test_handshake_attacks.py::test_replay_of_an_old_session",
    "tests/transport/test_handshake_attacks.py::test_sessions_whose_messages_cross",
    "tests/transport/test_handshake_attacks.py::test_splice_of_two_sessions",
    # long walks through states
    "tests/agents/test_chart.py::test_the_order_of_lines",
    "tests/agents/test_module_manager.py::test_any_story",
    "tests/agents/test_module_model.py",
    "tests/agents/test_module_selection.py::TestWalk",
    "tests/agents/test_rollout.py::test_it_goes_on",
    "tests/agents/test_store.py::test_memory_and_disk_agree",
    "tests/agents/test_trace_index.py::test_grown",
    "tests/transport/test_bip_pair.py",
    "tests/transport/test_cat_tp_network.py",
    "tests/transport/test_cell_broadcast_assembler.py::TestUpdates",
    "tests/transport/test_cell_broadcast_assembler.py::test_any_packets",
    "tests/transport/test_handshake_model.py",
    # others' programmes at work, or none of ours: decoders, compilers, sources that are read
    "tests/agents/test_c_applications.py::test_odd_names",
    "tests/agents/test_c_applications.py::test_who_may_write_little",
    "tests/agents/test_module_applications.py",
    "tests/agents/test_module_at_rest.py",
    "tests/agents/test_sample_applications.py",
    "tests/bus/test_broker.py::test_starts",
    "tests/bus/test_capture.py",
    "tests/bus/test_vocabulary.py",
    "tests/transport/test_constant_time.py",
    "tests/transport/test_private_keys.py::test_a_key_of_openssl",
    "tests/transport/test_sms_pycrate.py",
    "tests/transport/test_x509.py::test_openssl_believes",
)
"""How the names of these tests begin."""
_REDUNDANT: Final = frozenset(Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").split())
"""Functions all of whose branches, but for one or two, others take too, as ``--cov-context=test`` shows."""
_CHILDREN: Final = "COVERAGE_PROCESS_CONFIG"  # by which coverage starts in processes that a test starts


def is_untraced(test: str) -> bool:
    """Return whether the tracer does not follow the test with this id."""
    return test.startswith(_UNTRACED) or test.partition("[")[0] in _REDUNDANT


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
