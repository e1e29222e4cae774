//! How reconcile gets called: watches, concurrency, health, shutdown.

pub mod accounts;
pub mod backoff;
pub mod health;
