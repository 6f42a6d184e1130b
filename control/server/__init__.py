"""The listener of the control server, what it routes to, map sessions, and the wiring of the whole process."""
