"""The ts2021 transport: one connection's tunnel between socket and request handler."""
