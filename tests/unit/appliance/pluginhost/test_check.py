"""`check` finds what the core would refuse or be hurt by, and says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.pluginhost.check import TargetError, check, check_candidate, main, points_of
from appliance.pluginhost.discovery import discover

pytestmark = pytest.mark.timeout(30)
"""Processes are started."""

ROOT = Path(__file__).resolve().parents[4]
ROUTES = ("appliance_contribute_routes",)
METHOD = "@hookimpl\ndef appliance_contribute_routes(self):\n    {body}\n"


def problems(point) -> dict[str, str]:
    found = discover([point])
    if found.refused:
        return {"manifest": found.refused[0].text}
    return {each.what: each.problem for each in check_candidate(found.candidates[0]) if each.problem}


def test_ok__good_plugin(install) -> None:
    assert problems(install("good", METHOD.format(body="return ['10.0.0.0/8']"), hooks=ROUTES)) == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_version": 9}, "plugin API 9"),
        ({"hooks": ("appliance_nonsense",)}, "appliance_nonsense"),
        ({"hooks": ROUTES}, "does not implement appliance_contribute_routes"),
        ({"config": "x: int"}, "no complete defaults"),
        ({"config": "enabled: bool = True"}, "the core's"),
        ({"config": "x: complex = 1j"}, "not plain"),
        ({"extra": "colour = 1"}, "plugin.colour"),
        ({"body": "raise RuntimeError('boom')"}, "boom"),
        ({"body": METHOD.format(body="return ['10.0.0.0/08']"), "hooks": ROUTES}, "normal form"),
        ({"body": METHOD.format(body="return ['10.0.0.0/8'] * 2"), "hooks": ROUTES}, "twice"),
        ({"body": METHOD.format(body="1 / 0"), "hooks": ROUTES}, "ZeroDivisionError"),
    ],
)
def test_fail__each_fault_is_named(install, options: dict[str, object], said: str) -> None:
    found = problems(install("bad", options.pop("body", ""), **options))
    assert said in " ".join(found.values()), found


def test_fail__form_of_no_setting(install) -> None:
    body = "@hookimpl\ndef appliance_status_panel(self):\n    return Panel('t', forms=(PanelForm('A', ('y',)),))\n"
    found = problems(install("bad", body, hooks=("appliance_status_panel",)))
    assert "['y'], which no form can hold" in found["appliance_status_panel"]


def test_fail__hook_that_hangs(install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.pluginhost.check.STALL_S", 0.05)
    point = install("bad", METHOD.format(body="while True: pass"), hooks=ROUTES)
    assert "did not return" in problems(point)["appliance_contribute_routes"]


def test_ok__our_own_plugins_pass() -> None:
    for folder in sorted((ROOT / "plugins").glob("*/manifest.toml")):
        found = check(str(folder.parent))
        assert not [each for findings in found.values() for each in findings if each.problem], folder


@pytest.mark.parametrize("target", ["no_such_plugin", str(ROOT / "docs"), "/"])
def test_fail__nothing_to_check(target: str) -> None:
    with pytest.raises(TargetError) as caught:
        points_of(target)
    assert caught.value.mend


def test_ok__as_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "appliance.pluginhost.check", "--json", str(ROOT / "plugins/subnet_router")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["ok"] is True
    monkeypatch.setattr(sys, "argv", ["check", "no_such_plugin"])
    assert main() == 1
    assert "neither an installed plugin nor a folder" in capsys.readouterr().err
