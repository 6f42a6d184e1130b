"""Plugin `subnet_router`: offers attached networks to the mesh and installs the ones that peers offer."""
