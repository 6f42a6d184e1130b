"""The native packet step of the userspace engine: the Rust crate under `crate/`, and its extension module when built.

Optional: `tools/build_native.sh` builds it, without it the engine works in pure Python. Imports nothing of Waypost.
"""

from appliance.native.loader import Native, NativeTransport, load, problem

__all__ = ["Native", "NativeTransport", "load", "problem"]
