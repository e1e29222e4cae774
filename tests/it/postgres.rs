//! The PostgreSQL adapters against a real server.

mod connect;
mod fence;
mod heartbeat;
mod marker;
mod observe;
mod pair;
mod record;
mod sequences;
pub(crate) mod server;
mod slots;
mod verify;
mod verify_invariants;
mod verify_speed;
