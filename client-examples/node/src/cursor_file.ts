import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

import { CURSOR_BYTES_MAX } from './limits.js';

/** The cursor file holds something, but no resume token. */
export class CursorDamaged extends Error {}

/** The one place of the resume token: a file, or memory if there is none. */
export class CursorFile {
  #token: string | undefined;

  private constructor(
    private readonly path: string | undefined,
    token: string | undefined,
  ) {
    this.#token = token;
  }

  static async load(path: string | undefined): Promise<CursorFile> {
    if (path === undefined) {
      return new CursorFile(undefined, undefined);
    }
    try {
      // Found out now, and not when the first token is to be stored.
      await (await open(dirname(path))).close();
      return new CursorFile(path, await readToken(path));
    } catch (error) {
      throw error instanceof CursorDamaged ? error : failed('read', path, error);
    }
  }

  get token(): string | undefined {
    return this.#token;
  }

  /** Whatever kills the process, the file holds a whole token, the old one or this one. */
  async store(token: string): Promise<void> {
    if (this.path !== undefined) {
      try {
        await replace(this.path, token);
      } catch (error) {
        throw failed('write', this.path, error);
      }
    }
    this.#token = token;
  }
}

function failed(what: string, path: string, cause: unknown): Error {
  const words = cause instanceof Error ? cause.message : String(cause);
  return new Error(`cannot ${what} the cursor file ${path}: ${words}`, { cause });
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
    throw new CursorDamaged(
      `the cursor file ${path} does not hold a resume token: move it away to start by --start`,
    );
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
