//! Reads keys and collects what is wrong with them.

use std::collections::BTreeMap;

use super::keys::{KEYS, Key};
use super::{Profile, Refusal};
use crate::pulumi::Setting;

/// Reads keys and collects what is wrong with them.
pub(super) struct Reader<'a> {
    project: &'a str,
    settings: &'a BTreeMap<String, Setting>,
    pub(super) profile: Profile,
    pub(super) refused: Vec<Refusal>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(project: &'a str, settings: &'a BTreeMap<String, Setting>) -> Self {
        Self { project, settings, profile: Profile::default(), refused: Vec::new() }
    }

    /// The value as it was set, or its default.
    pub(super) fn get<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.setting(name).is_some_and(|it| it.secret) {
            // Its value goes into names, rules and tags in clear text.
            self.refuse(name, "was set with --secret, but is no secret: it would show all the same", false);
            return None;
        }
        let set = self.setting(name).map(|it| it.text.trim().to_owned());
        let default = || KEYS.iter().find(|key| key.name == name)?.default(self.profile).map(str::to_owned);
        let Some(text) = set.or_else(default) else {
            self.refuse(name, "is not set", false);
            return None;
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.refuse(name, &why, true);
                None
            }
        }
    }

    /// The value, if it was set.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.setting(name)?;
        self.get(name, parse)
    }

    pub(super) fn setting(&self, name: &str) -> Option<&'a Setting> {
        self.settings.get(&format!("{}:{name}", self.project))
    }

    /// Says what is wrong with a key, and how to set it. A secret's value is never shown.
    pub(super) fn refuse(&mut self, name: &str, why: &str, show: bool) {
        let value = match self.setting(name) {
            Some(setting) if show && !setting.secret => format!("{} ", quoted(&setting.text)),
            _ => String::new(),
        };
        let how = KEYS.iter().find(|key| key.name == name).map_or_else(String::new, |key| {
            let secret = if key.name.starts_with("vpnPresharedKey") { "--secret " } else { "" };
            format!(" ({}). Set it: pulumi config set {secret}{} {}", plain(key), key.name, key.example)
        });
        self.refused
            .push(Refusal { key: format!("{}:{name}", self.project), message: format!("{value}{why}{how}") });
    }

    /// A key that nothing reads is a slip, and its default would silently stand.
    pub(super) fn refuse_unknown(&mut self) {
        let prefix = format!("{}:", self.project);
        for key in self.settings.keys() {
            let Some(name) = key.strip_prefix(&prefix) else { continue };
            if !KEYS.iter().any(|it| it.name == name) {
                let near = KEYS.iter().find(|it| it.name.eq_ignore_ascii_case(name));
                let hint = near.map_or_else(
                    || "The keys are in docs/infrastructure.md".to_owned(),
                    |it| format!("Did you mean {}?", it.name),
                );
                let message = format!("there is no such key. {hint}; remove it: pulumi config rm {name}");
                self.refused.push(Refusal { key: key.chars().take(100).collect(), message });
            }
        }
    }

    /// `aws:region` is what other programs read; two regions in one stack would be a trap.
    pub(super) fn refuse_other_region(&mut self, region: Option<&str>) {
        let Some(setting) = self.settings.get("aws:region") else { return };
        if region.is_some_and(|it| it != setting.text) {
            self.refused.push(Refusal {
                key: "aws:region".to_owned(),
                message: format!(
                    "is another one than {}:region ({}), which is the one that counts. Set both alike, or remove it: pulumi config rm aws:region",
                    self.project,
                    region.unwrap_or_default()
                ),
            });
        }
    }
}

/// As much of it as fits into a line.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

/// What a key is for, without the marks of the documentation.
fn plain(key: &Key) -> String {
    key.what.replace('`', "")
}
