/**
 * A consumer of powerstream-gateway: subscribes, reconnects, resumes without loss, and verifies that no event is missing or
 * repeated. It implements the loop of {@code client-examples/PROTOCOL.md}. {@link Client} is the entry.
 */
package io.powerstream.gateway.consumer;
