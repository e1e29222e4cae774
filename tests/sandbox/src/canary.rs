//! A word that is in every secret of the sandbox, and a search for it wherever it must not be.
//!
//! Passwords of all roles and the AWS key contain it, and so does what AWS says where a fault lets it refuse; tests put it into
//! the Secrets and the applications' secret that they make, and into what applications answer. Logs of every process, migrations
//! with their status, events and metrics may not, in whatever form.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The word. Nothing else on earth has a reason to say it.
pub const MARK: &str = "kanarienvogel";

/// How much is shown of what stands before a find: enough to see who said it.
const BEFORE: usize = 160;
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a secret was found, in what form, and what stands before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak(String);

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The forms in which the word could leave: as it is, encoded for a URL, in hexadecimal, in base64 at each of its three
/// places.
fn forms() -> Vec<(&'static str, String)> {
    let each = |write: fn(u8) -> String| MARK.bytes().map(write).collect::<String>();
    let mut forms = vec![
        ("as it is", MARK.to_owned()),
        ("encoded for a URL", each(|byte| format!("%{byte:02x}"))),
        ("in hexadecimal", each(|byte| format!("{byte:02x}"))),
        // As `Debug` has it.
        ("as numbers", MARK.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ")),
    ];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend(MARK.bytes());
        let encoded = serde_json::json!(ByteString(bytes));
        let encoded = encoded.as_str().unwrap_or_default();
        // What other bytes have a part in is left out.
        let (from, to) = ((before * 8).div_ceil(6), (before + MARK.len()) * 8 / 6);
        forms.push(("in base64", encoded[from..to].to_owned()));
    }
    forms
}

/// The places in a text where the word stands. `place` is what the text is.
pub fn in_text(place: &str, text: &str) -> Vec<Leak> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for (form, word) in forms() {
        // Base64 has no other case; of what is written in letters and digits, any.
        let at = if form == "in base64" { text.find(&word) } else { lower.find(&word) };
        if let Some(at) = at {
            let mut from = at.saturating_sub(BEFORE);
            while !text.is_char_boundary(from) {
                from += 1;
            }
            found.push(Leak(format!("{place} holds a secret {form}, after: {}", &text[from..at])));
        }
    }
    found
}

/// The same of a file; nothing of one that is not there.
pub fn in_file(path: &Path) -> Vec<Leak> {
    let bytes = fs::read(path).unwrap_or_default();
    in_text(&path.display().to_string(), &String::from_utf8_lossy(&bytes))
}

/// Everything of a sandbox in which no secret may be.
///
/// # Errors
/// When it can't all be looked at, which proves nothing.
pub async fn search(client: &Client, directory: &Path) -> Result<Vec<Leak>, String> {
    let mut found = Vec::new();
    let mut logs = Vec::new();
    collect_logs(directory, &mut logs);
    if !logs.iter().any(|log| log.ends_with("operator.log")) {
        return Err(format!("{} has no operator.log", directory.display()));
    }
    let token = fs::read_to_string(directory.join("kubernetes/operator.token")).unwrap_or_default();
    for log in logs {
        found.extend(in_file(&log));
        let text = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if token.len() > 20 && text.is_ok_and(|text| text.contains(token.trim())) {
            found.push(Leak(format!("{} holds the operator's token", log.display())));
        }
    }
    for (what, kind, plural) in [
        ("the migrations", "DatabaseMigration", "databasemigrations"),
        ("the applications", "ApplicationMigration", "applicationmigrations"),
    ] {
        let kind = GroupVersionKind::gvk("slipway.dev", "v1alpha1", kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        found.extend(listed(what, all).await?);
    }
    found.extend(listed("the events", Api::<Event>::all(client.clone())).await?);
    found.extend(listed("the ConfigMaps", Api::<ConfigMap>::all(client.clone())).await?);
    if let Some(address) = metrics_address(&directory.join("operator.log")) {
        // An operator that has ended, or was frozen, has no metrics to show.
        if let Ok(Ok(text)) = timeout(PATIENCE, metrics(&address)).await {
            found.extend(in_text("/metrics", &text));
        }
    }
    Ok(found)
}

/// Every log below a directory, but for what a database server keeps for itself.
fn collect_logs(directory: &Path, logs: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_logs(&path, logs);
        } else if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
}

async fn listed<K>(what: &str, api: Api<K>) -> Result<Vec<Leak>, String>
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let list = api.list(&ListParams::default()).await.map_err(|error| format!("listing {what}: {error}"))?;
    let text = serde_json::to_string(&list.items).map_err(|error| format!("writing {what}: {error}"))?;
    Ok(in_text(what, &text))
}

/// Where the operator of this log serves its metrics.
fn metrics_address(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let line = text.lines().find(|line| line.contains("serving /healthz"))?;
    let address = line.split("address=").nth(1)?;
    Some(address.split_whitespace().next()?.to_owned())
}

async fn metrics(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn base64(text: &str) -> String {
        serde_json::json!(ByteString(text.as_bytes().to_vec())).as_str().unwrap().to_owned()
    }

    #[test]
    fn a_planted_secret_is_found_in_every_form() {
        let secret = format!("{MARK}5a1d");
        for before in ["", "a", "ab", "abc", "{\"password\":\"", "ünï:"] {
            for (form, text) in [
                ("as it is", format!("{before}{secret} and more")),
                ("as it is", format!("{before}{}", secret.to_uppercase())),
                ("in base64", format!("x {} y", base64(&format!("{before}{secret} and more")))),
                ("in base64", format!("x {} y", base64(&format!("{before}{secret}")))),
                ("in hexadecimal", format!("{before}6b616e617269656e766f67656c")),
                ("encoded for a URL", format!("{before}%6B%61%6E%61%72%69%65%6E%76%6F%67%65%6C")),
            ] {
                let found = in_text("a log", &text);
                assert_eq!(found.len(), 1, "{text}");
                assert!(found[0].to_string().contains(form), "{}", found[0]);
                assert!(!found[0].to_string().contains(MARK), "the find repeats it: {}", found[0]);
            }
        }
        assert_eq!(in_text("a log", "a canary sings; kanarien; vogel"), []);
    }
}
