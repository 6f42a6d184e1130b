"""The kernel engine: the kernel's WireGuard device carries packets, this process steers it (magicsock-disco spec 6)."""

from appliance.engine.kernel.engine import KernelEngine

__all__ = ["KernelEngine"]
