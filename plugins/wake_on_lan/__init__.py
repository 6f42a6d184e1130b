"""Plugin `wake_on_lan`: wakes hosts of this site and of others, by name or hardware address."""
