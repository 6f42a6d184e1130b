"""The configuration file of the gateway: read, checked as a whole, handed out as frozen dataclasses."""
