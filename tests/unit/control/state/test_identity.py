"""The server's keys on disk."""

from __future__ import annotations

import pytest

from appliance.ports.randomness import SeededRandomness
from appliance.types.errors import StateError
from control.state.identity import NOISE_KEY_FILE, load_identity


def test_ok__made_once_private_and_kept(tmp_path):
    first = load_identity(tmp_path / "data", SeededRandomness(1))
    again = load_identity(tmp_path / "data", SeededRandomness(2))
    assert first == again
    assert (tmp_path / "data" / NOISE_KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert first.noise.reveal()[31] & 0xC0 == 0x40


def test_fail__a_damaged_key_is_not_replaced(tmp_path):
    load_identity(tmp_path, SeededRandomness(1))
    (tmp_path / NOISE_KEY_FILE).write_text("privkey:00")
    with pytest.raises(StateError, match="does not hold a key"):
        load_identity(tmp_path, SeededRandomness(1))


def test_fail__no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot use the data folder"):
        load_identity(tmp_path / "file" / "data", SeededRandomness(1))


def test_ok__the_key_of_another_server_is_taken_over(tmp_path):
    other = load_identity(tmp_path / "other", SeededRandomness(1))
    source = tmp_path / "other" / NOISE_KEY_FILE
    for _ in range(2):
        assert load_identity(tmp_path / "data", SeededRandomness(2), source).noise == other.noise
    assert load_identity(tmp_path / "data", SeededRandomness(3)).noise == other.noise


@pytest.mark.parametrize(("content", "text"), [("privkey:00", "does not hold a key"), (None, "cannot read the key")])
def test_fail__no_key_to_take_over(tmp_path, content, text):
    source = tmp_path / "noise"
    if content is not None:
        source.write_text(content)
    with pytest.raises(StateError, match=text):
        load_identity(tmp_path / "data", SeededRandomness(1), source)


def test_fail__a_key_is_not_replaced_by_another(tmp_path):
    load_identity(tmp_path / "other", SeededRandomness(1))
    load_identity(tmp_path / "data", SeededRandomness(2))
    with pytest.raises(StateError, match="another key"):
        load_identity(tmp_path / "data", SeededRandomness(2), tmp_path / "other" / NOISE_KEY_FILE)
