"""eBPF without a compiler: an assembler, the relay's program, the bpf(2) call. For drivers and the root helper."""
