"""`waypost-helper`: the one process of ours that runs as root. It knows a few verbs and nothing else."""
