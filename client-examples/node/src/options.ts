import type { TagFilter } from './gen/powerstream/gateway/v1/stream_service.js';
import { InvalidError } from './errors.js';
import type { Hooks } from './hooks.js';

/** How to reach a gateway. All files are read again for each session, so that a rotated credential takes effect. */
export interface ClientOptions {
  /** `http://host:port`, or `https://host:port` for TLS. */
  address: string;
  /** File whose first line is the bearer token. Sent only over TLS, or to a loopback host. */
  bearerFile?: string | undefined;
  /** PEM with the authorities to trust. Default: the authorities of Node. */
  caFile?: string | undefined;
  /** PEM with the client certificate and its intermediates. Only together with `keyFile`. */
  certFile?: string | undefined;
  /** PEM with the key of the certificate: PKCS#8, unencrypted. */
  keyFile?: string | undefined;
  /** Callbacks for logs and metrics. */
  hooks?: Hooks | undefined;
}

/** What to read, and from where. */
export interface SubscribeOptions {
  /** Name of the consumer in the gateway's logs and metrics, at most 128 bytes. */
  consumer: string;
  /** Account. Optional if the gateway has one account, or a `default_account`. */
  account?: string | undefined;
  /** Filter. Default: every event that the caller may read. */
  filter?: Partial<TagFilter> | undefined;
  /** Stored token of the last frame. Default: none, as at the first start. */
  token?: string | undefined;
  /**
   * Start without a token: `latest`, only new events; `earliest`, everything that the log contains; a time, the first record received
   * at or after it. Default: `latest`.
   */
  start?: 'latest' | 'earliest' | Date | undefined;
  /** What to do if the token is older than the recovery window. Default: `fail`, with a {@link PositionError}. */
  resumePolicy?: 'fail' | 'earliest' | 'latest' | undefined;
  /** Seconds between two frames at most, a whole number from 1 to 60. Default: 10. */
  heartbeatSeconds?: number | undefined;
  /** Ends the sequence in order. */
  signal?: AbortSignal | undefined;
}

/** Validated options of a client. */
export interface Endpoint {
  /** `HOST:PORT`. */
  readonly authority: string;
  readonly tls: boolean;
  readonly files: CredentialFiles;
}

export interface CredentialFiles {
  readonly bearer: string | undefined;
  readonly ca: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
}

/** Validates the options. Throws InvalidError. */
export function endpointOf(options: ClientOptions): Endpoint {
  const { address, bearerFile: bearer, caFile: ca, certFile: certificate, keyFile: key } = options;
  const parts = /^(https?):\/\/((?:\[[0-9a-fA-F:.]+\]|[^\s:/[\]]+):(\d{1,5}))\/?$/.exec(address);
  const [, scheme, authority = '', port] = parts ?? [];
  if (scheme === undefined || Number(port) < 1 || Number(port) > 65_535) {
    throw new InvalidError('', `address: http://host:port or https://host:port expected, not ${JSON.stringify(address)}`);
  }
  const tls = scheme === 'https';
  if ((certificate === undefined) !== (key === undefined)) {
    throw new InvalidError('', 'certFile and keyFile are given together');
  }
  if (!tls && (ca !== undefined || certificate !== undefined)) {
    throw new InvalidError('', 'caFile and certFile need TLS: use an https address');
  }
  if (bearer !== undefined && !tls && !isLoopback(authority)) {
    throw new InvalidError('', 'a credential is sent only over TLS or to a loopback host: use an https address');
  }
  return { authority, tls, files: { bearer, ca, certificate, key } };
}

function isLoopback(authority: string): boolean {
  const host = authority.slice(0, authority.lastIndexOf(':'));
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Validates what the gateway would clamp or that a wait depends on. Throws InvalidError. */
export function heartbeatOf({ heartbeatSeconds = 10 }: SubscribeOptions): number {
  if (!Number.isInteger(heartbeatSeconds) || heartbeatSeconds < 1 || heartbeatSeconds > 60) {
    throw new InvalidError('', `heartbeatSeconds: a whole number from 1 to 60 expected, not ${heartbeatSeconds}`);
  }
  return heartbeatSeconds;
}
