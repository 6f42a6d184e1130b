"""What `waypost doctor` and `waypost-control doctor` look at: the looks of both, and how they are run."""
