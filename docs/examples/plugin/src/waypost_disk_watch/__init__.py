"""Plugin `disk_watch`: warns before a disk is full."""
