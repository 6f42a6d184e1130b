"""Rules of the house that a reviewer would otherwise repeat: layout, sans-IO, sizes, plain words."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for top in ("appliance", "control", "plugins") for path in (ROOT / top).rglob("*.py"))
OWN = [path for path in SOURCES if "tests" not in path.parts and "migrations" not in path.parts]
IO_MODULES = {"socket", "asyncio", "os", "random", "secrets", "time", "subprocess", "threading", "select"}
MAX_LINES = 500


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", [p for p in OWN if p.is_relative_to(ROOT / "appliance/proto")], ids=name)
def test_ok__protocol_code_does_no_io(path: Path) -> None:
    assert not imported(path) & IO_MODULES, "time, randomness and addresses are arguments of protocol code"


@pytest.mark.parametrize("path", [p for p in OWN if p.name == "__init__.py"], ids=name)
def test_ok__package_file_only_re_exports(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    assert not [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


@pytest.mark.parametrize("path", OWN, ids=name)
def test_ok__file_reads_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES, "ask what second thing this file does"


@pytest.mark.parametrize("path", [p for p in OWN if p.name != "__init__.py"], ids=name)
def test_ok__module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), "a module opens with what it is"


def test_ok__every_exception_to_a_rule_has_its_reason() -> None:
    bare = []
    for path in SOURCES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.search(
                r"#\s*(noqa(?::\s*[A-Z0-9, ]+)?|type:\s*ignore(?:\[[^\]]*\])?|pragma: no cover)(.*)", line
            )
            if match and not re.search(r"[#(]?\s*\w{2,}", match.group(2)):
                bare.append(f"{name(path)}:{number}")
    assert not bare


def test_ok__nothing_unfinished_or_of_one_machine() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|/work/|/root/|NotImplementedError")
    hits = [
        f"{name(path)}:{number}"
        for path in [*SOURCES, *(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "Makefile"]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert not hits


@pytest.mark.parametrize("word", ["utils", "misc", "common", "helpers"])
def test_ok__modules_are_nouns(word: str) -> None:
    assert not [name(path) for path in SOURCES if path.stem == word or word in path.parts]


def test_ok__every_package_has_its_tests() -> None:
    packages = {
        path.parent.relative_to(ROOT)
        for path in OWN
        if path.name != "__init__.py" and path.parts[len(ROOT.parts)] in ("appliance", "control")
    }
    untested = []
    for package in sorted(packages):
        mirror = ROOT / "tests/unit" / Path(*package.parts[1:])
        mirror_full = ROOT / "tests/unit" / package
        if not any(folder.is_dir() and any(folder.rglob("test_*.py")) for folder in (mirror, mirror_full)):
            untested.append(str(package))
    assert not untested


def test_ok__dependencies_are_argued() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[~><=! ]", entry, maxsplit=1)[0].lower() for entry in wanted}
    text = (ROOT / "docs/dependencies.md").read_text().lower()
    assert not {entry for entry in names if f"`{entry}`" not in text}


def test_ok__lock_file_names_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[~><=! ]", entry, maxsplit=1)[0].lower() for entry in wanted}
    locked = {line.partition("==")[0].lower() for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert not names - locked


def test_ok__make_help_explains_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    promised = {"demo", "test", "test-all", "sim", "bench", "lint", "fmt", "help"}
    assert promised <= set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
