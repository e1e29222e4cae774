//! The ground in AWS that a migration with Slipway stands on: a Pulumi program in Rust.
//!
//! Configuration is read and checked ([`config`]); then components are registered, each in its file: [`keys`], [`network`],
//! [`security`], [`database`], [`migration`], [`application`], [`traffic`], [`control`], [`observability`]. [`environment`] joins them. [`names`] has every name and [`flows`] every connection that is
//! possible. [`pulumi`] speaks to Pulumi's engine and knows no cloud; [`mod@aws`] is generated and knows nothing else.

pub mod account_roles;
pub mod application;
pub mod aws;
pub mod bucket;
pub mod config;
pub mod control;
pub mod database;
pub mod environment;
pub mod flows;
pub mod keys;
pub mod manifests;
pub mod migration;
pub mod names;
pub mod network;
pub mod observability;
pub mod pulumi;
pub mod scope;
pub mod security;
pub mod traffic;
