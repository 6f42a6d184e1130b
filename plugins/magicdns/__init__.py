"""Plugin `magicdns`: a resolver for the mesh's names and all others, for this host and the hosts of its site."""
