//! A thin, typed layer on the protocol between a program and Pulumi's engine. It knows no cloud.
//!
//! A program makes resources from inputs; each resource has outputs, which are known when the engine has answered; an
//! output given as an input is a dependency. Registrations run at once, each as soon as its inputs are known.
//!
//! | file | holds |
//! |---|---|
//! | [`value`] | what a property holds, with its secrets and what is unknown in a preview |
//! | [`output`] | values to come, and inputs made of them |
//! | [`resource`] | a registered resource or component, and the options of a registration |
//! | [`context`] | one run of the program: register, invoke, export, finish |
//! | [`monitor`] | the engine as the layer sees it |
//! | [`grpc`] | the engine as it is: gRPC on loopback |
//! | [`settings`] | what the language host hands to the program |
//!
//! docs/decisions/0014 says why this exists and how an official crate would take its place.

pub use context::Context;
pub use monitor::{Invocation, Level, Monitor, Registered, Registration};
pub use output::{Failure, Fields, Input, Known, Node, Output};
pub use resource::{Alias, Options, Resource, Rules, Timeouts};
pub use settings::{Setting, Settings};
pub use value::{Decode, Value};

pub mod context;
pub mod grpc;
pub mod monitor;
pub mod output;
pub mod resource;
pub mod settings;
pub mod value;
