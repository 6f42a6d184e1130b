"""Settings that control has a node try: paths beside those of section 17 (control-protocol spec), and the time to
confirm within, in seconds."""

from __future__ import annotations

SETTINGS_PATH = "/waypost/settings"
CONFIRM_PATH = f"{SETTINGS_PATH}/confirm"
LEAST_CONFIRM_S, MOST_CONFIRM_S = 5.0, 3600.0
