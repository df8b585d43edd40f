import { parseArgs, type ParseArgsConfig } from 'node:util';

import type { ClientOptions, SubscribeOptions } from 'powerstream-consumer';

import { UsageError } from './exit.js';

/** Flags and environment: the table "Flags" of PROTOCOL.md. */
export interface Config extends ClientOptions, SubscribeOptions {
  cursorFile: string | undefined;
  /** End once so many events were printed. */
  count: number;
}

const VARIABLES = {
  addr: 'GATEWAY_ADDR',
  'ca-file': 'GATEWAY_CA_FILE',
  'cert-file': 'GATEWAY_CERT_FILE',
  'key-file': 'GATEWAY_KEY_FILE',
  'token-file': 'GATEWAY_TOKEN_FILE',
  account: 'GATEWAY_ACCOUNT',
  consumer: 'GATEWAY_CONSUMER',
  'any-of': 'ANY_OF',
  'cursor-file': 'CURSOR_FILE',
  start: 'START',
  'resume-policy': 'RESUME_POLICY',
  heartbeat: 'HEARTBEAT',
  count: 'COUNT',
} as const;

type Flag = keyof typeof VARIABLES;

export function parseConfig(args: string[], env: NodeJS.ProcessEnv): Config {
  const flags = parseFlags(args);
  const given = (flag: Flag): string | undefined => flags.values[flag] ?? nonEmpty(env[VARIABLES[flag]]);

  const caFile = given('ca-file');
  const certFile = given('cert-file');
  const tls = flags.tls || caFile !== undefined || certFile !== undefined || zeroOrOne('GATEWAY_TLS', env.GATEWAY_TLS);
  return {
    address: `${tls ? 'https' : 'http'}://${hostAndPort(given('addr') ?? '127.0.0.1:50051')}`,
    caFile,
    certFile,
    keyFile: given('key-file'),
    bearerFile: given('token-file'),
    account: given('account'),
    consumer: given('consumer') ?? 'example-node',
    filter: { anyOf: tags(given('any-of') ?? '') },
    cursorFile: given('cursor-file'),
    start: startOf(given('start') ?? 'latest'),
    resumePolicy: oneOf('--resume-policy', given('resume-policy') ?? 'fail', ['fail', 'earliest', 'latest']),
    heartbeatSeconds: wholeNumber('--heartbeat', given('heartbeat') ?? '10', 1, 60),
    count: countOf(given('count')),
  };
}

function startOf(text: string): 'latest' | 'earliest' | Date {
  if (text === 'latest' || text === 'earliest') {
    return text;
  }
  const time = new Date(/^\d{4}-\d\d-\d\d[Tt].*([Zz]|[+-]\d\d:\d\d)$/.test(text) ? text : NaN);
  if (Number.isNaN(time.getTime())) {
    throw new UsageError(`--start: latest, earliest or an RFC 3339 time expected, not ${JSON.stringify(text)}`);
  }
  return time;
}

function parseFlags(args: string[]): { tls: boolean; values: Partial<Record<Flag, string>> } {
  const options: ParseArgsConfig['options'] = { tls: { type: 'boolean' } };
  for (const flag of Object.keys(VARIABLES)) {
    options[flag] = { type: 'string' };
  }
  try {
    const { tls, ...values } = parseArgs({ args, options, strict: true, allowPositionals: false }).values;
    return { tls: tls === true, values };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function tags(text: string): string[] {
  return text
    .split(',')
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '');
}

function countOf(text: string | undefined): number {
  return text === undefined ? Infinity : wholeNumber('--count', text, 1, Number.MAX_SAFE_INTEGER);
}

function hostAndPort(text: string): string {
  const addr = text.replace(/^dns:\/\/\//, '');
  const [, port] = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(\d{1,5})$/.exec(addr) ?? [];
  if (port === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw new UsageError(`--addr: HOST:PORT expected, not ${JSON.stringify(text)}`);
  }
  return addr;
}

function zeroOrOne(name: string, text: string | undefined): boolean {
  return oneOf(name, nonEmpty(text) ?? '0', ['0', '1']) === '1';
}

function oneOf<const T extends string>(name: string, text: string, choices: readonly T[]): T {
  const choice = choices.find((choice) => choice === text);
  if (choice === undefined) {
    throw new UsageError(`${name}: ${choices.join(' or ')} expected, not ${JSON.stringify(text)}`);
  }
  return choice;
}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < min || number > max) {
    throw new UsageError(`${name}: a whole number from ${min} to ${max} expected, not ${JSON.stringify(text)}`);
  }
  return number;
}
