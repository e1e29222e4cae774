//! Everything that needs more than one module or a real server, in one binary: it links once.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on should end where it stands

mod admission;
mod bad_input;
mod by_hand;
mod canary;
mod cleanup;
mod crash;
mod cutover;
mod deletion;
mod demo;
mod drivers;
mod house;
mod journey;
mod leadership;
mod postgres;
mod quiet;
mod recovery;
mod stand_in;
mod survival;
mod switches;
mod torture;
mod traffic;
