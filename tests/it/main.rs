//! Everything that needs more than one module or a real server, in one binary: it links once.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on should end where it stands

mod demo;
mod house;
mod postgres;
mod stand_in;
