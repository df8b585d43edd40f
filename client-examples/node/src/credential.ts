import { readFile } from 'node:fs/promises';

import type { Config } from './config.js';

/** A file that CONNECT needs cannot be read. */
export class Unreadable extends Error {}

/** What CONNECT presents: a token, a client certificate with its key, both, or nothing. */
export interface Credential {
  token?: string;
  certificate?: Buffer;
  key?: Buffer;
}

/** Reads all files of the credential again: any of them may have been rotated. */
export async function readCredential({ tokenFile, certFile, keyFile }: Config): Promise<Credential> {
  return {
    token: tokenFile === undefined ? undefined : await readToken(tokenFile),
    certificate: certFile === undefined ? undefined : await readPem(certFile),
    key: keyFile === undefined ? undefined : await readPem(keyFile),
  };
}

export function isSame(one: Credential, other: Credential): boolean {
  const bytes = ({ certificate, key }: Credential): string => `${certificate ?? ''}\0${key ?? ''}`;
  return one.token === other.token && bytes(one) === bytes(other);
}

export async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new Unreadable(`cannot read ${path}: ${(error as Error).message}`);
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
