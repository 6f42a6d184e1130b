"""Plugin `app_connector`: traffic to chosen names leaves the mesh here, by routes learned from what the names are."""
