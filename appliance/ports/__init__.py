"""What the outside world must offer, as Protocol classes, each with an in-memory twin in the same module."""
