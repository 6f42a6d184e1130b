"""The local API: HTTP on a Unix socket, for the CLI and other programs of this machine."""
