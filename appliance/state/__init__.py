"""What the gateway keeps across restarts: keys, preferences, logins; keyed by profile, versioned, crash-safe."""
