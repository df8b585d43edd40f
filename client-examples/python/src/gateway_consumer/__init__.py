"""A consumer of powerstream-gateway that survives everything. PROTOCOL.md says in words what it does."""

import os

# Before grpc is loaded: what its core says on stderr is said again, in better words, by the status of the call.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
