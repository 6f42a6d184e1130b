"""The reference page of the plugin API says what the code says."""

from __future__ import annotations

from pathlib import Path

from appliance.api import hookspecs
from appliance.api.testing import HOOK_CONTRACTS
from tools.hook_reference import PAGE, page

ROOT = Path(__file__).resolve().parents[2]


def test_ok__page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run: python -m tools.hook_reference"


def test_ok__every_hook_is_on_the_page_and_has_a_contract() -> None:
    names = [name for name in vars(hookspecs) if name.startswith(hookspecs.HOOK_PREFIX)]
    assert not [name for name in names if f"### {name}\n" not in PAGE.read_text()]
    assert set(names) == set(HOOK_CONTRACTS)


def test_ok__writing_guide_names_every_manifest_key() -> None:
    from appliance.pluginhost.manifest import Manifest

    text = (ROOT / "docs/plugins/writing.md").read_text()
    assert not [key for key in Manifest.__dataclass_fields__ if f"`{key}`" not in text]


def test_ok__the_raising_sample_knows_every_hook() -> None:
    folder = ROOT / "tests/samples/misbehaving/src/waypost_misbehaving/raises"
    manifest, code = (folder / "manifest.toml").read_text(), (folder / "hooks.py").read_text()
    assert not [name for name in HOOK_CONTRACTS if f'"{name}"' not in manifest or f"def {name}(" not in code]
