"""The userspace engine: WireGuard between a TUN device and a UDP port, in this process."""

from appliance.engine.userspace.engine import TimerLoop, UserspaceEngine

__all__ = ["TimerLoop", "UserspaceEngine"]
