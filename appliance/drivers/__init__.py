"""Linux implementations of the ports: the only home of sockets, ioctls and subprocesses of the core."""
