//! The PostgreSQL adapters against a real server.

mod connect;
mod fence;
mod heartbeat;
mod holders;
mod moving;
mod observe;
mod past_the_fence;
mod record;
mod restored;
mod server;
mod standing;
