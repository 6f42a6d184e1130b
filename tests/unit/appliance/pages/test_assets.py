from __future__ import annotations

from pathlib import Path

import pytest

import control.web
import plugins.status_page
from appliance.pages.assets import PAGE_STATIC, STATIC, static_files, templates

FOLDERS = [Path(package.__path__[0]) for package in (plugins.status_page, control.web)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_ok__shared_files_and_own_ones(folder: Path) -> None:
    files = static_files(folder)
    assert set(files) == {*STATIC, *PAGE_STATIC}
    assert all(content for content, _ in files.values())
    assert len(list((folder / "static").iterdir())) == len(PAGE_STATIC), "what is not listed is not served"


@pytest.mark.parametrize("root", ["", "/status"])
def test_ok__links_lie_below_the_root(root: str) -> None:
    text = templates(FOLDERS[0], root).get_template("base.html").render()
    for name in ("base.css", "page.css", "mark.svg"):
        assert f'"{root}/static/{name}"' in text
