//! One run of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::FutureExt;
use tokio::task::JoinHandle;

use super::monitor::{Invocation, Level, Monitor, Registered, Registration};
use super::output::{Failure, Fields, Known, Node, Output};
use super::resource::{Options, Resource};
use super::value::Value;

/// One run of the program. Cloning shares it.
#[derive(Clone)]
pub struct Context(Arc<Run>);

struct Run {
    monitor: Arc<dyn Monitor>,
    preview: bool,
    stack: OnceLock<Resource>,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    tasks: Vec<JoinHandle<()>>,
    failures: BTreeSet<String>,
    exports: Fields,
}

impl Context {
    /// Begins a run by registering the stack, the root of everything.
    pub fn new(monitor: Arc<dyn Monitor>, project: &str, stack: &str, preview: bool) -> Self {
        let context =
            Self(Arc::new(Run { monitor, preview, stack: OnceLock::new(), work: Mutex::default() }));
        let name = format!("{project}-{stack}");
        let root = context.component("pulumi:pulumi:Stack", &name, Options::default());
        context.0.stack.get_or_init(|| root);
        context
    }

    /// Registers a resource of a provider.
    pub fn register(
        &self,
        kind: &str,
        version: &str,
        name: &str,
        inputs: Fields,
        options: Options,
    ) -> Resource {
        self.begin(true, kind, version, name, inputs, options)
    }

    /// Registers a component: a name for what belongs together.
    pub fn component(&self, kind: &str, name: &str, options: Options) -> Resource {
        self.begin(false, kind, "", name, Fields::new(), options)
    }

    fn begin(
        &self,
        custom: bool,
        kind: &str,
        version: &str,
        name: &str,
        inputs: Fields,
        mut options: Options,
    ) -> Resource {
        options.parent = options.parent.or_else(|| self.0.stack.get().cloned());
        let what = format!("registering {kind} {name}");
        let mut registration = Registration {
            kind: kind.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            custom,
            rules: options.rules.clone(),
            ..Registration::default()
        };
        registration.rules.protect = options.inherited_protection();
        let provider = if custom { options.inherited_provider() } else { None };
        let parent = options.parent.clone();
        // What is in a component is fixed now: later children may depend on this very resource.
        let first: Vec<Resource> = options.depends_on.iter().flat_map(Resource::members).collect();
        let monitor = self.0.monitor.clone();
        let future = async move {
            if let Some(parent) = parent {
                registration.parent.clone_from(&parent.registered().await?.urn);
            }
            if let Some(provider) = provider {
                registration.provider = provider.reference().await?;
            }
            for resource in first {
                registration.needs.insert(resource.registered().await?.urn.clone());
            }
            for (name, input) in inputs {
                let Known { value, needs } = input.resolve().await?;
                if value == Value::Null {
                    continue;
                }
                registration.needs.extend(needs.iter().cloned());
                registration.property_needs.insert(name.clone(), needs);
                registration.inputs.insert(name, value);
            }
            monitor.register(registration).await.map(Arc::new).map_err(Failure::Here)
        };
        let state = self.run(what, future);
        Resource::new(custom, self.0.preview, state, &options)
    }

    /// Runs it at once, beside all else; what goes wrong is said at the end of the run.
    fn run<T: Clone + Send + Sync + 'static>(
        &self,
        what: String,
        future: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> futures::future::Shared<futures::future::BoxFuture<'static, Result<T, Failure>>> {
        let run = Arc::downgrade(&self.0);
        let shared = async move {
            let result = future.await;
            if let (Err(Failure::Here(why)), Some(run)) = (&result, run.upgrade()) {
                lock(&run.work).failures.insert(format!("{what}: {why}"));
            }
            result.map_err(|_| Failure::SaidElsewhere)
        }
        .boxed()
        .shared();
        let task = tokio::spawn(shared.clone().map(drop));
        lock(&self.0.work).tasks.push(task);
        shared
    }

    /// Calls a provider's function. With an unknown argument nothing is called and the result is unknown.
    pub fn invoke<T>(&self, token: &str, version: &str, arguments: Fields, options: &Options) -> Output<T> {
        let parent = options.parent.clone().or_else(|| self.0.stack.get().cloned());
        let provider = Options { parent, ..options.clone() }.inherited_provider();
        let monitor = self.0.monitor.clone();
        let (token, version) = (token.to_owned(), version.to_owned());
        let result = self.run(format!("calling {token}"), async move {
            let Known { value, needs } = Node::Map(arguments).resolve().await?;
            let secret = value.holds_secret();
            if value.holds_unknown() {
                return Ok(Known { value: Value::Unknown, needs });
            }
            let arguments = if let Value::Map(fields) = value.revealed() { fields } else { BTreeMap::new() };
            let provider = match provider {
                Some(provider) => provider.reference().await?,
                None => String::new(),
            };
            let call = Invocation { token, arguments, provider, version };
            let answer = Value::Map(monitor.invoke(call).await.map_err(Failure::Here)?);
            Ok(Known { value: if secret { answer.secret() } else { answer }, needs })
        });
        Output::pending(result)
    }

    /// Attaches outputs to a component, which then is complete.
    pub fn outputs(&self, component: &Resource, outputs: Fields) {
        let (component, monitor) = (component.clone(), self.0.monitor.clone());
        let attached = self.run("attaching outputs to a component".to_owned(), async move {
            let urn = component.registered().await?.urn.clone();
            let Known { value, .. } = Node::Map(outputs).resolve().await?;
            let outputs = if let Value::Map(fields) = value { fields } else { BTreeMap::new() };
            monitor.outputs(urn, outputs).await.map_err(Failure::Here)
        });
        drop(attached); // `finish` waits for it
    }

    /// An output of the stack.
    pub fn export(&self, name: &str, value: impl Into<Node>) {
        lock(&self.0.work).exports.insert(name.to_owned(), value.into());
    }

    /// Shows a line to the user.
    pub fn log(&self, level: Level, message: &str) {
        let (stack, monitor, message) =
            (self.0.stack.get().cloned(), self.0.monitor.clone(), message.to_owned());
        let shown = self.run("logging".to_owned(), async move {
            let root = match stack {
                Some(stack) => stack.registered().await?,
                None => Arc::new(Registered::default()),
            };
            monitor.log(level, message, root.urn.clone()).await;
            Ok(())
        });
        drop(shown);
    }

    /// Waits for everything. All that went wrong is said, not the first only.
    pub async fn finish(self) -> Result<(), Vec<String>> {
        self.settle().await;
        let exports = std::mem::take(&mut lock(&self.0.work).exports);
        match (Node::Map(exports).resolve().await, self.0.stack.get()) {
            (Ok(Known { value: Value::Map(exports), .. }), Some(stack)) if self.failures().is_empty() => {
                let exports = exports.into_iter().map(|(name, value)| (name, Node::Value(value))).collect();
                self.outputs(stack, exports);
            }
            (Err(Failure::Here(why)), _) => {
                lock(&self.0.work).failures.insert(format!("making the stack's outputs: {why}"));
            }
            _ => {}
        }
        self.settle().await;
        for failure in self.failures() {
            self.0.monitor.log(Level::Error, failure, String::new()).await;
        }
        let failures = self.failures();
        if !failures.is_empty() {
            // An engine that is told that the program is done deletes what was not registered: the dependents of what failed.
            return Err(failures);
        }
        let done = self.0.monitor.done().await;
        done.map_err(|why| vec![format!("telling the engine that the program is done: {why}")])
    }

    fn failures(&self) -> Vec<String> {
        lock(&self.0.work).failures.iter().cloned().collect()
    }

    /// Tasks may begin tasks.
    async fn settle(&self) {
        loop {
            let Some(task) = lock(&self.0.work).tasks.pop() else { return };
            if task.await.is_err() {
                lock(&self.0.work).failures.insert("a registration panicked: this is a bug".to_owned());
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
