"""funcX's package of its client."""
