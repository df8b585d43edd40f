import { GapState, type Frame, type TimeInterval } from 'powerstream-consumer';

/** Row of the table `gaps`: gap_id, state, start_time, end_time. */
export type GapRow = [string, string, string | null, string | null];

/** Returns the rows for a frame that reports gaps, or intervals that are not delivered. */
export function gapRows(frame: Frame): GapRow[] {
  switch (frame.kind) {
    case 'gap':
      return [row(frame.gap.gapId, state(frame.gap.state), frame.gap.interval)];
    case 'missing':
      return frame.intervals.map((interval) => row(`missing before ${time(interval.endTime) ?? 'now'}`, 'missing', interval));
    case 'skipped': {
      const { count, sequence, interval } = frame.skipped;
      return [row(`skipped at ${sequence.toString()}`, `${count.toString()} skipped`, interval)];
    }
    default:
      return [];
  }
}

function row(id: string, state: string, interval: TimeInterval | undefined): GapRow {
  return [id, state, time(interval?.startTime), time(interval?.endTime)];
}

/** A newer gateway may have further states: their number. */
function state(state: GapState): string {
  const name = (GapState as Record<number, string | undefined>)[state];
  return name?.replace('GAP_STATE_', '').toLowerCase().replaceAll('_', ' ') ?? String(state);
}

function time(time: Date | undefined): string | null {
  return time === undefined || Number.isNaN(time.getTime()) ? null : time.toISOString();
}
