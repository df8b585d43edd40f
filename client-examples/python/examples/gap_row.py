"""Row of the table `gaps`, the same for each database."""

from powerstream import Gap, Missing, Skipped


def gap_row(frame: Gap | Missing | Skipped) -> tuple[str, str, str | None, str | None]:
    """Return gap_id, state, start_time and end_time of a frame that reports a gap, or posts that are not delivered."""
    start, end = (None if at is None else at.isoformat() for at in (frame.start, frame.end))
    match frame:
        case Gap():
            return frame.id, frame.state, start, end
        case Missing():
            return f"missing before {end or 'now'}", "missing", start, end
        case Skipped():
            return f"skipped at {frame.message.sequence}", f"{frame.count} skipped", start, end
