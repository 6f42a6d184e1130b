"""A network of an ordinary user's own: a process in a new user and network namespace, and what it hands out."""
