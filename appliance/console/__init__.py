"""What programs with a command line share: their commands, their completion, how they end."""
