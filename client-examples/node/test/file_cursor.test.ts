import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

import { FileCursor, PositionError } from 'powerstream-consumer';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cursor-'));
  path = join(directory, 'cursor');
});

afterEach(() => rm(directory, { recursive: true }));

test('a token is replaced as a whole and found again', async () => {
  const cursor = await FileCursor.open(path);
  assert.equal(cursor.token, undefined);
  await writeFile(`${path}.new`, 'left over from a kill, and longer');
  for (const token of ['one', 'two']) {
    await cursor.store(token);
    assert.equal(await readFile(path, 'utf8'), `${token}\n`);
  }
  assert.deepEqual(await readdir(directory), ['cursor']);
  assert.equal((await FileCursor.open(path)).token, 'two');
});

test('a file without a token is refused and left as it is', async () => {
  for (const text of ['', '\n', 'two words', 'x'.repeat(1_025), 'b\0nary', 'one\ntwo\n']) {
    await writeFile(path, text);
    await assert.rejects(FileCursor.open(path), PositionError);
    assert.equal(await readFile(path, 'utf8'), text);
  }
});

test('a directory that does not exist is reported at once', async () => {
  await assert.rejects(FileCursor.open(join(directory, 'nowhere', 'cursor')), /cannot read the cursor file/);
});
