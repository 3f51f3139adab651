"""What suppliers and the user may do: connect, load, personalise, run; with any session, to any resource."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from agents.messages.air import Call, Invoke, LoadApplication, LoadData, Prove
from agents.messages.codec import decode, encode
from tests.agents.module_kit import UA, Supplier, manage
from tests.agents.module_model.card import PROGRAMMES
from tests.agents.module_model.teller import Teller, picks
from transport.secured_packet import ResponseStatus

if TYPE_CHECKING:
    from tests.agents.module_model.model import Programme

programmes = st.sampled_from([*PROGRAMMES, PROGRAMMES[0], PROGRAMMES[0], PROGRAMMES[1]])
steps = st.sampled_from([1, 2, 1, 0, -1])
"""From the version that is loaded to the next one."""
arguments = st.one_of(
    st.binary(max_size=40).map(lambda octets: b"\0" + octets),
    st.sampled_from([b"", b"\1", b"\2", b"\1said no", b"\2trap", b"\3"]),
)
runs = st.lists(arguments, min_size=1, max_size=3)


class SupplierRules(Teller):
    """Calls and proofs, pieces of programmes, personal data, runs."""

    def __init__(self) -> None:
        super().__init__()
        self.called: dict[int, tuple[Supplier, bytes]] = {}

    # --- SER: connecting ---

    @rule(pick=picks)
    def call(self, pick: int) -> None:
        """Have the subscriber call a supplier, who does not answer yet."""
        tar = self.aim(pick)
        self.play(lambda: self.make_call(tar))

    def make_call(self, tar: bytes) -> int:
        """Choose "serve" at the handset; return the number of the call, 0 when it is refused."""
        supplier, number = self.owner(tar), len(self.called) + 1
        outcome = self.model.call(tar, number)
        shown = self.card.use_menu(2, supplier.service)
        if outcome.reasons:
            [text] = shown
            self.expect(text.removeprefix("Refused: "), outcome)
            return 0
        assert shown == []
        to, data = self.card.take_command()
        message = decode(data, Call)
        assert (to, message.tar) == (supplier.number, tar)
        self.called[number] = supplier, message.opening
        return number

    @precondition(lambda self: self.called)
    @rule(pick=picks)
    def prove(self, pick: int) -> None:
        """Answer any call that there ever was."""
        self.play(lambda: self.answer(1 + pick % len(self.called)))

    def answer(self, number: int) -> None:
        """Send the supplier's proof for a call; take the module's own."""
        supplier, opening = self.called[number]
        outcome = self.model.prove(supplier.tar, number)
        responder = supplier.responder(UA, "x25519", self.market.public)
        proof = responder.receive(opening)
        assert proof is not None
        data = encode(Prove(tar=supplier.tar, proof=proof))
        if outcome.reasons:
            replied = manage(self.card, data)
            assert replied.status is ResponseStatus.INSUFFICIENT_SECURITY_LEVEL
            self.expect(self.card.reasons[-1], outcome)
            return
        replied = manage(self.card, data)
        assert replied.status is ResponseStatus.POR_OK
        responder.receive(replied.data)
        assert responder.keys is not None
        self.keys[number], self.counters[number] = responder.keys, 0

    @rule(pick=picks)
    def connect(self, pick: int) -> None:
        """Call and answer at once."""
        tar = self.aim(pick)
        self.play(lambda: self.make_session(tar))

    def make_session(self, tar: bytes) -> None:
        """Call, and answer if it comes to that."""
        number = self.make_call(tar)
        if number:
            self.answer(number)

    # --- under a session ---

    def session_of(self, tar: bytes) -> int | None:
        """Return the session that a resource has."""
        known = self.model.resources.get(tar)
        return known.session if known else None

    def target(self, pick: int, *, state: str = "") -> tuple[bytes, int]:
        """Return a TAR and the session to speak to it under: mostly its own, else any that ever was."""
        tar = self.aim(pick, state=state)
        known = self.model.resources.get(tar)
        own = known.session if known else None
        sessions = sorted(self.keys)
        return tar, sessions[pick // 5 % len(sessions)] if pick % 5 == 4 or own is None else own

    @precondition(lambda self: self.keys)
    @rule(pick=picks, programme=programmes, step=steps, second=st.booleans())
    def load_half(self, pick: int, programme: Programme, step: int, second: bool) -> None:  # noqa: FBT001 -- drawn
        """Send one half of a programme, whatever was sent before."""
        tar, session = self.target(pick)
        version = self.version(tar, step)
        self.play(lambda: self.send_half(tar, session, programme, version, second=second))

    @precondition(lambda self: self.keys)
    @rule(pick=picks, programme=programmes, step=steps)
    def load(self, pick: int, programme: Programme, step: int) -> None:
        """Send a programme."""
        tar, session = self.target(pick)
        version = self.version(tar, step)
        self.play(lambda: self.send_half(tar, session, programme, version, second=False))
        self.play(lambda: self.send_half(tar, session, programme, version, second=True))

    def version(self, tar: bytes, step: int) -> int:
        """Return the version that is *step* after the one that is loaded, or what can be sent next to it."""
        known = self.model.resources.get(tar)
        return max(1, (known.version if known else 0) + step)

    def send_half(
        self, tar: bytes, session: int, programme: Programme, version: int, *, second: bool
    ) -> None:
        """Send the first or the second half of a programme."""
        code, half = programme.code, (len(programme.code) + 1) // 2
        octets, offset = (code[half:], half) if second else (code[:half], 0)
        message = LoadApplication(version=version, total=len(code), offset=offset, octets=octets)
        self.tell(tar, session, message, lambda: self.model.piece(tar, programme, version, second=second))

    @precondition(lambda self: self.keys)
    @rule(pick=picks, octets=st.binary(max_size=70))
    def personalise(self, pick: int, octets: bytes) -> None:
        """Give the application personal data."""
        tar, session = self.target(pick, state="loaded")
        self.play(lambda: self.give(tar, session, octets))

    def give(self, tar: bytes, session: int, octets: bytes) -> None:
        """Send personal data."""
        self.tell(tar, session, LoadData(octets=octets), lambda: self.model.personalise(tar, octets))

    @precondition(lambda self: self.keys)
    @rule(pick=picks, runs=runs, skip=st.sampled_from([0, 0, 5]))
    def invoke(self, pick: int, runs: list[bytes], skip: int) -> None:
        """Have the application run, in the next turns or in later ones."""
        tar, session = self.target(pick, state="loaded")
        for argument in runs:
            act = partial(self.model.invoke, tar, argument, counted=self.moment)
            message = Invoke(argument=argument)
            self.play(partial(self.tell, tar, session, message, act, skip=skip))

    # --- the user ---

    @rule(pick=picks, runs=runs)
    def use(self, pick: int, runs: list[bytes]) -> None:
        """Have the user run the application."""
        tar = self.aim(pick, state="loaded")
        for argument in runs:
            self.play(partial(self.run, tar, argument))

    def run(self, tar: bytes, argument: bytes) -> None:
        """Choose "use" at the handset; the display shows what the model says."""
        service = self.owner(tar).service
        outcome = self.model.invoke(tar, argument, counted=self.moment)
        shown = self.card.use_menu(3, service, argument.hex())
        if outcome.status:
            assert shown == ["Refused: application-refused"]
        elif outcome.reasons:
            self.expect("".join(shown).removeprefix("Refused: "), outcome)
        else:
            assert shown == ["Result: " + outcome.output.hex()]
