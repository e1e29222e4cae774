//! The program without a cloud: in process against a recording monitor, and as a binary against a gRPC one.

mod binary;
mod components;
mod config;
mod docs;
mod engine;
mod layer;
mod mock;
mod schema;
mod walk;
