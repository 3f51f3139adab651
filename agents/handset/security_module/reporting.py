"""A module tells its supplier what became of a broadcast campaign, if the campaign asks it to.

Nobody answers a broadcast. Afterwards those report whom the signed manifest asks
(``transport.diffusion.reporting``), each at a moment of its own within the time that it gives, so that ten
thousand modules do not answer at once. What there is to report is what the supplier signed: that it was
loaded, that it was there before, or that it cannot be taken here, and why. Of what a forger made, nothing.

The moment comes as any other (``moments``). A report goes out as a call does, in short messages to the
supplier's number, and is answered by nobody either. Where the network does not take it the module draws
another moment, a few times.

There is one report for a resource: that of its latest campaign, and of that one the first, unless what was
refused could be loaded after all. A carousel that goes on, or the order given again, brings no second one.
All of this is volatile: a module that loses power between loading and reporting does not remember that it has
something to say. If the campaign is still on the air it hears it again, and reports that it holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agents.handset.security_module import moments
from agents.handset.security_module.outgoing import send_command
from agents.messages.campaign_reports import Outcome, Said, sign_report
from agents.messages.codec import encode
from transport.diffusion import draw_delay_s, is_asked, report_keys, seal_report
from transport.toolkit import TerminalResult

if TYPE_CHECKING:
    from agents.handset.security_module.core import Core
    from agents.handset.security_module.definitions import Definition
    from transport.diffusion import Manifest
    from transport.toolkit import ProactiveCommand, TerminalResponse

REPORTED: Final = "diffusion.reported"
"""The note that the module leaves when it has handed a report to its terminal."""
MOST_TRIES: Final = 3


@dataclass(slots=True, kw_only=True)
class Report:
    """What a module has to say of a campaign until ``due``; None once it was said, or given up."""

    manifest: Manifest
    outcome: Outcome
    reason: str
    due: float | None
    tries: int = 0
    parts: tuple[ProactiveCommand, ...] = field(default=(), repr=False)
    """The short messages that the terminal was asked to send and has not spoken of yet."""

    @property
    def order(self) -> tuple[int, int]:
        """What says which of two campaigns is the later."""
        return self.manifest.generation, self.manifest.campaign

    def replaces(self, other: Report) -> bool:
        """Whether this is news after *other*."""
        if self.order == other.order:
            return other.outcome is Outcome.REFUSED is not self.outcome
        return self.order > other.order


def ended(
    core: Core, definition: Definition, manifest: Manifest, outcome: Outcome, now: float, reason: str = ""
) -> None:
    """Take note of what became of a campaign for a resource; it is reported in its time, if at all."""
    if not is_asked(manifest, core.owner().ua):
        return
    report = Report(manifest=manifest, outcome=outcome, reason=reason, due=None)
    known = core.moments.reports.get(definition.tar)
    if known is not None and not report.replaces(known):
        return
    before = core.moments.earliest
    core.moments.reports[definition.tar] = report
    _draw(core, report, now)
    moments.set_timer(core, now, before)


def due(core: Core, now: float) -> None:
    """Send the reports whose moment has come."""
    for tar, report in core.moments.reports.items():
        if report.due is not None and report.due <= now:
            _send(core, tar, report, now)


def responded(core: Core, response: TerminalResponse, now: float) -> None:
    """Take the terminal's word on a short message, if it is of a report."""
    asked = core.fetched
    report = next(
        (each for each in core.moments.reports.values() if any(asked is part for part in each.parts)), None
    )
    if report is None:
        return
    if response.result is TerminalResult.OK:
        report.parts = report.parts if asked is not report.parts[-1] else ()
        return
    before = core.moments.earliest
    _again(core, report, now)
    moments.set_timer(core, now, before)


def _send(core: Core, tar: bytes, report: Report, now: float) -> None:
    """Hand the terminal a report on a resource."""
    report.due = None
    definition = core.definitions.by_tar(tar)
    assert definition is not None, "what takes a resource away takes its report too"
    manifest, ua = report.manifest, core.owner().ua
    said = Said(manifest.generation, manifest.campaign, manifest.version, int(report.outcome), report.reason)
    signed = sign_report(said, ua=ua, supplier=definition.supplier, tar=definition.tar, key=core.signing_key)
    keys = report_keys(core.domain_key(definition.domain_key))
    packet = seal_report(encode(signed), tar=definition.tar, keys=keys)
    report.tries += 1
    report.parts = send_command(core, packet, to=definition.supplier_number)
    if report.parts:
        core.note(REPORTED, reason=report.outcome.word, tar=definition.tar)
    else:
        _again(core, report, now)


def _again(core: Core, report: Report, now: float) -> None:
    """Put a report off that did not get away; after so many times it is given up."""
    report.parts = ()
    if report.tries < MOST_TRIES:
        _draw(core, report, now)


def _draw(core: Core, report: Report, now: float) -> None:
    report.due = now + draw_delay_s(report.manifest.report_within_s, core.rng)
