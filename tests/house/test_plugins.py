"""Every plugin folder has the same files and says the same things (style: the plugin folder)."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/manifest.toml"))
FILES = ("__init__.py", "config.py", "hooks.py", "service.py", "panel.py", "metrics.py", "errors.py", "docs.md")


def test_ok__there_are_plugins() -> None:
    assert PLUGINS


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_ok__folder_has_every_file(plugin: Path) -> None:
    assert not [file for file in FILES if not (plugin / file).is_file()]
    assert (plugin / "rules.py").is_file() or (plugin / "proto.py").is_file()
    assert list((plugin / "tests").glob("test_*.py"))


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_ok__entry_point_names_the_folder(plugin: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["waypost.plugins"][plugin.name].startswith(f"plugins.{plugin.name}.")


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_ok__docs_answer_the_four_questions(plugin: Path) -> None:
    text = (plugin / "docs.md").read_text().lower()
    assert not [part for part in ("config", "fail", "does not") if part not in text]
