//! The engine as the layer sees it.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;

use super::resource::Rules;
use super::value::Value;

/// A resource that is to exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration {
    /// Its type, such as `aws:ec2/vpc:Vpc`.
    pub kind: String,
    /// Its name within the stack.
    pub name: String,
    /// The URN of what it belongs to; empty for the stack itself.
    pub parent: String,
    /// A resource of a provider; else a component.
    pub custom: bool,
    /// What it is made of.
    pub inputs: BTreeMap<String, Value>,
    /// The URNs of all that it needs.
    pub needs: BTreeSet<String>,
    /// The URNs that single inputs need.
    pub property_needs: BTreeMap<String, BTreeSet<String>>,
    /// `urn::id` of an explicit provider, or empty.
    pub provider: String,
    /// The provider's version.
    pub version: String,
    /// How the engine is to treat it.
    pub rules: Rules,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registered {
    /// Its URN.
    pub urn: String,
    /// Its id; empty while it is unknown.
    pub id: String,
    /// Its properties.
    pub properties: BTreeMap<String, Value>,
}

/// A function of a provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Invocation {
    /// Its token, such as `aws:index/getCallerIdentity:getCallerIdentity`.
    pub token: String,
    /// Its arguments, without secrets' wrapping and without unknowns.
    pub arguments: BTreeMap<String, Value>,
    /// `urn::id` of an explicit provider, or empty.
    pub provider: String,
    /// The provider's version.
    pub version: String,
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For information.
    Info,
    /// Something is unusual.
    Warning,
    /// The run fails.
    Error,
}

/// The engine. An error says why, in words; what was attempted is added by who calls.
pub trait Monitor: Send + Sync {
    /// Makes, changes or leaves a resource.
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Registered, String>>;
    /// Attaches outputs to a component or the stack.
    fn outputs(&self, urn: String, outputs: BTreeMap<String, Value>) -> BoxFuture<'_, Result<(), String>>;
    /// Calls a provider's function.
    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<BTreeMap<String, Value>, String>>;
    /// Shows a line to the user; one that can't be shown is lost.
    fn log(&self, level: Level, message: String, urn: String) -> BoxFuture<'_, ()>;
    /// Says that nothing more comes.
    fn done(&self) -> BoxFuture<'_, Result<(), String>>;
}
