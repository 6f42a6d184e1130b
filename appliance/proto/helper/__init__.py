"""What the daemon and its root helper say to each other: messages only, no IO."""
