"""A consumer of powerstream-gateway that reconnects and resumes, as PROTOCOL.md specifies."""

import os

# Before grpc is loaded: its core prints on stderr what the status of the call reports more clearly.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
