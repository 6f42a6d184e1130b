"""The HTTP server inside the tunnel that peers speak to: one listener per own address, handlers by path."""
