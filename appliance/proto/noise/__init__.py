"""Noise IK as the control protocol uses it: handshake machines, record layer (control-protocol spec section 4)."""
