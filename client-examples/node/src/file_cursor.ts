import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

import { PositionError, textOf } from './errors.js';
import { CURSOR_BYTES_MAX } from './limits.js';

/** A resume token in a file of its own, for consumers without a database. One process per file. */
export class FileCursor {
  #token: string | undefined;

  private constructor(
    private readonly path: string,
    token: string | undefined,
  ) {
    this.#token = token;
  }

  /** Reads the file; a file that does not exist has no token. Rejects with {@link PositionError} if it holds none. */
  static async open(path: string): Promise<FileCursor> {
    try {
      // A directory that does not exist is reported now, and not when the first token is stored.
      await (await open(dirname(path))).close();
      return new FileCursor(path, await readToken(path));
    } catch (error) {
      throw error instanceof PositionError ? error : failed('read', path, error);
    }
  }

  /** The stored token. */
  get token(): string | undefined {
    return this.#token;
  }

  /**
   * Stores the token of a frame, after its effect is durable; without one it does nothing. After a crash at any moment the file
   * holds a whole token, this one or that before.
   */
  async store(token: string | undefined): Promise<void> {
    if (token === undefined || token === this.#token) {
      return;
    }
    try {
      await replace(this.path, token);
    } catch (error) {
      throw failed('write', this.path, error);
    }
    this.#token = token;
  }
}

function failed(what: string, path: string, cause: unknown): Error {
  return new Error(`cannot ${what} the cursor file ${path}: ${textOf(cause)}`, { cause });
}

async function readToken(path: string): Promise<string | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return undefined;
    }
    throw error;
  }
  const token = bytes.toString('latin1').replace(/[ \t\r\n]+$/, '');
  if (token.length > CURSOR_BYTES_MAX || !/^[\x21-\x7e]+$/.test(token)) {
    throw new PositionError('', `the cursor file ${path} does not hold a resume token: move it away to start by --start`);
  }
  return token;
}

async function replace(path: string, token: string): Promise<void> {
  const fresh = `${path}.new`;
  await writeSynced(fresh, `${token}\n`);
  await rename(fresh, path);
  await syncDirectory(dirname(path));
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A rename is on the disk when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
