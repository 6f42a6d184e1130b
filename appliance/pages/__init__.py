"""What our web pages share: rules for browsers' requests, sign-in by one-time code, looks. No sockets."""
