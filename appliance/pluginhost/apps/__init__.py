"""The second placement: each plugin in a process of its own, spoken to over a channel."""
