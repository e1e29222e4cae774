//! Values to come, and inputs made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};

use super::value::{Decode, Value};

/// Why a value will never come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was said where it happened; saying it again at each dependent would bury it.
    SaidElsewhere,
    /// Nobody has said it yet.
    Here(String),
}

/// A value, and the URNs of the resources that it came from.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The value.
    pub value: Value,
    /// Which resources must exist for it.
    pub needs: BTreeSet<String>,
}

pub(super) type Pending = Shared<BoxFuture<'static, Result<Known, Failure>>>;

/// A value of type `T` that is known when the engine has answered. Cloning shares it.
pub struct Output<T> {
    pending: Pending,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Output<T> {
    fn clone(&self) -> Self {
        Self { pending: self.pending.clone(), of: PhantomData }
    }
}

impl<T> Output<T> {
    pub(super) fn pending(future: impl Future<Output = Result<Known, Failure>> + Send + 'static) -> Self {
        Self { pending: future.boxed().shared(), of: PhantomData }
    }

    /// An output of what is an input.
    pub fn of(input: impl Into<Input<T>>) -> Self {
        Self::pending(input.into().0.resolve())
    }

    /// The same, encrypted wherever it is kept.
    #[must_use]
    pub fn secret(&self) -> Self {
        Self::pending(Node::Secret(Box::new(self.into())).resolve())
    }

    /// Both, as a pair.
    pub fn zip<U>(&self, other: &Output<U>) -> Output<(T, U)> {
        Output::pending(Node::List(vec![self.into(), other.into()]).resolve())
    }

    /// One field of an object. The generated code gives the fields their types.
    pub fn property<U>(&self, name: &'static str) -> Output<U> {
        self.part(move |value| match value {
            Value::Map(mut fields) => Ok(fields.remove(name).unwrap_or_default()),
            Value::Null => Ok(Value::Null),
            _ => Err(format!("there is no field {name} in what the provider answered")),
        })
    }

    /// Goes into the value, keeping secrets and unknowns.
    fn part<U>(&self, into: impl FnOnce(Value) -> Result<Value, String> + Send + 'static) -> Output<U> {
        let whole = self.pending.clone();
        Output::pending(async move {
            let mut known = whole.await?;
            known.value = match known.value {
                Value::Unknown => Value::Unknown,
                Value::Secret(inner) if *inner == Value::Unknown => Value::Unknown.secret(),
                Value::Secret(inner) => into(*inner).map_err(Failure::Here)?.secret(),
                plain => into(plain).map_err(Failure::Here)?,
            };
            Ok(known)
        })
    }
}

impl<T: Decode> Output<T> {
    /// Waits for the value: for what decides whether something is registered at all. `None` if it is not known in this
    /// preview, is not there, or will never come, which then is said at the end of the run.
    pub async fn wait(&self) -> Option<T> {
        T::decode(&self.pending.clone().await.ok()?.value.revealed())
    }
}

impl<T> Output<Vec<T>> {
    /// One item of a list.
    pub fn at(&self, index: usize) -> Output<T> {
        self.part(move |value| match value {
            Value::List(mut items) if index < items.len() => Ok(items.swap_remove(index)),
            Value::List(items) => Err(format!("item {index} of a list of {}", items.len())),
            _ => Err("the provider answered no list".to_owned()),
        })
    }
}

impl<T: Decode + 'static> Output<T> {
    /// Makes another value of this one. A secret's result is secret; of an unknown nothing is made.
    pub fn map<U: 'static>(&self, make: impl FnOnce(T) -> U + Send + 'static) -> Output<U>
    where
        Node: From<U>,
    {
        self.try_map(|value| Ok(make(value)))
    }

    /// The same, where it may fail.
    pub fn try_map<U: 'static>(&self, make: impl FnOnce(T) -> Result<U, String> + Send + 'static) -> Output<U>
    where
        Node: From<U>,
    {
        let before = self.pending.clone();
        Output::pending(async move {
            let Known { value, mut needs } = before.await?;
            let secret = value.holds_secret();
            let mut result = Value::Unknown;
            if !value.holds_unknown() {
                let read = T::decode(&value.revealed())
                    .ok_or_else(|| Failure::Here("a value has another type than it should".to_owned()))?;
                let node: Node = make(read).map_err(Failure::Here)?.into();
                let known = node.resolve().await?;
                needs.extend(known.needs);
                result = known.value;
            }
            Ok(Known { value: if secret { result.secret() } else { result }, needs })
        })
    }
}

/// What an input is made of.
#[derive(Clone)]
pub enum Node {
    /// It is there.
    Value(Value),
    /// It comes from a resource.
    Pending(Pending),
    /// A list of such.
    List(Vec<Node>),
    /// An object of such.
    Map(Fields),
    /// A secret of such.
    Secret(Box<Node>),
}

/// Named inputs.
pub type Fields = BTreeMap<String, Node>;

impl Node {
    /// Waits until everything in it is known.
    pub fn resolve(self) -> BoxFuture<'static, Result<Known, Failure>> {
        async move {
            match self {
                Self::Value(value) => Ok(Known { value, needs: BTreeSet::new() }),
                Self::Pending(pending) => pending.await,
                Self::Secret(inner) => {
                    let known = inner.resolve().await?;
                    Ok(Known { value: known.value.secret(), needs: known.needs })
                }
                Self::List(nodes) => {
                    let (items, needs) = all(nodes).await?;
                    Ok(Known { value: Value::List(items), needs })
                }
                Self::Map(fields) => {
                    let (names, nodes): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
                    let (values, needs) = all(nodes).await?;
                    Ok(Known { value: Value::Map(names.into_iter().zip(values).collect()), needs })
                }
            }
        }
        .boxed()
    }
}

async fn all(nodes: Vec<Node>) -> Result<(Vec<Value>, BTreeSet<String>), Failure> {
    let (mut values, mut needs) = (Vec::new(), BTreeSet::new());
    for node in nodes {
        let known = node.resolve().await?;
        values.push(known.value);
        needs.extend(known.needs);
    }
    Ok((values, needs))
}

/// An input of type `T`: a value, or an output.
pub struct Input<T>(pub(super) Node, PhantomData<fn() -> T>);

impl<T> Input<T> {
    /// The input, to be encrypted wherever it is kept.
    #[must_use]
    pub fn secret(self) -> Self {
        Self(Node::Secret(Box::new(self.0)), PhantomData)
    }
}

impl<T> From<T> for Input<T>
where
    Node: From<T>,
{
    fn from(value: T) -> Self {
        Self(value.into(), PhantomData)
    }
}

impl From<&str> for Input<String> {
    fn from(value: &str) -> Self {
        Self(value.into(), PhantomData)
    }
}

impl<T> From<Output<T>> for Input<T> {
    fn from(output: Output<T>) -> Self {
        Self(Node::Pending(output.pending), PhantomData)
    }
}

impl<T> From<&Output<T>> for Input<T> {
    fn from(output: &Output<T>) -> Self {
        output.clone().into()
    }
}

impl<T> From<Vec<Output<T>>> for Input<Vec<T>> {
    fn from(outputs: Vec<Output<T>>) -> Self {
        Self(outputs.into(), PhantomData)
    }
}

impl<T> From<BTreeMap<String, Output<T>>> for Input<BTreeMap<String, T>> {
    fn from(outputs: BTreeMap<String, Output<T>>) -> Self {
        Self(outputs.into(), PhantomData)
    }
}

impl<T> From<Input<T>> for Node {
    fn from(input: Input<T>) -> Self {
        input.0
    }
}

impl<T> From<Output<T>> for Node {
    fn from(output: Output<T>) -> Self {
        Self::Pending(output.pending)
    }
}

impl<T> From<&Output<T>> for Node {
    fn from(output: &Output<T>) -> Self {
        output.clone().into()
    }
}

macro_rules! plain {
    ($($from:ty => |$value:ident| $made:expr;)*) => {
        $(impl From<$from> for Node {
            fn from($value: $from) -> Self {
                Self::Value($made)
            }
        })*
    };
}

#[expect(clippy::cast_precision_loss, reason = "Pulumi's numbers are doubles; ours are small")]
const fn number(value: i64) -> Value {
    Value::Number(value as f64)
}

plain! {
    Value => |it| it;
    &str => |it| Value::Text(it.to_owned());
    String => |it| Value::Text(it);
    bool => |it| Value::Bool(it);
    f64 => |it| Value::Number(it);
    i64 => |it| number(it);
}

impl<T> From<Vec<T>> for Node
where
    Node: From<T>,
{
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Self::from).collect())
    }
}

impl<T> From<BTreeMap<String, T>> for Node
where
    Node: From<T>,
{
    fn from(fields: BTreeMap<String, T>) -> Self {
        Self::Map(fields.into_iter().map(|(name, value)| (name, value.into())).collect())
    }
}
