"""Every form of secure connection in every suite over every bearer, in fleets on a real broker."""

from __future__ import annotations

import itertools
import json
import shutil
from typing import TYPE_CHECKING, Final

import pytest

from tests.scenarios.kit import CONFIGS, modules, play
from transport.security.suites import SUITES
from transport.security.terms import DOMAIN_FORMS, FORM_NUMBERS

if TYPE_CHECKING:
    from pathlib import Path

BEARERS: Final = ("sms", "bip-tcp", "bip-udp")
WAYS: Final = tuple(itertools.product(FORM_NUMBERS, BEARERS))
CUSTODIES: Final = dict(zip(BEARERS, ("supplier", "operator", "supplier"), strict=True))
PREPARATION: Final = ("personalise", "agree", "subscribe", "reserve", "activate")
FLEET: Final = """\
[fleet]
name = "secure"
seed = 5
state = "{state}"

[[authority]]
name = "root"
suite = "x25519"

[[operator]]
name = "mno"
number = "15550100"
authority = "root"
suite = "{suite}"

[[supplier]]
name = "bank"
number = "15550200"
operator = "mno"
suite = "{suite}"

{services}

[[profile]]
name = "every"
suites = {suites}
buffer = 16384

[[handsets]]
name = "one"
count = 1
operator = "mno"
suite = "{suite}"
memory = 131072
profile = "every"
services = {names}
"""
SERVICE: Final = """
[[supplier.service]]
name = "{name}"
application = "apps/loyalty.wat"
backend = "loyalty"
code = 1024
data = 64
forms = ["{form}"]
bearers = ["{bearer}"]
"""
DOMAIN: Final = 'scope = "global"\ncustody = "{custody}"\n'
STEP: Final = '\n[[step]]\ndo = "{do}"\n{more}expect = {{ ok = "all" }}\n'


def _name(form: str, bearer: str) -> str:
    return f"{form}-{bearer}"


def _service(form: str, bearer: str) -> str:
    """Return a service for one way; its domain key, if any, is made now by one party, now by the other."""
    domain = DOMAIN.format(custody=CUSTODIES[bearer]) if form in DOMAIN_FORMS else ""
    return SERVICE.format(name=_name(form, bearer), form=form, bearer=bearer) + domain


def _config(directory: Path, suite: str) -> Path:
    shutil.copytree(CONFIGS / "apps", directory / "apps")
    services = "".join(_service(*way) for way in WAYS)
    text = FLEET.format(
        state=directory / "state",
        suite=suite,
        suites=json.dumps(list(SUITES)),
        services=services,
        names=json.dumps([_name(*way) for way in WAYS]),
    )
    text += "".join(STEP.format(do=do, more="") for do in PREPARATION)
    for way in WAYS:
        more = f'service = "{_name(*way)}"\n'
        text += STEP.format(do="serve", more=more) + STEP.format(do="invoke", more=more)
    path = directory / "secure.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("suite", SUITES)
def test_every_form_over_every_bearer(suite: str, tmp_path: Path) -> None:
    """Module, supplier and operator of one suite: each service is served and answers under its session."""
    report = play(_config(tmp_path, suite))
    assert report.missed == ()
    (module,) = modules(tmp_path / "state").values()
    found = {one["service"]: (one["forms"], one["bearers"], one["session"]) for one in module["definitions"]}
    assert found == {_name(*way): ([way[0]], [way[1]], True) for way in WAYS}
    assert {one["suite"] for one in module["definitions"]} == {suite}


def test_many_post_quantum_handshakes_of_one_module_at_once(tmp_path: Path) -> None:
    """Four calls at the same moment: each long response finds the one whom it was promised to, and room."""
    shutil.copytree(CONFIGS / "apps", tmp_path / "apps")
    names = [f"service{number}" for number in range(4)]
    text = FLEET.format(
        state=tmp_path / "state",
        suite="pq-hybrid",
        suites=json.dumps(["x25519", "pq-hybrid"]),
        services="".join(SERVICE.format(name=name, form="sign-then-agree", bearer="sms") for name in names),
        names=json.dumps(names),
    ).replace("buffer = 16384", "buffer = 65536\nmessages = 32\ncalls = 8\nproactive = 1024")
    text += "".join(STEP.format(do=do, more="") for do in (*PREPARATION, "serve", "invoke"))
    path = tmp_path / "many.toml"
    path.write_text(text, encoding="utf-8")
    report = play(path)
    assert report.missed == ()
    assert report.dropped == {}
