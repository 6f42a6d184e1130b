from __future__ import annotations

from appliance.embed.errors import LoginNeededError, NodeError


def test_ok__the_page_to_open_is_at_hand() -> None:
    error = LoginNeededError("https://control.example.net/register/x")
    assert isinstance(error, NodeError)
    assert error.url in error.line()
    assert "auth_key" in error.mend
