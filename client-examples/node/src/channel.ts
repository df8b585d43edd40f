import { readFile } from 'node:fs/promises';

import { credentials, Metadata, type ChannelCredentials } from '@grpc/grpc-js';

import type { Config } from './config.js';
import { ResumePolicy, StreamServiceClient, SubscribeRequest } from './gen/powerstream/gateway/v1/stream_service.js';
import {
  BATCH_BYTES_MAX,
  BATCH_EVENTS_MAX,
  FRAME_BYTES_MAX,
  KEEPALIVE_INTERVAL,
  KEEPALIVE_TIMEOUT,
} from './limits.js';

/** A file that CONNECT needs cannot be read. */
export class Unreadable extends Error {}

/** A channel that shares nothing with the one before: name, addresses and authorities are looked up anew. */
export async function newChannel(config: Config): Promise<StreamServiceClient> {
  return new StreamServiceClient(`dns:///${config.addr}`, await transport(config), {
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    // Else it would wait for the backoff of the connection before.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.keepalive_time_ms': KEEPALIVE_INTERVAL,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT,
    'grpc.max_receive_message_length': FRAME_BYTES_MAX,
  });
}

async function transport(config: Config): Promise<ChannelCredentials> {
  if (!config.tls) {
    return credentials.createInsecure();
  }
  const authorities = config.caFile === undefined ? null : await read(config.caFile);
  return credentials.createSsl(authorities);
}

/** The credential: the first line of the token file; undefined without one. */
export async function readCredential(config: Config): Promise<string | undefined> {
  if (config.tokenFile === undefined) {
    return undefined;
  }
  const [line = ''] = (await read(config.tokenFile)).toString('latin1').split('\n', 1);
  const credential = line.trim();
  if (!/^[\x20-\x7e]+$/.test(credential)) {
    throw new Unreadable(`cannot read a credential from ${config.tokenFile}: its first line is empty or not ASCII`);
  }
  return credential;
}

export function metadataOf(credential: string | undefined): Metadata {
  const metadata = new Metadata();
  if (credential !== undefined) {
    metadata.set('authorization', `Bearer ${credential}`);
  }
  return metadata;
}

export function requestOf(config: Config, token: string | undefined): SubscribeRequest {
  return SubscribeRequest.create({
    account: config.account,
    consumer: config.consumer,
    filter: { anyOf: config.anyOf, allOf: [], noneOf: [], ruleIds: [] },
    start: startOf(config, token),
    resumePolicy: {
      fail: ResumePolicy.RESUME_POLICY_FAIL,
      earliest: ResumePolicy.RESUME_POLICY_EARLIEST,
      latest: ResumePolicy.RESUME_POLICY_LATEST,
    }[config.resumePolicy],
    maxBatchBytes: BATCH_BYTES_MAX,
    maxBatchEvents: BATCH_EVENTS_MAX,
    heartbeatInterval: { seconds: BigInt(config.heartbeatSeconds), nanos: 0 },
  });
}

function startOf(config: Config, token: string | undefined): SubscribeRequest['start'] {
  if (token !== undefined) {
    return { $case: 'resumeToken', value: token };
  }
  return config.start === 'earliest' ? { $case: 'earliest', value: {} } : { $case: 'latest', value: {} };
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new Unreadable(`cannot read ${path}: ${(error as Error).message}`);
  }
}
