//! The PostgreSQL adapters against a real server.

mod connect;
mod fence;
mod heartbeat;
mod observe;
mod record;
pub(crate) mod server;
