import assert from 'node:assert/strict';
import { test } from 'node:test';

import { status } from '@grpc/grpc-js';

import { decide, Exit, type CredentialState } from '../src/decision.js';

function check(code: status, reason: string | undefined, credential: CredentialState, exit: Exit | undefined): void {
  const decision = decide({ how: 'status', code, text: 'words', reason }, credential);
  assert.equal(decision.next === 'STOPPED' ? decision.exit : undefined, exit, `${reason} ${status[code]}`);
}

test('the reason decides, and the code only where the reason is not known', () => {
  check(status.UNAVAILABLE, 'DRAINING', 'none', undefined);
  check(status.RESOURCE_EXHAUSTED, 'CONSUMER_TOO_SLOW', 'none', undefined);
  check(status.INTERNAL, 'INTERNAL', 'none', undefined);
  check(status.UNAVAILABLE, 'RIGHTS_CHANGED', 'same', undefined);
  check(status.PERMISSION_DENIED, 'ACCESS_REVOKED', 'changed', Exit.REFUSED);
  check(status.INVALID_ARGUMENT, 'FILTER_INVALID', 'none', Exit.USAGE);
  check(status.INVALID_ARGUMENT, 'TOKEN_INVALID', 'none', Exit.POSITION);
  check(status.OUT_OF_RANGE, 'POSITION_TOO_OLD', 'none', Exit.POSITION);
  check(status.PERMISSION_DENIED, 'ACCESS_DENIED', 'changed', Exit.REFUSED);
  check(status.OUT_OF_RANGE, 'OF_TOMORROW', 'none', Exit.POSITION);
  check(status.UNIMPLEMENTED, 'OF_TOMORROW', 'none', Exit.USAGE);
  check(status.UNAUTHENTICATED, 'OF_TOMORROW', 'none', Exit.REFUSED);
  check(status.ABORTED, 'OF_TOMORROW', 'none', undefined);
});

test('credentials that may be refreshed are waited for', () => {
  check(status.UNAUTHENTICATED, 'CREDENTIALS_EXPIRED', 'same', undefined);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_EXPIRED', 'none', Exit.REFUSED);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_INVALID', 'same', Exit.REFUSED);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_INVALID', 'changed', undefined);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_REVOKED', 'same', Exit.REFUSED);
  check(status.UNAUTHENTICATED, 'CREDENTIALS_REVOKED', 'changed', undefined);
});

test('an end without a reason of the gateway is the network', () => {
  for (const code of [status.OK, status.UNAVAILABLE, status.PERMISSION_DENIED, status.INVALID_ARGUMENT]) {
    check(code, undefined, 'none', undefined);
  }
});

test('the third unsound frame ends the process', () => {
  assert.equal(decide({ how: 'unsound', text: 'x', times: 2 }, 'none').words, 'UNSOUND: x');
  assert.deepEqual(decide({ how: 'unsound', text: 'x', times: 3 }, 'none'), {
    next: 'STOPPED',
    exit: Exit.UNSOUND,
    words: 'error: UNSOUND: x',
  });
});
