"""Path finding: endpoints, disco, path choice, DERP connections, netcheck (magicsock-disco spec)."""
