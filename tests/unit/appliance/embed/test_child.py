"""The child daemon, as far as it comes without a mesh."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.embed.child import ChildDaemon
from appliance.embed.errors import NodeError

pytestmark = pytest.mark.timeout(30)
"""Processes are started."""


async def test_fail__its_own_words_are_told(tmp_path: Path) -> None:
    (tmp_path / "waypost.toml").write_text("[tunnel]\nprot = 1\n")
    child = ChildDaemon.start(tmp_path, tmp_path / "waypostd.sock")
    try:
        with pytest.raises(NodeError) as caught:
            await child.wait_for(tmp_path / "waypostd.sock")
    finally:
        await child.close()
        await child.close()
    assert "tunnel.prot is not a known setting" in caught.value.text
    assert caught.value.mend == "did you mean port?"
    assert not Path(f"/proc/{child.pid}").exists()


def test_fail__a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="cannot be started"):
        ChildDaemon.start(tmp_path / "none", tmp_path / "waypostd.sock")
