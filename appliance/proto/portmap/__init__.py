"""Asking a home router for an outside UDP port: NAT-PMP, PCP and UPnP IGD, as codecs (derp spec section 10)."""
