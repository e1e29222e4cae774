//! What the language host hands to the program, in its environment.

use std::collections::BTreeMap;
use std::fmt;

use super::output::Input;

/// One value of the stack's configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub text: String,
    /// Set with `--secret`.
    pub secret: bool,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secret { f.write_str("[secret]") } else { self.text.fmt(f) }
    }
}

/// What was set with `--secret` stays secret wherever it goes.
impl From<&Setting> for Input<String> {
    fn from(setting: &Setting) -> Self {
        let plain = Self::from(setting.text.as_str());
        if setting.secret { plain.secret() } else { plain }
    }
}

/// What the program is run with.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the resource monitor listens.
    pub monitor: String,
    /// Where the engine listens, for logs.
    pub engine: String,
    /// The project's name.
    pub project: String,
    /// The stack's name.
    pub stack: String,
    /// A preview changes nothing.
    pub preview: bool,
    /// The stack's configuration, by `namespace:key`.
    pub config: BTreeMap<String, Setting>,
}

impl Settings {
    /// Reads them, with `variable` for the environment.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let need = |name: &str| {
            variable(name).filter(|it| !it.is_empty()).ok_or_else(|| {
                format!("reading the environment: {name} is not set. Pulumi starts this program: run `pulumi up` in its folder")
            })
        };
        let json = |name: &str, empty: &str| variable(name).unwrap_or_else(|| empty.to_owned());
        // serde_json's own words would show a part of the text, which may be a secret.
        let wrong =
            |name: &str| format!("reading the environment: {name} is not the JSON that Pulumi hands over");
        let config: BTreeMap<String, String> =
            serde_json::from_str(&json("PULUMI_CONFIG", "{}")).map_err(|_| wrong("PULUMI_CONFIG"))?;
        let secret: Vec<String> = serde_json::from_str(&json("PULUMI_CONFIG_SECRET_KEYS", "[]"))
            .map_err(|_| wrong("PULUMI_CONFIG_SECRET_KEYS"))?;
        Ok(Self {
            monitor: need("PULUMI_MONITOR")?,
            engine: variable("PULUMI_ENGINE").unwrap_or_default(),
            project: need("PULUMI_PROJECT")?,
            stack: need("PULUMI_STACK")?,
            preview: variable("PULUMI_DRY_RUN").is_some_and(|it| it.eq_ignore_ascii_case("true")),
            config: config
                .into_iter()
                .map(|(key, text)| {
                    let secret = secret.contains(&key);
                    (key, Setting { text, secret })
                })
                .collect(),
        })
    }
}
