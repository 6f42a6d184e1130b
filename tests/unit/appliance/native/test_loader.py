import importlib

import pytest

from appliance.engine.userspace.native_step import NativeStep
from appliance.native import load, loader, problem


def test_ok__a_built_module_has_no_problem(bulk: NativeStep) -> None:
    assert load() is not None
    assert problem() == ""


@pytest.mark.parametrize(("built", "said"), [(False, "is not built"), (True, "does not load: broken")])
def test_fail__says_why_there_is_none(monkeypatch, tmp_path, built: bool, said: str) -> None:
    def refuse(name: str) -> None:
        raise ImportError("broken")

    if built:
        (tmp_path / "_native.abi3.so").touch()
    monkeypatch.setattr(importlib, "import_module", refuse)
    monkeypatch.setattr(loader, "__file__", str(tmp_path / "loader.py"))
    loader._find.cache_clear()
    try:
        assert load() is None
        assert said in problem()
    finally:
        loader._find.cache_clear()
