/**
 * A consumer of powerstream-gateway: subscribes, reconnects, resumes without loss, and verifies that no event is missing or
 * repeated. It implements the loop of `client-examples/PROTOCOL.md`.
 *
 * @packageDocumentation
 */
export { Client } from './client.js';
export { describe, describeDisconnected, describeDraining, describeNotice, describeSession } from './describe.js';
export {
  InvalidError,
  PermanentError,
  PoisonError,
  PositionError,
  RefusedError,
  StoppedError,
  UnfinishedError,
  ViolationError,
} from './errors.js';
export { FileCursor } from './file_cursor.js';
export type {
  BatchFrame,
  CaughtUpFrame,
  DeadLetter,
  FellBehindFrame,
  Frame,
  GapFrame,
  MissingFrame,
  ProgressFrame,
  RulesChangedFrame,
  SkippedFrame,
} from './frame.js';
export type { Disconnected, Hooks } from './hooks.js';
export type { ClientOptions, SubscribeOptions } from './options.js';
export type { HandlerFailure, RunOptions } from './run.js';
export { Origin, type Event, type MatchedRule } from './gen/powerstream/gateway/v1/event.js';
export { GapCause, GapEvidence, GapState, type Gap } from './gen/powerstream/gateway/v1/gap.js';
export {
  DrainReason,
  Phase,
  RulesChangeCause,
  SkipReason,
  StartOutcome,
  StreamNoticeKind,
  UpstreamState,
  WarningCode,
  type ChangedRule,
  type Draining,
  type FellBehind,
  type Heartbeat,
  type Position,
  type RulesChange,
  type SessionStart,
  type Skipped,
  type StreamNotice,
  type TagFilter,
  type Warning,
} from './gen/powerstream/gateway/v1/stream_service.js';
export type { TimeInterval } from './gen/powerstream/gateway/v1/time_interval.js';
export type { Duration } from './gen/google/protobuf/duration.js';
