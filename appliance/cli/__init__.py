"""`waypost`: the command line of the gateway."""
