"""What a reason means, in words: the codes that a step's outcomes have, for whoever sees one fail.

A code is for machines: it is counted, compared with what a config expects, and travels. The words are a
clause, as in "2 refused: the operator has blocked the resource". What has none here is told by its code.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from agents.fleet.expectations import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER_OUTPUT: Final = "other-output"
"""Stands for the reason where an application ran, and answered otherwise than was expected."""

WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # the resource
        "blocked": "the operator has blocked the resource",
        "expired": "the resource's time is over",
        "exhausted": "the resource's last execution is used up",
        "released": "the operator has released the resource",
        "revoked": "the operator has revoked the supplier",
        "unknown-resource": "there is no such resource, or none any more",
        "not-loaded": "nothing is loaded in the resource yet",
        "zone-full": "the module's memory has no room for it",
        "zone-fragmented": "the module's memory has room for it, but not in one piece",
        "definitions-full": "the module's table of resources is full",
        "unsupported-suite": "the module does not know the suite of cryptography",
        "unsupported-right": "the module does not have a right that was asked for",
        "bearer-not-reserved": "the resource was not reserved with that bearer",
        # who asks, and for what
        "unknown-service": "nobody offers or has agreed on such a service",
        "unknown-module": "nobody knows a module of this address",
        "subscription-none": "the operator has no such subscription",
        "service-of-another": "the service is another supplier's",
        "replayed": "it was taken before, or is older than what was",
        "bad-signature": "a signature does not hold",
        "no-session": "the two ends have no session any more",
        "integrity-failed": "the module found the packet altered, or made under other keys",
        "cntr-low": "the module has seen the packet's counter before",
        "tar-unknown": "the module has nothing at the address in the packet",
        "insufficient-security-level": "the packet was less protected than the resource asks for",
        "not-from-the-console": "it was not made with the key of this run",
        "of-an-earlier-run": "it was said in an earlier run",
        "signature": "a signature does not hold",
        "meant-for-another": "it was signed for somebody else",
        "not-our-operator": "it was not signed by the module's operator",
        "unknown-role": "nobody certified a role of this name",
        "wrong-suite": "its sender was certified with another suite of cryptography",
        "not-my-operator": "only its operator may tell a supplier that",
        "not-my-business": "who was asked does not do such things",
        "unexpected-reply": "nobody had asked that",
        "mailbox-full": "its recipient had too much to do",
        # the application
        "application-refused": "the application itself said no",
        OTHER_OUTPUT: "the application gave another answer than was expected",
        "out-of-fuel": "the application ran for longer than it may",
        "unreachable": "the application gave up in the middle of its run",
        "outside-memory": "the application reached outside its resource",
        "version-not-newer": "the module has that version or a newer one",
        # broadcasts
        "no-domain-key": "there is no domain key for the service",
        "left-out": "the module is left out of the domain's next key",
        "other-reservation": "the domain key was wrapped for another of the module's reservations",
        "too-long-to-broadcast": "it does not fit into one cell broadcast message",
        "campaign-running": "another campaign of the service is on the air",
        "campaign-paused": "the campaign is paused",
        "nobody-asked": "report_share is so small that no module at all is to report",
        "too-many-errors": "too many modules reported errors, and the campaign was stopped",
        "too-few-successes": "too few modules took it, and the campaign was stopped",
        "aborted": "the campaign was aborted",
        "deadline": "the campaign's time was over",
        "not-heard": "the handset did not tell that its module took it",
        # the way there
        "no-answer": "nobody answered, however often it was asked",
        "no-report": "no delivery report came, however often the short message was sent",
        "validity-expired": "the short message waited for the handset for longer than it is valid",
        "no-response": "the module was reached, and did not answer in time",
        "no-link": "the module has no channel to that server",
        "link-lost": "the module's channel was lost",
        "no-bearer": "the service has no bearer that is left to try",
        "not-sent": "the handset could not send it",
        "no-terminal-profile": "nobody told the module what its handset can do",
        "switched-off": "the handset was switched off before it could send it",
    }
)
_PATTERNS: Final = (
    (re.compile(r"subscription-([a-z]+)"), "the subscription is {0} in the operator's books"),
    (re.compile(r"terminal-lacks-([a-z-]+)"), "the handset has no {0}"),
    (re.compile(r"([a-z-]+)-when-([a-z]+)"), "a resource that is {1} takes no {0}"),
)
_WITHOUT: Final[Mapping[Result, str]] = {
    Result.OK: "it went well, and was not expected to",
    Result.REFUSED: "a party said no, and not why",
    Result.FAILED: "nobody tells why",
}


def in_words(result: Result, reason: str) -> str:
    """Return why a target ended in *result*, as a clause: words for *reason*, else the code itself."""
    if not reason:
        return _WITHOUT[result]
    if reason in WORDS:
        return WORDS[reason]
    for pattern, words in _PATTERNS:
        if match := pattern.fullmatch(reason):
            return words.format(*match.groups())
    return reason
