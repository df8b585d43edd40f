import { credentials, Metadata, type ChannelCredentials } from '@grpc/grpc-js';

import { read, type Credential } from './credential.js';
import { ResumePolicy, StreamServiceClient, SubscribeRequest } from './gen/powerstream/gateway/v1/stream_service.js';
import {
  BATCH_BYTES_MAX,
  BATCH_EVENTS_MAX,
  FRAME_BYTES_MAX,
  KEEPALIVE_INTERVAL,
  KEEPALIVE_TIMEOUT,
} from './limits.js';
import type { Endpoint, SubscribeOptions } from './options.js';

/** A channel that shares nothing with the one before: name, addresses and authorities are looked up again. */
export async function newChannel(endpoint: Endpoint, credential: Credential): Promise<StreamServiceClient> {
  return new StreamServiceClient(`dns:///${endpoint.authority}`, await transport(endpoint, credential), {
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    // Else it would wait for the backoff of the connection before.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.keepalive_time_ms': KEEPALIVE_INTERVAL,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT,
    'grpc.max_receive_message_length': FRAME_BYTES_MAX,
  });
}

async function transport({ tls, files }: Endpoint, { certificate, key }: Credential): Promise<ChannelCredentials> {
  if (!tls) {
    return credentials.createInsecure();
  }
  const authorities = files.ca === undefined ? null : await read(files.ca);
  return credentials.createSsl(authorities, key ?? null, certificate ?? null);
}

export function metadataOf({ token }: Credential): Metadata {
  const metadata = new Metadata();
  if (token !== undefined) {
    metadata.set('authorization', `Bearer ${token}`);
  }
  return metadata;
}

export function requestOf(options: SubscribeOptions, heartbeat: number, token: string | undefined): SubscribeRequest {
  const { account = '', consumer, filter, resumePolicy = 'fail', start = 'latest' } = options;
  return SubscribeRequest.create({
    account,
    consumer,
    filter: { anyOf: [], allOf: [], noneOf: [], ruleIds: [], ...filter },
    start: token === undefined ? startOf(start) : { $case: 'resumeToken', value: token },
    resumePolicy: {
      fail: ResumePolicy.RESUME_POLICY_FAIL,
      earliest: ResumePolicy.RESUME_POLICY_EARLIEST,
      latest: ResumePolicy.RESUME_POLICY_LATEST,
    }[resumePolicy],
    maxBatchBytes: BATCH_BYTES_MAX,
    maxBatchEvents: BATCH_EVENTS_MAX,
    heartbeatInterval: { seconds: BigInt(heartbeat), nanos: 0 },
  });
}

function startOf(start: NonNullable<SubscribeOptions['start']>): SubscribeRequest['start'] {
  if (start instanceof Date) {
    return { $case: 'startTime', value: start };
  }
  return start === 'earliest' ? { $case: 'earliest', value: {} } : { $case: 'latest', value: {} };
}
