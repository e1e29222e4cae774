//! The program without a cloud: in process against a recording monitor, and as a binary against a gRPC one.
#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on should end where it stands

mod application;
mod binary;
mod components;
mod config;
mod control;
mod docs;
mod engine;
mod house;
mod layer;
mod manifests;
mod migration;
mod mock;
mod model;
mod observability;
mod picture;
mod plan;
mod reach;
mod real;
mod schema;
mod walk;
