"""Routes, policy rules, addresses, packet filter and NAT of the host: one model, compiled and applied atomically."""
