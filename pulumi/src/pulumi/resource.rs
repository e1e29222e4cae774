//! A registered resource or component, and the options of a registration.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, Shared};

use super::monitor::Registered;
use super::output::{Failure, Known, Output};
use super::value::Value;

/// Where a resource was before, so that the engine moves it instead of making it anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// The whole URN that it had.
    Urn(String),
    /// What of it was different; `None` is as now.
    Was {
        /// The name it had.
        name: Option<String>,
        /// The type it had.
        kind: Option<String>,
        /// The URN of the parent it had; empty for the stack.
        parent: Option<String>,
    },
}

/// How long the provider may take, such as `40m`; empty is the provider's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// To make it.
    pub create: String,
    /// To change it.
    pub update: String,
    /// To delete it.
    pub delete: String,
}

/// How the engine is to treat a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Refuse to delete it.
    pub protect: bool,
    /// Delete before the replacement is made, for a name that can exist only once.
    pub delete_before_replace: bool,
    /// Properties whose changes in the program are ignored.
    pub ignore_changes: Vec<String>,
    /// Outputs that are secret.
    pub secret_outputs: Vec<String>,
    /// Where it was before.
    pub aliases: Vec<Alias>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Forget it instead of deleting it.
    pub retain_on_delete: bool,
    /// The id of what is there already, to be taken over if this stack does not have it; empty to make it.
    pub import_id: String,
}

/// The options of a registration.
#[derive(Clone, Default)]
pub struct Options {
    /// The component that it belongs to; the stack if there is none.
    pub parent: Option<Resource>,
    /// What must exist first although no input says so. A component stands for everything in it.
    pub depends_on: Vec<Resource>,
    /// The provider; the parent's if there is none.
    pub provider: Option<Resource>,
    /// How the engine is to treat it.
    pub rules: Rules,
}

impl Options {
    /// These must exist first.
    #[must_use]
    pub fn after<'a>(mut self, resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        self.depends_on.extend(resources.into_iter().cloned());
        self
    }

    /// Changes the rules.
    #[must_use]
    pub fn rules(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(&mut self.rules);
        self
    }
}

pub(super) type State = Shared<BoxFuture<'static, Result<Arc<Registered>, Failure>>>;

/// A registered resource or component. Cloning shares it.
#[derive(Clone)]
pub struct Resource(Arc<Inner>);

struct Inner {
    custom: bool,
    preview: bool,
    state: State,
    provider: Option<Resource>,
    protect: bool,
    secret_outputs: Vec<String>,
    children: Mutex<Vec<Resource>>,
}

impl Resource {
    pub(super) fn new(custom: bool, preview: bool, state: State, options: &Options) -> Self {
        let resource = Self(Arc::new(Inner {
            custom,
            preview,
            state,
            provider: options.inherited_provider(),
            protect: options.inherited_protection(),
            secret_outputs: options.rules.secret_outputs.clone(),
            children: Mutex::default(),
        }));
        if let Some(parent) = &options.parent {
            parent.0.children.lock().unwrap_or_else(PoisonError::into_inner).push(resource.clone());
        }
        resource
    }

    /// What stands for it in a dependency: itself, or everything in a component so far.
    pub(super) fn members(&self) -> Vec<Self> {
        if self.0.custom {
            return vec![self.clone()];
        }
        let children = self.0.children.lock().unwrap_or_else(PoisonError::into_inner).clone();
        children.iter().flat_map(Self::members).collect()
    }

    pub(super) async fn registered(&self) -> Result<Arc<Registered>, Failure> {
        self.0.state.clone().await
    }

    /// Its URN.
    pub fn urn(&self) -> Output<String> {
        self.read(|it| Value::Text(it.urn.clone()))
    }

    /// Its id.
    pub fn id(&self) -> Output<String> {
        self.read(|it| if it.id.is_empty() { Value::Unknown } else { Value::Text(it.id.clone()) })
    }

    /// One of its properties. What the provider did not answer is unknown in a preview, and else not there.
    pub fn output<T>(&self, name: &'static str) -> Output<T> {
        let absent = if self.0.preview { Value::Unknown } else { Value::Null };
        let secret = self.0.secret_outputs.iter().any(|it| it == name);
        self.read(move |it| {
            let value = it.properties.get(name).cloned().unwrap_or(absent);
            if secret { value.secret() } else { value }
        })
    }

    fn read<T>(&self, part: impl FnOnce(&Registered) -> Value + Send + 'static) -> Output<T> {
        let state = self.0.state.clone();
        Output::pending(async move {
            let registered = state.await?;
            Ok(Known { value: part(&registered), needs: [registered.urn.clone()].into() })
        })
    }

    /// As a provider is named to the engine.
    pub(super) async fn reference(&self) -> Result<String, Failure> {
        const UNKNOWN: &str = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
        let it = self.registered().await?;
        Ok(format!("{}::{}", it.urn, if it.id.is_empty() { UNKNOWN } else { &it.id }))
    }
}

impl Options {
    pub(super) fn inherited_provider(&self) -> Option<Resource> {
        self.provider.clone().or_else(|| self.parent.as_ref().and_then(|it| it.0.provider.clone()))
    }

    pub(super) fn inherited_protection(&self) -> bool {
        self.rules.protect || self.parent.as_ref().is_some_and(|it| it.0.protect)
    }
}
