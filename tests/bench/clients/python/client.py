"""A client of the fan-out benchmark: ADDRESS SUBSCRIBERS EVENTS.

Prints `ready` when all its subscribers are at the tip, and then how many events the slowest of them has. What is missing,
repeated or out of order ends it.
"""

import asyncio
import sys

import grpc
from powerstream.gateway.v1 import stream_service_pb2, stream_service_pb2_grpc

# A gateway's message may have 2 MiB.
MESSAGE_BYTES_MAX = 4 << 20


class Slowest:
    """How far all subscribers are."""

    def __init__(self, subscribers: int) -> None:
        self.subscribers = subscribers
        self.counts: dict[int, int] = {}
        self.printed: int | None = None

    def report(self, subscriber: int, count: int) -> None:
        self.counts[subscriber] = count
        least = min(self.counts.values())
        if len(self.counts) == self.subscribers and least != self.printed:
            self.printed = least
            print(least or "ready", flush=True)


async def read(address: str, subscriber: int, events: int, slowest: Slowest) -> None:
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = stream_service_pb2_grpc.StreamServiceStub(channel)
        count = sequence = 0
        async for response in stub.Subscribe(stream_service_pb2.SubscribeRequest()):
            kind = response.WhichOneof("frame")
            if kind == "caught_up":
                slowest.report(subscriber, 0)
            if kind != "event_batch":
                continue
            for event in response.event_batch.events:
                if event.sequence <= sequence:
                    raise ValueError(f"sequence {event.sequence} after {sequence}")
                sequence = event.sequence
                count += 1
            if response.event_batch.delivered_total != count:
                raise ValueError(f"delivered_total is {response.event_batch.delivered_total}, got {count}")
            slowest.report(subscriber, count)
            if count >= events:
                return
        raise ValueError("the stream ended")


async def main(address: str, subscribers: int, events: int) -> None:
    slowest = Slowest(subscribers)
    await asyncio.gather(*(read(address, nth, events, slowest) for nth in range(subscribers)))


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
