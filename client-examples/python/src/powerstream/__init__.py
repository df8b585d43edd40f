"""Consumer of powerstream-gateway: subscribes, reconnects, resumes without loss, and verifies the delivery contract.

It implements the loop of client-examples/PROTOCOL.md. `Client.subscribe` returns an endless sequence of frames. The caller makes
the effect of a frame durable together with its token, best in one transaction of its database, and asks for the next. After a
disconnect the client resumes with the token of the last frame that the caller has finished; after a restart the caller passes
the token that it stored. Each event then takes effect exactly once.

```python
client = Client("http://127.0.0.1:50051", consumer="indexer", any_of=["cats"], start=Start.EARLIEST)
async for frame in client.subscribe(stored_token):
    match frame:
        case Batch():
            ...  # frame.events
        case Gap():
            ...  # posts are lost if frame.is_loss
    ...  # Store frame.token in the same transaction, if it is not None.
```

`Client.subscribe_sync` is the same without asyncio. `Client.run` calls a `Handler` and handles its errors: it loads the token
again, waits, and delivers the frame again. The logger is `powerstream`.
"""

import os

# Before grpc is loaded: its core prints on stderr what the status of the call reports more clearly.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from ._client import Client
from ._cursor_file import CursorFile
from ._describe import describe, printable
from ._errors import (
    InvalidError,
    PermanentError,
    PoisonError,
    PositionError,
    RefusedError,
    StoppedError,
    UnfinishedError,
    UnsoundError,
)
from ._frames import (
    Batch,
    CaughtUp,
    Draining,
    FellBehind,
    Frame,
    Gap,
    Heartbeat,
    Missing,
    Notice,
    RequestWarning,
    RulesChanged,
    Skipped,
    Started,
    Unknown,
)
from ._observer import Disconnect, Observer, Progress
from ._options import ResumePolicy, Start
from ._runner import Failure, Handler

__all__ = [
    "Batch",
    "CaughtUp",
    "Client",
    "CursorFile",
    "Disconnect",
    "Draining",
    "Failure",
    "FellBehind",
    "Frame",
    "Gap",
    "Handler",
    "Heartbeat",
    "InvalidError",
    "Missing",
    "Notice",
    "Observer",
    "PermanentError",
    "PoisonError",
    "PositionError",
    "Progress",
    "RefusedError",
    "RequestWarning",
    "ResumePolicy",
    "RulesChanged",
    "Skipped",
    "Start",
    "Started",
    "StoppedError",
    "UnfinishedError",
    "Unknown",
    "UnsoundError",
    "describe",
    "printable",
]
