"""Generated interface of the gateway."""
