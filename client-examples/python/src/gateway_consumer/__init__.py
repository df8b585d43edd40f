"""A consumer of powerstream-gateway that survives everything. PROTOCOL.md says in words what it does."""
