import { parseArgs, type ParseArgsConfig } from 'node:util';

export type ResumePolicyFlag = 'fail' | 'earliest' | 'latest';
export type Start = 'latest' | 'earliest';

/** Flags and environment: the table "Flags" of PROTOCOL.md. */
export interface Config {
  /** `HOST:PORT`. */
  addr: string;
  tls: boolean;
  caFile?: string;
  certFile?: string;
  keyFile?: string;
  tokenFile?: string;
  account: string;
  consumer: string;
  anyOf: string[];
  cursorFile?: string;
  start: Start;
  resumePolicy: ResumePolicyFlag;
  heartbeatSeconds: number;
  /** End once so many events were printed. */
  count?: number;
}

/** The flags or the environment are wrong: the caller has to change them. */
export class UsageError extends Error {}

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
  const config: Config = {
    addr: hostAndPort(given('addr') ?? '127.0.0.1:50051'),
    tls: flags.tls || caFile !== undefined || certFile !== undefined || zeroOrOne('GATEWAY_TLS', env.GATEWAY_TLS),
    caFile,
    certFile,
    keyFile: given('key-file'),
    tokenFile: given('token-file'),
    account: given('account') ?? '',
    consumer: given('consumer') ?? 'example-node',
    anyOf: (given('any-of') ?? '').split(',').map((tag) => tag.trim()).filter((tag) => tag !== ''),
    cursorFile: given('cursor-file'),
    start: oneOf('--start', given('start') ?? 'latest', ['latest', 'earliest']),
    resumePolicy: oneOf('--resume-policy', given('resume-policy') ?? 'fail', ['fail', 'earliest', 'latest']),
    heartbeatSeconds: wholeNumber('--heartbeat', given('heartbeat') ?? '10', 1, 60),
    count: optional(given('count'), (text) => wholeNumber('--count', text, 1, Number.MAX_SAFE_INTEGER)),
  };
  if ((config.certFile === undefined) !== (config.keyFile === undefined)) {
    throw new UsageError('--cert-file and --key-file are given together');
  }
  if (config.tokenFile !== undefined && !config.tls && !isLoopback(config.addr)) {
    throw new UsageError(
      'a credential is sent only over TLS or to a loopback host: add --tls, or leave --token-file out',
    );
  }
  return config;
}

function parseFlags(args: string[]): { tls: boolean; values: Partial<Record<Flag, string>> } {
  const options: ParseArgsConfig['options'] = { tls: { type: 'boolean' } };
  for (const flag of Object.keys(VARIABLES)) {
    options[flag] = { type: 'string' };
  }
  try {
    const { tls, ...values } = parseArgs({ args, options, strict: true, allowPositionals: false }).values;
    return { tls: tls === true, values: values as Partial<Record<Flag, string>> };
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function optional<T>(text: string | undefined, read: (text: string) => T): T | undefined {
  return text === undefined ? undefined : read(text);
}

function hostAndPort(text: string): string {
  const addr = text.replace(/^dns:\/\/\//, '');
  const [, port] = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(\d{1,5})$/.exec(addr) ?? [];
  if (port === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw new UsageError(`--addr: HOST:PORT expected, not ${JSON.stringify(text)}`);
  }
  return addr;
}

function isLoopback(addr: string): boolean {
  const host = addr.slice(0, addr.lastIndexOf(':'));
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

function zeroOrOne(name: string, text: string | undefined): boolean {
  return oneOf(name, nonEmpty(text) ?? '0', ['0', '1']) === '1';
}

function oneOf<T extends string>(name: string, text: string, choices: readonly T[]): T {
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
