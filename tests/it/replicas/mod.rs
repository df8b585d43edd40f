//! Three gateways as processes over three real NATS servers, the simulator, and consumers that use another replica at each
//! disconnect.

mod cluster;
mod consumers;
mod leader_faults;
