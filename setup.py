"""Nothing but the wheel's tag: with the native packet step built (tools/build_native.sh) a wheel is for one machine."""

from pathlib import Path

from setuptools import Distribution, setup

BUILT = any((Path(__file__).parent / "appliance/native").glob("_native*.so"))


class WaypostDistribution(Distribution):
    def has_ext_modules(self) -> bool:
        """Whether the wheel holds code of one architecture."""
        return BUILT


setup(distclass=WaypostDistribution, options={"bdist_wheel": {"py_limited_api": "cp311"}} if BUILT else {})
