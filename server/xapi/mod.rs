//! xapi
