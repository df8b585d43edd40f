import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Backoff } from '../src/backoff.js';

test('delays double up to the maximum, and start again after a sound frame', () => {
  const backoff = new Backoff(() => 0);
  const waits = Array.from({ length: 9 }, () => backoff.next());
  assert.deepEqual(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  backoff.reset();
  assert.equal(backoff.next(), 250);
});

test('jitter adds at most half', () => {
  assert.equal(new Backoff(() => 1).next(), 375);
});

test('what the gateway asks for is kept as it is, within bounds', () => {
  const backoff = new Backoff(() => 1);
  assert.equal(backoff.next(1_300), 1_300);
  assert.equal(backoff.next(1), 250);
  assert.equal(backoff.next(1e9), 600_000);
  assert.equal(backoff.next(0), 3_000);
});
