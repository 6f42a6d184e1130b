"""Plugin `exit_node`: sends this site's Internet traffic through a chosen peer, or offers this gateway as that peer."""
