"""Pages of the control server: pure, from values to HTML. `control.server` serves them."""
