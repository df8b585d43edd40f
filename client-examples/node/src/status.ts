import { status, type ServiceError } from '@grpc/grpc-js';

import { ErrorInfo, RetryInfo } from './gen/google/rpc/error_details.js';
import { Status } from './gen/google/rpc/status.js';
import type { StatusEnding } from './retry_policy.js';

const DOMAIN = 'powerstream.gateway';

/** Reads the status that a call ended with, and its details. */
export function endingOf(error: ServiceError): StatusEnding {
  const ending: StatusEnding = { how: 'status', code: error.code, text: error.details || status[error.code] };
  for (const { typeUrl, value } of details(error)) {
    if (typeUrl.endsWith('/google.rpc.ErrorInfo')) {
      const info = ErrorInfo.decode(value);
      if (info.domain === DOMAIN) {
        ending.reason = info.reason;
      }
    } else if (typeUrl.endsWith('/google.rpc.RetryInfo')) {
      ending.retryDelay = milliseconds(RetryInfo.decode(value).retryDelay);
    }
  }
  return ending;
}

export function milliseconds(duration: { seconds: bigint; nanos: number } | undefined): number | undefined {
  return duration && Number(duration.seconds) * 1_000 + duration.nanos / 1e6;
}

function details(error: ServiceError): Status['details'] {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  if (!(bytes instanceof Buffer)) {
    return [];
  }
  try {
    return Status.decode(bytes).details;
  } catch {
    // Not what it should be: the same as none.
    return [];
  }
}
