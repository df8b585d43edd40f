import assert from 'node:assert/strict';
import { test } from 'node:test';

import { status } from '@grpc/grpc-js';

import { InvalidError, PositionError, RefusedError, ViolationError } from '../src/errors.js';
import { decide, type CredentialState } from '../src/retry_policy.js';

type Stopped = typeof InvalidError | typeof PositionError | typeof RefusedError | undefined;

function check(code: status, reason: string | undefined, credential: CredentialState, expected: Stopped): void {
  const decision = decide({ how: 'status', code, text: 'words', ...(reason && { reason }) }, credential);
  const stopped = decision.next === 'STOPPED' ? decision.error.constructor : undefined;
  assert.equal(stopped, expected, `${reason ?? 'no reason'} ${status[code]}`);
}

test('the reason decides, and the code only where the reason is not known', () => {
  check(status.UNAVAILABLE, 'DRAINING', 'none', undefined);
  check(status.RESOURCE_EXHAUSTED, 'CONSUMER_TOO_SLOW', 'none', undefined);
  check(status.INTERNAL, 'INTERNAL', 'none', undefined);
  check(status.UNAVAILABLE, 'RIGHTS_CHANGED', 'same', undefined);
  check(status.PERMISSION_DENIED, 'ACCESS_REVOKED', 'changed', RefusedError);
  check(status.INVALID_ARGUMENT, 'FILTER_INVALID', 'none', InvalidError);
  check(status.INVALID_ARGUMENT, 'TOKEN_INVALID', 'none', PositionError);
  check(status.OUT_OF_RANGE, 'POSITION_TOO_OLD', 'none', PositionError);
  check(status.PERMISSION_DENIED, 'ACCESS_DENIED', 'changed', RefusedError);
  check(status.OUT_OF_RANGE, 'OF_TOMORROW', 'none', PositionError);
  check(status.UNIMPLEMENTED, 'OF_TOMORROW', 'none', InvalidError);
  check(status.UNAUTHENTICATED, 'OF_TOMORROW', 'none', RefusedError);
  check(status.ABORTED, 'OF_TOMORROW', 'none', undefined);
});

test('credentials that may be refreshed are waited for', () => {
  check(status.UNAUTHENTICATED, 'CREDENTIALS_EXPIRED', 'same', undefined);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_EXPIRED', 'none', RefusedError);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_INVALID', 'same', RefusedError);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_INVALID', 'changed', undefined);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_REVOKED', 'same', RefusedError);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_REVOKED', 'changed', undefined);
  check(status.UNAVAILABLE, 'CREDENTIALS_OF_TOMORROW', 'changed', RefusedError);
});

test('an end without a reason of the gateway is the network', () => {
  for (const code of [status.OK, status.UNAVAILABLE, status.PERMISSION_DENIED, status.INVALID_ARGUMENT]) {
    check(code, undefined, 'none', undefined);
  }
});

test('the third unsound frame ends the sequence', () => {
  assert.deepEqual(decide({ how: 'unsound', text: 'x', times: 2 }, 'none'), { next: 'BACK_OFF', cause: 'UNSOUND: x' });
  const last = decide({ how: 'unsound', text: 'x', times: 3 }, 'none');
  assert(last.next === 'STOPPED' && last.error instanceof ViolationError);
  assert.equal(last.error.message, 'UNSOUND: x');
});
