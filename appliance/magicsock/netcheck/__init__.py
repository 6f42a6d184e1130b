"""Measuring the network around us by STUN: plan, run, report, home region (derp spec section 9)."""

from appliance.magicsock.netcheck.report import NetcheckDone, Report

__all__ = ["NetcheckDone", "Report"]
