import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';

import { textOf } from './errors.js';
import type { CredentialFiles } from './options.js';

/** A file that CONNECT needs cannot be read. */
export class Unreadable extends Error {}

/** What CONNECT presents: a token, a client certificate with its key, both, or nothing. */
export interface Credential {
  token?: string | undefined;
  certificate?: Buffer | undefined;
  key?: Buffer | undefined;
}

/** Reads all files of the credential again: any of them may have been rotated. */
export async function readCredential({ bearer, certificate, key }: CredentialFiles): Promise<Credential> {
  return {
    token: bearer === undefined ? undefined : await readToken(bearer),
    certificate: certificate === undefined ? undefined : await readPem(certificate),
    key: key === undefined ? undefined : await readPem(key),
  };
}

export function isSame(one: Credential, other: Credential): boolean {
  const parts = ({ token, certificate, key }: Credential) => [token, certificate?.toString('latin1'), key?.toString('latin1')];
  return isDeepStrictEqual(parts(one), parts(other));
}

export async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new Unreadable(`cannot read ${path}: ${textOf(error)}`);
  }
}

/** The first line of the token file. */
async function readToken(path: string): Promise<string> {
  const [line = ''] = (await read(path)).toString('latin1').split('\n', 1);
  const token = line.trim();
  if (!/^[\x20-\x7e]+$/.test(token)) {
    throw new Unreadable(`cannot read a credential from ${path}: its first line is empty or not ASCII`);
  }
  return token;
}

async function readPem(path: string): Promise<Buffer> {
  const text = await read(path);
  if (!text.includes('-----BEGIN ')) {
    throw new Unreadable(`cannot read a credential from ${path}: it contains no PEM`);
  }
  return text;
}
