"""What the gateway measures of itself, for Prometheus."""
