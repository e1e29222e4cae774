//! Which PostgreSQL this machine has, and as whom it may run.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;

/// The oldest major with everything that Slipway uses.
const OLDEST: u32 = 14;

/// The directory of one installation's programs.
#[derive(Clone, Debug)]
pub(super) struct Install {
    bin: PathBuf,
}

impl Install {
    /// The newest usable installation, of those on the `PATH` and where the distributions put theirs.
    pub(super) fn find() -> Result<Self, Error> {
        let mut places: Vec<PathBuf> = Vec::new();
        if let Ok(output) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output() {
            places.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        }
        places.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        for root in ["/usr/lib/postgresql", "/usr/local", "/usr"] {
            places.extend(
                fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")),
            );
        }
        let newest = places
            .into_iter()
            .filter(|bin| ["initdb", "postgres"].iter().all(|program| bin.join(program).is_file()))
            .filter_map(|bin| Some((major(&bin)?, bin)))
            .filter(|(major, _)| *major >= OLDEST)
            // Of two of the same major the one found first.
            .reduce(|best, next| if next.0 > best.0 { next } else { best });
        match newest {
            Some((_, bin)) => Ok(Self { bin }),
            None => Err(Error::Missing(format!(
                "PostgreSQL {OLDEST} or later is not installed (looked for initdb and postgres on the PATH and in \
                 /usr/lib/postgresql/*/bin): install it with `apt-get install postgresql`"
            ))),
        }
    }

    /// A program of this installation, to be run as `account`, that dies when we do.
    pub(super) fn command(&self, program: &str, account: Option<&Account>) -> Command {
        let mut command = setpriv(account);
        command.arg("--").arg(self.bin.join(program));
        // Settings and files of the person who started us are not meant for this server.
        command.env("HOME", "/");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
    }
}

/// Can `account` really write in `directory`? Asked of the kernel, since every parent has a say.
pub(super) fn reaches(account: Option<&Account>, directory: &Path) -> Result<bool, Error> {
    let mut probe = setpriv(account);
    probe.args(["--", "test", "-w"]).arg(directory);
    let status = probe.stdin(Stdio::null()).stderr(Stdio::null()).status().map_err(|cause| {
            if cause.kind() == std::io::ErrorKind::NotFound {
                return Error::Missing(
                    "setpriv, which starts the database servers, is not installed: install it with `apt-get install \
                     util-linux`"
                        .to_owned(),
                );
            }
            Error::System { attempt: "running setpriv".to_owned(), cause }
        })?;
    Ok(status.success())
}

/// An account of this machine.
#[derive(Clone, Debug)]
pub(super) struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// PostgreSQL refuses to run as root. Root needs an account to run it as; everybody else runs it as themselves.
    pub(super) fn needed() -> Result<Option<Self>, Error> {
        let me = fs::metadata("/proc/self").map_err(Error::system("asking /proc/self who we are"))?.uid();
        if me != 0 {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").map_err(Error::system("reading /etc/passwd"))?;
        let found = ["postgres", "nobody"].iter().find_map(|wanted| Self::parse(&accounts, wanted));
        found.map(Some).ok_or_else(|| {
            Error::Missing(
                "PostgreSQL does not run as root and this machine has no account postgres or nobody: make one with \
                 `useradd --system postgres`"
                    .to_owned(),
            )
        })
    }

    fn parse(accounts: &str, wanted: &str) -> Option<Self> {
        let fields: Vec<&str> =
            accounts.lines().map(|line| line.split(':').collect()).find(|f: &Vec<&str>| f[0] == wanted)?;
        Some(Self { user: fields.get(2)?.parse().ok()?, group: fields.get(3)?.parse().ok()? })
    }

    /// Gives a file or directory to this account.
    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        chown(path, Some(self.user), Some(self.group))
    }
}

fn setpriv(account: Option<&Account>) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(account) = account {
        command.arg(format!("--reuid={}", account.user)).arg(format!("--regid={}", account.group));
        command.arg("--clear-groups");
    }
    // Our own directory may be one that the account can't enter.
    command.args(["--pdeathsig", "KILL"]).current_dir("/");
    command
}

/// The major version of the server program in `bin`, if it runs at all.
fn major(bin: &Path) -> Option<u32> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

/// From `postgres (PostgreSQL) 15.18 (Debian 15.18-1)`, `17beta1`, `18devel`.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_the_major_of_every_kind_of_release() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 17beta1"), Some(17));
        assert_eq!(parse_major("postgres: not found"), None);
    }

    #[test]
    fn finds_an_account_by_its_whole_name() {
        let accounts = "postgresql:x:5:6::/:/bin/sh\npostgres:x:115:121:PostgreSQL:/var/lib:/bin/bash\n";
        let found = Account::parse(accounts, "postgres").unwrap();
        assert_eq!((found.user, found.group), (115, 121));
        assert!(Account::parse(accounts, "nobody").is_none());
    }
}
