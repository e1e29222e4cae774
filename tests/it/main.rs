//! Everything that needs more than one module or a real server, in one binary: it links once.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on should end where it stands

mod admission;
mod demo;
mod house;
mod journey;
mod postgres;
mod recovery;
mod stand_in;
mod switches;
