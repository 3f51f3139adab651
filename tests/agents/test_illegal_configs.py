"""What a config is told of suites, forms, bearers, protections and profiles that do not go together.

What roles and modules refuse of it at run time is in ``test_illegal_combinations``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from agents.errors import ConfigError
from agents.fleet.config import load_config
from tests.agents.fleet_kit import fleet_config
from tests.agents.test_illegal_combinations import DH_SUITES, SAFE, UNSAFE
from transport.security.keyset import PROTECTIONS
from transport.security.suites import SUITES

if TYPE_CHECKING:
    from pathlib import Path

BANK: Final = 'operator = "mno"\nsuite = "p256"\n'
SERVICE: Final = '\n[[supplier.service]]\nname = "account"\n'
ACCOUNT: Final = 'rights = ["hmac"]\n'
CITY: Final = 'name = "city"\n'
STEPS: Final = "".join(
    f'\n[[step]]\ndo = "{do}"\n'
    for do in ("personalise", "agree", "subscribe", "reserve", "roll-operator-key", "roll-supplier-key")
)
ALL_SUITES: Final = str(list(SUITES)).replace("'", '"')
HYBRID_MNO: Final = (
    'authority = "root"\nsuite = "x25519"\n',
    'authority = "root"\nsuite = "pq-hybrid"\n',
)
"""The edit of the small fleet that has its operator sign in pq-hybrid."""


def service(*lines: str) -> tuple[str, str]:
    """Return the edit that adds *lines* to the bank's account."""
    return ACCOUNT, ACCOUNT + "".join(f"{line}\n" for line in lines)


def with_profile(text: str, *lines: str) -> str:
    """Return the fleet in *text* with a profile of these lines, which all modules have, and much memory."""
    text = text.replace("memory = 32768", 'profile = "own"\nmemory = 262144')
    return text + "\n".join(("", "[[profile]]", 'name = "own"', *lines, ""))


WRONG: Final[dict[str, tuple[tuple[str, str], str]]] = {
    "a suite that there is not": (
        (BANK, BANK.replace("p256", "rot13")),
        "supplier[0].suite: unknown suite 'rot13' (known: p256, pq-hybrid, rsa-2048-ffdh, rsa-ffdh, x25519)",
    ),
    "a form that there is not": (
        service('forms = ["trust"]'),
        (
            "supplier[0].service[0].forms[0]: unknown form 'trust' (known: agree-then-sign, "
            "domain-asymmetric, domain-symmetric, key-transport, sign-then-agree)"
        ),
    ),
    "a form twice": (
        service('forms = ["key-transport", "key-transport"]'),
        "supplier[0].service[0].forms: names a form twice",
    ),
    "a bearer that there is not": (
        service('bearers = ["pigeon"]'),
        "supplier[0].service[0].bearers[0]: unknown bearer 'pigeon' (known: bip, bip-tcp, bip-udp, sms)",
    ),
    "a protection that there is not": (
        service('protection = "aes-1"'),
        "supplier[0].service[0].protection: unknown protection 'aes-1' (known: "
        + ", ".join(PROTECTIONS)
        + ")",
    ),
    "a domain's form without a domain": (
        service('forms = ["domain-symmetric"]'),
        (
            'supplier[0].service[0].forms: domain-symmetric needs a domain key, which scope = "global" gives '
            "a service"
        ),
    ),
    "parameters of a suite that has none": (
        service('dh_base = "02"', f'dh_modulus = "{SAFE.hex()}"'),
        "supplier[0].service[0].dh_modulus: no-parameters: suite p256 takes no Diffie-Hellman parameters",
    ),
    "b without M": (
        service('dh_base = "02"'),
        "supplier[0].service[0].dh_base: b and M (dh_modulus) come together or not at all",
    ),
}


def told(path: Path, text: str) -> list[str]:
    """Return what is wrong with the fleet in *text*, without the file's name."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return [sentence.removeprefix(f"{path}: ") for sentence in caught.value.sentences]


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Return the file of the small fleet, which is good and has no steps."""
    return fleet_config(tmp_path, "").path


def edited(path: Path, edit: tuple[str, str]) -> str:
    """Return the fleet's text with the first of what is to be replaced, which must be there, replaced."""
    text = path.read_text(encoding="utf-8")
    assert edit[0] in text
    return text.replace(*edit, 1)


@pytest.mark.parametrize("case", WRONG)
def test_no_config_says_it(case: str, path: Path) -> None:
    """What does not go together is one sentence that names the key, before anything starts."""
    edit, sentence = WRONG[case]
    assert sentence in told(path, edited(path, edit))


@pytest.mark.parametrize("suite", DH_SUITES)
@pytest.mark.parametrize("case", [what for what, (base, modulus, _) in UNSAFE.items() if base and modulus])
def test_no_config_has_unsafe_parameters(case: str, suite: str, path: Path) -> None:
    """A group that is unsafe is told with its reason, in each suite that takes one."""
    base, modulus, reason = UNSAFE[case]
    lines = f'dh_base = "{base.hex()}"\ndh_modulus = "{modulus.hex()}"\n'
    edit = (BANK + SERVICE, BANK.replace("p256", suite) + SERVICE + lines)
    (sentence,) = told(path, edited(path, edit))
    assert sentence.startswith(f"supplier[0].service[0].dh_modulus: {reason}")


PROFILES: Final[dict[str, tuple[tuple[str, ...], tuple[str, str], str]]] = {
    "without the supplier's suite": (
        ('suites = ["x25519"]',),
        (CITY, CITY),
        "handsets[0].services: account needs the suite 'p256', which its modules lack",
    ),
    "without the protection": (
        ('protections = ["aes-128"]',),
        service('protection = "des"'),
        "handsets[0].services: account needs the protection 'des', which its modules lack",
    ),
    "without the operator's suite": (
        ('suites = ["x25519", "p256"]',),
        HYBRID_MNO,
        "handsets[0].operator: its modules cannot use suite 'pq-hybrid' of their operator",
    ),
    "without room for a key": (
        ("key = 32",),
        (CITY, CITY),
        "handsets[0].services: account has a supplier's key of 33 octets, and its modules take 32 (key)",
    ),
    "without room for the operator's key": (
        ("key = 1024", f"suites = {ALL_SUITES}"),
        HYBRID_MNO,
        "handsets[0].operator: has a key of 1984 octets, and its modules take 1024 (key)",
    ),
    "without room for a reservation": (
        ("buffer = 4096", f"suites = {ALL_SUITES}"),
        HYBRID_MNO,
        (
            "handsets[0].services: account needs packets of more than 3406 octets for its reservation, and "
            "its modules take 2918 (buffer)"
        ),
    ),
    "without room for a secure connection": (
        ("buffer = 4096", f"suites = {ALL_SUITES}"),
        (BANK, BANK.replace("p256", "pq-hybrid")),
        (
            "handsets[0].services: account needs packets of more than 4493 octets for its secure connection, "
            "and its modules take 2918 (buffer)"
        ),
    ),
    "without room for the operator's session": (
        ("buffer = 4096", f"suites = {ALL_SUITES}"),
        (HYBRID_MNO[0], f"{HYBRID_MNO[1].rstrip()}\noperator_session = true\n"),
        (
            "handsets[0].operator: 'mno' needs packets of more than 4493 octets for a session, and its "
            "modules take 2918 (buffer)"
        ),
    ),
    "without room for the operator's next key": (
        ("buffer = 6144", f"suites = {ALL_SUITES}"),
        HYBRID_MNO,
        (
            "handsets[0].operator: needs packets of more than 5357 octets for its next key, and its modules "
            "take 4377 (buffer)"
        ),
    ),
    "without room for the supplier's next key": (
        ("buffer = 8192", f"suites = {ALL_SUITES}"),
        (BANK, BANK.replace("p256", "pq-hybrid")),
        (
            "handsets[0].services: account needs packets of more than 7405 octets for its supplier's next "
            "key, and its modules take 5836 (buffer)"
        ),
    ),
    "without room for what it signs": (
        ("proactive = 16", f"suites = {ALL_SUITES}"),
        (
            'count = 2\noperator = "mno"\nsuite = "x25519"\n',
            'count = 2\noperator = "mno"\nsuite = "pq-hybrid"\n',
        ),
        (
            "handsets[0].suite: what its modules sign in 'pq-hybrid' takes 26 short messages at least, and "
            "16 may wait for the handset (proactive)"
        ),
    ),
}


@pytest.mark.parametrize("case", PROFILES)
def test_no_config_wants_of_a_module_what_its_profile_lacks(case: str, path: Path) -> None:
    """A profile without the suite, the protection or the room for what a step sends is told by its key."""
    lines, edit, sentence = PROFILES[case]
    assert sentence in told(path, with_profile(edited(path, edit), *lines) + STEPS)


def test_a_signature_that_no_broadcast_holds(path: Path) -> None:
    """Who signs with more octets than a cell broadcast has cannot announce, and may be shown not to."""
    text = with_profile(edited(path, HYBRID_MNO), f"suites = {ALL_SUITES}") + '\n[[step]]\ndo = "announce"\n'
    assert told(path, text) == [
        "step[0].do: 'mno' signs in 'pq-hybrid' with 3373 octets, and a cell broadcast has 1230"
    ]
    path.write_text(text + "expect = { refused = 3 }\n", encoding="utf-8")
    assert load_config(path).steps


@pytest.mark.parametrize(
    ("steps", "length", "of"),
    [
        (("introduce-operator",), 3264, "certificate"),
        (("introduce-operator", "roll-operator-key"), 5357, "next key"),
    ],
    ids=["a-certificate-of-both-keys", "a-roll-and-a-certificate-of-one"],
)
def test_a_certificate_that_no_packet_holds(steps: tuple[str, ...], length: int, of: str, path: Path) -> None:
    """The certificate of the enrolment has two keys; that of a later key, which would go, has one."""
    text = with_profile(edited(path, HYBRID_MNO), f"suites = {ALL_SUITES}", "buffer = 4096")
    text += "".join(f'\n[[step]]\ndo = "{step}"\n' for step in steps)
    expected = f"needs packets of more than {length} octets for its {of}, and its modules take 2918 (buffer)"
    assert told(path, text) == [f"handsets[{index}].operator: {expected}" for index in range(2)]
