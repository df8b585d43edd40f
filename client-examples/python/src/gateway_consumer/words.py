"""Frames as lines for people: the table "Output" of PROTOCOL.md."""

from google.protobuf.timestamp_pb2 import Timestamp
from powerstream.gateway.v1 import event_pb2, gap_pb2, stream_service_pb2 as api
from powerstream.gateway.v1.time_interval_pb2 import TimeInterval


def of(frame: api.SubscribeResponse) -> list[str]:
    """The lines of a frame; none for events and heartbeats, and for frames of a newer gateway."""
    kind = frame.WhichOneof("frame")
    if kind == "session_start":
        return _session(frame.session_start)
    if kind == "caught_up":
        return ["caught up: live from here"]
    if kind == "fell_behind":
        return [f"fell behind by {frame.fell_behind.lag_records} records: late, nothing is lost"]
    if kind == "gap_notice":
        return [_gap(frame.gap_notice.gap)]
    if kind == "skipped":
        skipped = frame.skipped
        reason = name(api.SkipReason, "SKIP_REASON_", skipped.reason)
        return [f"skipped {skipped.count} ({reason}) {_interval(skipped.interval)}: they cannot be delivered"]
    if kind == "stream_notice":
        notice = frame.stream_notice
        return [f"upstream {name(api.StreamNoticeKind, 'STREAM_NOTICE_KIND_', notice.kind).removeprefix('upstream ')}"
                f": {notice.message}"]
    if kind == "draining":
        reason = name(api.DrainReason, "DRAIN_REASON_", frame.draining.reason)
        return [f"draining ({reason}): the gateway ends this session soon"]
    return []


def origin(value: int) -> str:
    return _known(event_pb2.Origin, "ORIGIN_", value)


def name(enum: object, prefix: str, value: int) -> str:
    return _known(enum, prefix, value).lower().replace("_", " ")


def _known(enum: object, prefix: str, value: int) -> str:
    try:
        return enum.Name(value).removeprefix(prefix)  # type: ignore[attr-defined,no-any-return]
    except ValueError:
        # A newer gateway's.
        return str(value)


def _session(start: api.SessionStart) -> list[str]:
    outcome = name(api.StartOutcome, "START_OUTCOME_", start.outcome)
    lines = [f"session {start.session_id} with gateway {start.server_version} on account {start.account}: {outcome}"]
    lines += [f"missing: {_interval(missing)}" for missing in start.missing]
    for warning in start.warnings:
        # mypy resolves the type of `warning` to Python's own Warning.
        code = name(api.WarningCode, "WARNING_CODE_", warning.code)  # type: ignore[attr-defined]
        lines.append(f"warning ({code}): {warning.message}")  # type: ignore[attr-defined]
    lines += [_gap(gap) for gap in start.open_gaps]
    return lines


def _gap(gap: gap_pb2.Gap) -> str:
    whose = " of this consumer" if gap.private else ""
    state = name(gap_pb2.GapState, "GAP_STATE_", gap.state)
    cause = name(gap_pb2.GapCause, "GAP_CAUSE_", gap.cause)
    # Not by the state: a newer gateway may have further states.
    if gap.complete:
        result = "every missing post was delivered"
    else:
        result = "POSTS ARE LOST" if gap.closed else "posts may be missing"
    return f"gap {gap.gap_id}{whose} {state}: {_interval(gap.interval)} ({cause}): {result}"


def _interval(interval: TimeInterval) -> str:
    start = _time(interval.start_time) if interval.HasField("start_time") else "an unknown time"
    end = _time(interval.end_time) if interval.HasField("end_time") else "now"
    return f"from {start} to {end}"


def _time(time: Timestamp) -> str:
    try:
        return str(time.ToJsonString())
    except ValueError:
        return f"{time.seconds} s"
