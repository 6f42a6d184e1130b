"""Every operation of the control server, each with its authorisation and its audit entry inside."""
