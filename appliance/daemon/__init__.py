"""`waypostd`: the entry point and the wiring of the gateway's process."""
