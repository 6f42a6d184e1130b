"""Direct paths through a NAT whose mapping depends on the destination (magicsock-disco spec 4)."""
