import { credentials, Metadata, type ChannelCredentials } from '@grpc/grpc-js';

import type { Config } from './config.js';
import { read, type Credential } from './credential.js';
import { ResumePolicy, StreamServiceClient, SubscribeRequest } from './gen/powerstream/gateway/v1/stream_service.js';
import {
  BATCH_BYTES_MAX,
  BATCH_EVENTS_MAX,
  FRAME_BYTES_MAX,
  KEEPALIVE_INTERVAL,
  KEEPALIVE_TIMEOUT,
} from './limits.js';

/** A channel that shares nothing with the one before: name, addresses and authorities are looked up again. */
export async function newChannel(config: Config, credential: Credential): Promise<StreamServiceClient> {
  return new StreamServiceClient(`dns:///${config.addr}`, await transport(config, credential), {
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    // Else it would wait for the backoff of the connection before.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.keepalive_time_ms': KEEPALIVE_INTERVAL,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT,
    'grpc.max_receive_message_length': FRAME_BYTES_MAX,
  });
}

async function transport(config: Config, { certificate, key }: Credential): Promise<ChannelCredentials> {
  if (!config.tls) {
    return credentials.createInsecure();
  }
  const authorities = config.caFile === undefined ? null : await read(config.caFile);
  return credentials.createSsl(authorities, key ?? null, certificate ?? null);
}

export function metadataOf({ token }: Credential): Metadata {
  const metadata = new Metadata();
  if (token !== undefined) {
    metadata.set('authorization', `Bearer ${token}`);
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
