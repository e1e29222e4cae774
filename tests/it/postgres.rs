//! The PostgreSQL adapters against a real server.

mod conformance;
mod connect;
mod fence;
mod heartbeat;
mod holders;
mod marker;
pub(crate) mod moving;
mod observe;
mod pair;
mod past_the_fence;
mod permits;
mod question;
mod record;
mod restored;
mod sequences;
pub(crate) mod server;
mod sessions;
mod slots;
mod standing;
mod verify;
mod verify_invariants;
mod verify_speed;
