"""Plugin `doctor`: has the network around this gateway looked at now and then, and shows what is wrong."""
