"""Hook specs: form of each, and a contract for each."""

from __future__ import annotations

import inspect
import typing

import pytest

from appliance.api import hookspecs
from appliance.api.host import HostHandle
from appliance.api.testing import HOOK_CONTRACTS

SPECS = {name: spec for name, spec in vars(hookspecs).items() if name.startswith(hookspecs.HOOK_PREFIX)}
SECTIONS = ("Fires:", "Arguments:", "Return:", "Order:", "Raise:", "Budget:", "Added:")


@pytest.mark.parametrize("name", SPECS)
def test_ok__spec_is_documented_in_order(name: str) -> None:
    text = inspect.getdoc(SPECS[name]) or ""
    places = [text.find(f"\n{section} ") for section in SECTIONS]
    assert -1 not in places, f"{name} lacks {SECTIONS[places.index(-1)]}"
    assert places == sorted(places)


@pytest.mark.parametrize("name", SPECS)
def test_ok__spec_takes_the_host_first_and_is_annotated(name: str) -> None:
    hints = typing.get_type_hints(SPECS[name], vars(hookspecs))
    parameters = list(inspect.signature(SPECS[name]).parameters)
    assert parameters[0] == "host"
    assert hints["host"] is HostHandle
    assert set(hints) == {*parameters, "return"}


def test_ok__every_spec_has_its_contract() -> None:
    assert set(HOOK_CONTRACTS) == set(SPECS)


def test_ok__every_host_method_is_async() -> None:
    methods = {name: each for name, each in vars(HostHandle).items() if inspect.isfunction(each) and name[0] != "_"}
    assert methods
    assert {name for name, each in methods.items() if not inspect.iscoroutinefunction(each)} == {"changes"}, (
        "changes is an asynchronous iterator"
    )
