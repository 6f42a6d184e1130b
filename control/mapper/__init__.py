"""Pure: the mesh and its changes to map responses for each viewer, incremental (control-protocol spec section 10)."""
