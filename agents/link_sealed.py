"""Each message by itself: encrypted to the other's key, signed with ours (HPKE; see ``sealing``).

There is nothing to be made first and nothing to be lost by a restart. Each message costs the work of two key
pairs, and one who gets a role's private key to open with reads all that was ever sealed to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agents.errors import MessageRejected
from agents.link_ways import SEALED, Heard
from transport.errors import SealRejected
from transport.security import sealing

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.directory import Directory, Party
    from agents.identity import RoleKeys
    from agents.link_ways import Letter, LinkForms

QUESTION: Final = b"otafleet question"
REPLY: Final = b"otafleet reply"


class SealedWay:
    """One role's end; *awaits* says whether a reply of that role with that reference is waited for."""

    def __init__(
        self,
        *,
        keys: RoleKeys,
        directory: Directory,
        forms: LinkForms,
        awaits: Callable[[str, bytes], bool],
    ) -> None:
        self._keys = keys
        self._directory = directory
        self._forms = forms
        self._awaits = awaits

    def session(self, to: str) -> bytes | None:
        """Return a label: there is nothing to open."""
        self._directory.party(to)
        return b""

    def open(self, to: str, now: float, *, patience_s: float) -> Letter | None:  # noqa: ARG002 -- nothing is opened
        """Return None."""
        return None

    def sent(self, to: str, letter: Letter) -> bool:  # noqa: ARG002 -- likewise
        """Return False."""
        return False

    def question(self, to: str, octets: bytes, reference: bytes) -> bytes:
        """See ``Way.question``."""
        return self._seal(octets, to=to, context=QUESTION, reference=reference)

    def reply(self, to: str, octets: bytes, reference: bytes) -> tuple[bytes | None, bytes]:
        """See ``Way.reply``: what is kept is the sealed reply."""
        sealed = self._seal(octets, to=to, context=REPLY, reference=reference)
        return sealed, sealed

    def again(self, to: str, kept: bytes, reference: bytes) -> bytes | None:  # noqa: ARG002 -- they are in it
        """See ``Way.again``."""
        return kept

    def take(self, source: str, octets: bytes, now: float) -> Heard | Letter | None:  # noqa: ARG002 -- likewise
        """See ``Way.take``; the sender is who sealed it, whatever its frame says."""
        sealed = sealing.SealedMessage.parse(octets)
        sender = self._directory.introduced(sealed.sender)
        if self._forms.between(self._keys.name, sealed.sender) != SEALED:
            raise MessageRejected("wrong-way", "sealed, where there are sessions")
        # The serial says whether this answers us; the context it was sealed under proves it.
        is_reply = self._awaits(sealed.sender, sealed.serial)
        try:
            opened = self._open(sealed, sender, REPLY if is_reply else QUESTION)
        except SealRejected:
            if self._is_reply(sealed, sender):
                # An answer to an earlier launch, or one that came twice: late, but nobody's fault.
                raise MessageRejected("unexpected-reply") from None
            raise
        if is_reply:
            self._directory.party(sealed.sender)
        return Heard(sender=sender, reference=sealed.serial, octets=opened, is_reply=is_reply)

    def forget(self, heard: Heard) -> None:
        """Do nothing: nothing was remembered."""

    def _seal(self, octets: bytes, *, to: str, context: bytes, reference: bytes) -> bytes:
        # Who asks may be told no, even when it is nobody any more; but it is asked nothing.
        look_up = self._directory.introduced if context == REPLY else self._directory.party
        recipient = look_up(to)
        return sealing.seal(
            octets,
            context=context,
            sender=self._keys.name,
            sender_key=self._keys.signing,
            recipient=to,
            recipient_public=recipient.sealing_public,
            recipient_suite=recipient.suite,
            serial=reference,
        )

    def _open(self, sealed: sealing.SealedMessage, sender: Party, context: bytes) -> bytes:
        return sealing.open_sealed(
            sealed,
            context=context,
            recipient=self._keys.name,
            sealing_key=self._keys.sealing,
            sender_public=sender.signing_public,
            sender_suite=sender.suite,
        )

    def _is_reply(self, sealed: sealing.SealedMessage, sender: Party) -> bool:
        try:
            self._open(sealed, sender, REPLY)
        except SealRejected:
            return False
        return True
