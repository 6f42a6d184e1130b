"""The userspace engine: WireGuard between a TUN device and a UDP port, in this process."""

from appliance.engine.userspace.engine import TimerLoop, UserspaceEngine
from appliance.engine.userspace.native_step import choose_step

__all__ = ["TimerLoop", "UserspaceEngine", "choose_step"]
