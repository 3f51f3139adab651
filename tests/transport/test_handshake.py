from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transport.handshake_kit import Parties, Run, answered, handmade_answer, offered, refused
from tests.transport.security_kit import seeded
from transport.errors import HandshakeRejected
from transport.security.handshake import Initiator, Responder
from transport.security.handshake_states import TRANSITIONS, Event, State
from transport.security.suites import SUITES, suite
from transport.security.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Callable

EACH_SUITE = pytest.mark.parametrize("kind", SUITES)


# What holds between honest parties


@EACH_SUITE
def test_both_sides_end_with_the_same_keys(kind: str) -> None:
    """An honest attempt establishes both sides, with one session between them."""
    run = Parties(kind).run()
    assert run.initiator.keys == run.responder.keys
    assert run.initiator.state is run.responder.state is State.ESTABLISHED


@pytest.mark.parametrize(("kind", "lengths"), [("x25519", [50, 129, 81]), ("p256", [51, 130, 81])])
def test_messages_fit_short_messages(kind: str, lengths: list[int]) -> None:
    """The three messages are as short as documented: each fits one short message of 137 octets."""
    assert [len(message) for message in Parties(kind).run().messages] == lengths


@EACH_SUITE
def test_keys_are_there_after_proof_only(kind: str) -> None:
    """The module has keys after m2 and the supplier after m3, and neither a step earlier."""
    parties = Parties(kind)
    initiator, responder = parties.initiator(), parties.responder()
    m1 = initiator.start()
    m2 = responder.receive(m1)
    assert m2 is not None
    for side in (initiator, responder):
        with pytest.raises(ValueError, match="no session keys"):
            _ = side.keys
    m3 = initiator.receive(m2)
    keys = initiator.keys
    with pytest.raises(ValueError, match="no session keys"):
        _ = responder.keys
    responder.receive(m3)
    assert responder.keys == keys


@EACH_SUITE
def test_every_session_has_keys_of_its_own(kind: str) -> None:
    """Two attempts between the same parties share no packet key: the long-term keys alone give none."""
    parties = Parties(kind)
    first, second = (parties.run().initiator.keys for _ in range(2))
    assert {first.dump()[at : at + 16] for at in range(1, 65, 16)}.isdisjoint(
        second.dump()[at : at + 16] for at in range(1, 65, 16)
    )


def test_the_keyset_index_is_the_one_agreed() -> None:
    """The session becomes the keyset that the terms name."""
    parties = Parties("x25519")
    parties.terms = replace(parties.terms, key_index=5)
    assert parties.run().responder.keys.to_module.index == 5


@EACH_SUITE
def test_the_octets_are_as_documented(kind: str) -> None:
    """An answer made by hand from the documentation is accepted, and gives the same session."""
    parties = Parties(kind)
    initiator, m1 = offered(parties)
    agreement = suite(kind).answer_agreement(m1[18:], seeded(9))
    m2, session = handmade_answer(parties.terms, parties.supplier, parties.module.public, m1, agreement)
    initiator.receive(m2)
    assert initiator.keys == session


@pytest.mark.parametrize("supplier", ["x25519", "p256"])
@pytest.mark.parametrize("module", ["x25519", "p256"])
@pytest.mark.parametrize("kind", ["x25519", "p256"])
def test_each_side_signs_in_its_own_suite(kind: str, module: str, supplier: str) -> None:
    """Any mixture of agreement and signature suites makes a session, the same on both sides."""
    run = Parties(kind, module=module, supplier=supplier).run()
    assert run.initiator.keys == run.responder.keys


def test_sides_that_differ_on_who_signs_how_make_no_session() -> None:
    """The suites of the signatures are in the transcript: terms that differ there end in a refusal."""
    parties = Parties("x25519", module="x25519", supplier="p256")
    initiator, m1 = offered(parties)
    # The same suite said in so many words is the same terms; another is not.
    same = replace(parties.terms, initiator_suite="")
    assert same.encode() == parties.terms.encode()
    other = Terms(
        suite="p256",
        form=parties.terms.form,
        initiator=parties.terms.initiator,
        responder=parties.terms.responder,
        tar=parties.terms.tar,
        initiator_suite="x25519",
    )
    assert other.encode() != parties.terms.encode()
    responder = Responder(other, parties.supplier, parties.module.public, parties.rng)
    assert refused(responder, m1) == "wrong-suite"
    assert initiator.state is State.OFFERED


def test_nothing_secret_is_shown() -> None:
    """The repr of a side shows no key, before and after the session is there."""
    run = Parties("x25519").run()
    for key in (run.initiator.keys.to_module.cipher_key, run.initiator.keys.from_module.mac_key):
        assert key.hex() not in repr(run.initiator)
        assert repr(key)[2:-1] not in repr(run.responder)


# The life of a side


@given(st.sampled_from(State), st.sampled_from(Event))
def test_the_table_leads_nowhere_else(state: State, event: Event) -> None:
    """Only a proven step leads to a session, nothing leads away from one, and nothing revives the dead."""
    after = TRANSITIONS.get((state, event))
    if after is State.ESTABLISHED and state is not State.ESTABLISHED:
        assert event in {Event.ANSWER, Event.PROOF}
    if state in {State.ESTABLISHED, State.DEAD}:
        assert after is (state if event is Event.REFUSED else None)
    if event is Event.REFUSED:
        assert after in {State.DEAD, state}


def sides(parties: Parties) -> dict[State, Callable[[], tuple[Initiator | Responder, tuple[bytes, ...]]]]:
    """Return, for each state, what makes a side in it and the messages of its attempt so far."""

    def ready() -> tuple[Initiator, tuple[bytes, ...]]:
        return parties.initiator(), parties.run().messages

    def waiting_for_answer() -> tuple[Initiator, tuple[bytes, ...]]:
        initiator, m1 = offered(parties)
        return initiator, (m1, answered(parties, m1)[1], parties.run().messages[2])

    def listening() -> tuple[Responder, tuple[bytes, ...]]:
        return parties.responder(), parties.run().messages

    def waiting_for_proof() -> tuple[Responder, tuple[bytes, ...]]:
        initiator, m1 = offered(parties)
        responder, m2 = answered(parties, m1)
        return responder, (m1, m2, initiator.receive(m2))

    def established() -> tuple[Responder, tuple[bytes, ...]]:
        run = parties.run()
        return run.responder, run.messages

    def dead() -> tuple[Initiator, tuple[bytes, ...]]:
        initiator, messages = waiting_for_answer()
        refused(initiator, b"")
        return initiator, messages

    makers = (ready, waiting_for_answer, listening, waiting_for_proof, established, dead)
    return dict(zip(State, makers, strict=True))


@pytest.mark.parametrize("event", [Event.OFFER, Event.ANSWER, Event.PROOF], ids=lambda event: event.name)
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_each_message_in_each_state(state: State, event: Event) -> None:
    """A good message leads where the table says; one that is not listed there is out of order."""
    side, messages = sides(Parties("x25519"))[state]()
    assert side.state is state
    octets = messages[[Event.OFFER, Event.ANSWER, Event.PROOF].index(event)]
    if (state, event) in TRANSITIONS:
        side.receive(octets)
        assert side.state is TRANSITIONS[state, event]
    else:
        with pytest.raises(HandshakeRejected) as caught:
            side.receive(octets)
        assert caught.value.reason == "out-of-order"
        assert side.state is TRANSITIONS[state, Event.REFUSED]


@EACH_SUITE
def test_a_session_that_stands_is_not_torn_down(kind: str) -> None:
    """Repeated, foreign and arbitrary messages to an established side are refused and leave its keys."""
    run: Run = Parties(kind).run()
    keys = run.initiator.keys
    for side in (run.initiator, run.responder):
        for octets in (*run.messages, b"", b"noise"):
            with pytest.raises(HandshakeRejected):
                side.receive(octets)
        assert side.keys == keys


def test_an_attempt_starts_once() -> None:
    """Starting twice, or after a refusal, is our own mistake and raises ValueError."""
    parties = Parties("x25519")
    initiator, _ = offered(parties)
    for _ in range(2):
        with pytest.raises(ValueError, match="starts once"):
            initiator.start()
        assert initiator.state in {State.OFFERED, State.DEAD}
        with pytest.raises(HandshakeRejected):
            initiator.receive(b"noise")


def test_a_failing_random_source_is_our_own_fault() -> None:
    """A random source that runs short raises ValueError and leaves the side as it was."""
    parties = Parties("x25519")
    _, m1 = offered(parties)
    parties.rng = lambda _: b""
    initiator, responder = parties.initiator(), parties.responder()
    with pytest.raises(ValueError, match="random source"):
        initiator.start()
    with pytest.raises(ValueError, match="random source"):
        responder.receive(m1)
    assert (initiator.state, responder.state) == (State.READY, State.LISTENING)


def test_keys_that_do_not_fit_the_terms() -> None:
    """A signing key of another suite, or the same key on both sides, raises ValueError."""
    x25519, p256 = Parties("x25519"), Parties("p256")
    with pytest.raises(ValueError, match="suite p256 in a handshake whose initiator signs in x25519"):
        Initiator(x25519.terms, p256.module, x25519.supplier.public, x25519.rng)
    with pytest.raises(ValueError, match="same signing key"):
        Responder(x25519.terms, x25519.supplier, x25519.supplier.public, x25519.rng)


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": "rot13"},
        {"form": "handwave"},
        {"initiator": b""},
        {"responder": bytes(65)},
        {"responder": b"8988211000000000018"},
        {"tar": b"\0\0"},
        {"key_index": 0},
        {"key_index": 16},
        {"protection": "rot13"},
    ],
)
def test_terms_refuse_to_exist_out_of_bounds(changes: dict[str, Any]) -> None:
    """Unknown names, missing or equal identities, and TARs and indexes that are none raise."""
    with pytest.raises(ValueError, match=r"."):
        replace(Parties("x25519").terms, **changes)


ANY_TERMS = st.builds(
    Terms,
    suite=st.sampled_from(list(SUITES)),
    form=st.just("agree-then-sign"),
    initiator=st.binary(min_size=1, max_size=3),
    responder=st.binary(min_size=4, max_size=6),
    tar=st.binary(min_size=3, max_size=3),
    key_index=st.integers(1, 15),
)


@given(ANY_TERMS, ANY_TERMS)
def test_other_terms_other_octets(left: Terms, right: Terms) -> None:
    """Two terms enter the transcript as the same octets only when they are the same."""
    assert (left.encode() == right.encode()) == (left == right)
