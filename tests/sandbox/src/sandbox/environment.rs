//! `DIR/env`: all that another process needs to use the sandbox, as lines for a shell.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{CLUSTER, Directory, Error, RECORD, REGION, SERVICE, Traffic};
use crate::bank::Bank;
use crate::postgres::Login;

/// With [`crate::canary::MARK`], so that a search finds it. The stand-in checks no signature.
const AWS_KEY: &str = "kanarienvogel/sandbox/key";
/// How much the operator logs.
const OPERATOR_LOG: &str = "RUST_LOG";

/// The services that the operator calls, as the AWS SDKs write them in the names of variables.
const SERVICES: [&str; 8] = [
    "DATABASE_MIGRATION_SERVICE",
    "RDS",
    "CLOUDWATCH",
    "SECRETS_MANAGER",
    "STS",
    "ROUTE_53",
    "ELASTIC_LOAD_BALANCING_V2",
    "ECS",
];

/// The variables, in the order of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment {
    directory: PathBuf,
    values: Vec<(String, String)>,
}

impl std::fmt::Debug for Environment {
    // The values hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Environment({})", self.path().display())
    }
}

pub(super) struct Parts<'a> {
    pub(super) admin: &'a Path,
    pub(super) operator: &'a Path,
    pub(super) aws: &'a str,
    pub(super) traffic: &'a Traffic,
    /// Of source and target.
    pub(super) superusers: [&'a Login; 2],
    pub(super) bank: &'a Bank,
    pub(super) operator_log: Option<&'a str>,
}

impl Environment {
    pub(super) fn new(directory: &Directory, parts: &Parts) -> Result<Self, Error> {
        let ca = directory.path().join("databases-ca.crt");
        fs::write(&ca, &parts.superusers[0].ca).map_err(Error::io(format!("write {}", ca.display())))?;
        let Parts { bank, superusers: [source, target], .. } = parts;
        let mut values = vec![
            ("SANDBOX_PID".to_owned(), std::process::id().to_string()),
            ("KUBECONFIG".to_owned(), parts.admin.display().to_string()),
            ("SLIPWAY_OPERATOR_KUBECONFIG".to_owned(), parts.operator.display().to_string()),
            // For the services that the sandbox doesn't have: no call ever leaves this machine.
            ("AWS_ENDPOINT_URL".to_owned(), parts.aws.to_owned()),
        ];
        values.extend(SERVICES.map(|service| (format!("AWS_ENDPOINT_URL_{service}"), parts.aws.to_owned())));
        values.extend(
            [
                ("AWS_REGION", REGION),
                ("AWS_DEFAULT_REGION", REGION),
                ("AWS_ACCESS_KEY_ID", "AKIASANDBOX"),
                ("AWS_SECRET_ACCESS_KEY", AWS_KEY),
                ("AWS_EC2_METADATA_DISABLED", "true"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let traffic = parts.traffic;
        values.extend(
            [
                ("DNS_ADDRESS", traffic.dns().to_string()),
                ("ZONE_ID", traffic.zone_id.clone()),
                ("RECORD_NAME", RECORD.to_owned()),
                ("LOAD_BALANCER_ADDRESS", traffic.balancer.to_string()),
                ("LOAD_BALANCER_ARN", traffic.balancer_arn.clone()),
                ("TARGET_GROUP_ARN", traffic.group_arn.clone()),
                ("ECS_CLUSTER", CLUSTER.to_owned()),
                ("ECS_SERVICE", SERVICE.to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        for (name, login) in [
            ("SOURCE_DSN", *source),
            ("SOURCE_APP_DSN", &bank.source.app),
            ("SOURCE_DMS_DSN", &bank.source.dms),
            ("SOURCE_OPERATOR_DSN", &bank.source.operator),
            ("TARGET_DSN", *target),
            ("TARGET_APP_DSN", &bank.target.app),
            ("TARGET_DMS_DSN", &bank.target.dms),
            ("TARGET_OPERATOR_DSN", &bank.target.operator),
        ] {
            values.push((name.to_owned(), login.dsn(&ca)));
        }
        values.extend(parts.operator_log.map(|filter| (OPERATOR_LOG.to_owned(), filter.to_owned())));
        Ok(Self { directory: directory.path().to_owned(), values })
    }

    /// Of the sandbox that runs in a directory.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let directory =
            std::path::absolute(directory).map_err(Error::io(format!("resolve {}", directory.display())))?;
        let path = directory.join("env");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let shown = directory.display();
                return Err(Error::Directory(format!(
                    "no sandbox runs in {shown}: start one with `cargo sandbox up --dir {shown}`"
                )));
            }
            Err(error) => return Err(Error::io(format!("read {}", path.display()))(error)),
        };
        let values = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            unquote(line).ok_or_else(|| Error::Malformed {
                what: path.display().to_string(),
                reason: "it has a line that the sandbox did not write".to_owned(),
            })
        });
        let values = values.collect::<Result<_, _>>()?;
        Ok(Self { directory, values })
    }

    /// The sandbox's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.directory.join("env")
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Result<&str, Error> {
        let found = self.values.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| Error::Malformed {
            what: self.path().display().to_string(),
            reason: format!("it has no {name}: start the sandbox again"),
        })
    }

    /// The login that a variable such as `SOURCE_APP_DSN` holds.
    pub fn login(&self, name: &str) -> Result<Login, Error> {
        Ok(Login::parse(self.get(name)?)?)
    }

    /// What the operator is given, and nothing else: its own kubeconfig and AWS.
    pub fn for_operator(&self) -> Result<Vec<(String, String)>, Error> {
        let kubeconfig = self.get("SLIPWAY_OPERATOR_KUBECONFIG")?.to_owned();
        let given = |name: &str| name.starts_with("AWS_") || name == OPERATOR_LOG;
        let given = self.values.iter().filter(|(name, _)| given(name)).cloned();
        Ok(std::iter::once(("KUBECONFIG".to_owned(), kubeconfig)).chain(given).collect())
    }

    /// Writes the file under its name at once, so that whoever sees it sees all of it.
    pub(super) fn write(&self) -> Result<(), Error> {
        let mut text = String::new();
        for (name, value) in &self.values {
            let _ = writeln!(text, "{}", quote(name, value));
        }
        let unfinished = self.directory.join("env.new");
        let opened = File::options().create(true).write(true).truncate(true).mode(0o600).open(&unfinished);
        opened
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&unfinished, self.path()))
            .map_err(Error::io(format!("write {}", self.path().display())))
    }

    pub(super) fn remove(&self) -> Result<(), Error> {
        fs::remove_file(self.path()).map_err(Error::io(format!("remove {}", self.path().display())))
    }
}

fn quote(name: &str, value: &str) -> String {
    let mut line = format!("export {name}=\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\' | '$' | '`') {
            line.push('\\');
        }
        line.push(character);
    }
    line + "\""
}

fn unquote(line: &str) -> Option<(String, String)> {
    let (name, quoted) = line.strip_prefix("export ")?.split_once('=')?;
    let mut value = String::new();
    let mut characters = quoted.strip_prefix('"')?.strip_suffix('"')?.chars();
    while let Some(character) = characters.next() {
        value.push(if character == '\\' { characters.next()? } else { character });
    }
    Some((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_shell_and_we_read_the_same_value() {
        let value = r#"password='a"b' \ $HOME `id` ='"#;
        let line = quote("SOURCE_DSN", value);
        assert_eq!(unquote(&line).unwrap(), ("SOURCE_DSN".to_owned(), value.to_owned()));
        let script = format!("{line}\nprintf %s \"$SOURCE_DSN\"");
        let shell = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), value);
    }
}
