//! Everything that needs more than one module, in one binary: it links once.

mod stand_in;
//! Tests that need more than one file of the product, or a real server.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on should end where it stands

mod postgres;
