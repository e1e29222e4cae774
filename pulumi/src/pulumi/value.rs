//! What a property holds.

use std::collections::BTreeMap;
use std::fmt;

/// A property's value. Its `Debug` never shows a secret.
#[derive(Clone, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// A truth value.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map or an object.
    Map(BTreeMap<String, Value>),
    /// Encrypted wherever it is kept.
    Secret(Box<Value>),
    /// Known only after the deployment.
    Unknown,
}

impl Value {
    /// The value as a secret; a secret stays what it is.
    #[must_use]
    pub fn secret(self) -> Self {
        match self {
            Self::Secret(_) => self,
            plain => Self::Secret(Box::new(plain)),
        }
    }

    /// The value with all its secrets laid open.
    #[must_use]
    pub fn revealed(self) -> Self {
        match self {
            Self::Secret(inner) => inner.revealed(),
            Self::List(items) => Self::List(items.into_iter().map(Self::revealed).collect()),
            Self::Map(fields) => Self::Map(fields.into_iter().map(|(k, v)| (k, v.revealed())).collect()),
            plain => plain,
        }
    }

    /// Is a secret in it?
    pub fn holds_secret(&self) -> bool {
        self.holds(&|value| matches!(value, Self::Secret(_)))
    }

    /// Is something in it that is not known yet?
    pub fn holds_unknown(&self) -> bool {
        self.holds(&|value| matches!(value, Self::Unknown))
    }

    fn holds(&self, is: &dyn Fn(&Self) -> bool) -> bool {
        is(self)
            || match self {
                Self::Secret(inner) => inner.holds(is),
                Self::List(items) => items.iter().any(|item| item.holds(is)),
                Self::Map(fields) => fields.values().any(|field| field.holds(is)),
                _ => false,
            }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(it) => it.fmt(f),
            Self::Number(it) => it.fmt(f),
            Self::Text(it) => it.fmt(f),
            Self::List(it) => it.fmt(f),
            Self::Map(it) => it.fmt(f),
            Self::Secret(_) => f.write_str("[secret]"),
            Self::Unknown => f.write_str("[unknown]"),
        }
    }
}

/// What can be read out of a value without secrets and unknowns.
pub trait Decode: Sized {
    /// `None` if the value is of another type.
    fn decode(value: &Value) -> Option<Self>;
}

macro_rules! decode {
    ($($type:ty: $pattern:pat => $made:expr;)*) => {
        $(impl Decode for $type {
            fn decode(value: &Value) -> Option<Self> {
                if let $pattern = value { $made } else { None }
            }
        })*
    };
}

decode! {
    bool: Value::Bool(it) => Some(*it);
    f64: Value::Number(it) => Some(*it);
    String: Value::Text(it) => Some(it.clone());
}

impl Decode for i64 {
    /// A double has whole numbers up to 2^53; more is no number that a provider means.
    fn decode(value: &Value) -> Option<Self> {
        let Value::Number(it) = value else { return None };
        format!("{it}").parse().ok()
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(value: &Value) -> Option<Self> {
        if let Value::List(items) = value { items.iter().map(T::decode).collect() } else { None }
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(value: &Value) -> Option<Self> {
        let Value::Map(fields) = value else { return None };
        fields.iter().map(|(name, it)| Some((name.clone(), T::decode(it)?))).collect()
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(value: &Value) -> Option<Self> {
        let Value::List(items) = value else { return None };
        let [a, b] = items.as_slice() else { return None };
        Some((A::decode(a)?, B::decode(b)?))
    }
}
