//! The directory of a sandbox: one sandbox at a time, and what a killed one left is cleared away.
//!
//! `DIR/lock` is locked for as long as a sandbox runs. The system frees the lock when its holder ends, however it ends,
//! so the lock says whether there is one, and the process id in the file only which one it is. The file also marks the
//! directory as a sandbox's own: nothing is ever removed from another.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::Error;
use crate::process;

/// How long a sandbox may take to end in order.
const END: Duration = Duration::from_mins(2);

/// A directory with a running sandbox of this process.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    databases: PathBuf,
    lock: File,
}

impl Directory {
    /// Makes the directory if it isn't there, and takes it for this process. Clears away what a killed sandbox left.
    pub fn take(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path).map_err(Error::io(format!("resolve {}", path.display())))?;
        make(&path)?;
        let shown = path.display();
        let marker = path.join("lock");
        if !marker.exists()
            && fs::read_dir(&path).map_err(Error::io(format!("list {shown}")))?.next().is_some()
        {
            return Err(Error::Directory(format!(
                "{shown} is not empty, and no sandbox made what is in it: name an empty or a new directory"
            )));
        }
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&marker)
            .map_err(Error::io(format!("open {}", marker.display())))?;
        if !try_lock(&lock, &marker)? {
            let pid = read(&mut lock).map_or(String::new(), |pid| format!(" (pid {})", pid.as_raw_nonzero()));
            return Err(Error::Directory(format!(
                "a sandbox runs in {shown} already{pid}: end it with `cargo sandbox down --dir {shown}`, or name \
                 another directory"
            )));
        }
        let taken = Self { databases: path.join("postgresql"), path, lock };
        taken.clear()?;
        make(&taken.kubernetes())?;
        make(&taken.databases)?;
        taken.write(&std::process::id().to_string())?;
        Ok(taken)
    }

    /// Its path, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the database servers live.
    pub fn databases(&self) -> &Path {
        &self.databases
    }

    /// Where etcd and kube-apiserver live.
    pub fn kubernetes(&self) -> PathBuf {
        self.path.join("kubernetes")
    }

    /// Frees it. What was written for people and for tests, the logs, stays.
    pub(super) fn release(self) -> Result<(), Error> {
        self.write("")
    }

    /// Ends the processes of a killed sandbox and removes its databases.
    fn clear(&self) -> Result<(), Error> {
        end_leftovers(&self.path)?;
        let mut lock = &self.lock;
        if let Some(pid) = read(&mut lock) {
            remove_databases(pid);
        }
        for stale in [self.path.join("env"), self.databases.clone()] {
            let removed = if stale.is_dir() { fs::remove_dir_all(&stale) } else { fs::remove_file(&stale) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(format!("remove {}", stale.display()))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write(&self, text: &str) -> Result<(), Error> {
        let mut lock = &self.lock;
        lock.set_len(0)
            .and_then(|()| lock.seek(SeekFrom::Start(0)))
            .and_then(|_| lock.write_all(text.as_bytes()))
            .map_err(Error::io(format!("write {}", self.path.join("lock").display())))
    }
}

/// The process that runs the sandbox of a directory.
#[derive(Clone, Debug)]
pub struct Holder {
    pid: Pid,
    marker: PathBuf,
}

impl Holder {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Asks it to end everything in order, and returns when it has.
    pub async fn end(&self) -> Result<(), Error> {
        let pid = self.pid();
        kill_process(self.pid, Signal::TERM)
            .map_err(|error| Error::io(format!("signal the sandbox (pid {pid})"))(error.into()))?;
        let deadline = Instant::now() + END;
        while is_locked(&self.marker)? {
            if Instant::now() > deadline {
                return Err(Error::Directory(format!(
                    "the sandbox (pid {pid}) did not end within {} s of SIGTERM: kill -9 {pid} ends it and all its \
                     processes",
                    END.as_secs()
                )));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// Who runs a sandbox in a directory, if anybody does.
pub fn held_by(path: &Path) -> Result<Option<Holder>, Error> {
    let marker = path.join("lock");
    if !marker.exists() || !is_locked(&marker)? {
        return Ok(None);
    }
    let marker = fs::canonicalize(&marker).map_err(Error::io(format!("resolve {}", marker.display())))?;
    let mut file = File::open(&marker).map_err(Error::io(format!("open {}", marker.display())))?;
    // The number in the file could be stale; that the process has this very file open can't be.
    match read(&mut file) {
        Some(pid) if has_open(pid, &marker) => Ok(Some(Holder { pid, marker })),
        _ => Err(Error::Directory(format!(
            "some process holds {} and it is not the one that the file names, or belongs to another user: \
             find it with `fuser {}`",
            marker.display(),
            marker.display()
        ))),
    }
}

/// Kills what a killed sandbox left running in its directory, by its pid files. Returns what was killed.
pub(crate) fn end_leftovers(path: &Path) -> Result<Vec<String>, Error> {
    let mut ended = process::end_leftovers(path)?;
    ended.extend(process::end_leftovers(&path.join("kubernetes"))?);
    Ok(ended)
}

/// A server whose account can't enter the sandbox's directory keeps its data in the system's temporary one.
fn remove_databases(pid: Pid) {
    let pid = pid.as_raw_nonzero();
    let prefixes = [format!("slipway-source-{pid}-"), format!("slipway-target-{pid}-")];
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            // Somebody else's directory of that name can't be removed, and need not be.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_locked(marker: &Path) -> Result<bool, Error> {
    let file = File::open(marker).map_err(Error::io(format!("open {}", marker.display())))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(Error::io(format!("look at {}", marker.display()))(error)),
    }
}

/// Whoever only looks holds the lock for an instant.
fn try_lock(file: &File, marker: &Path) -> Result<bool, Error> {
    for _ in 0..5 {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(format!("lock {}", marker.display()))(error));
            }
        }
    }
    Ok(false)
}

fn read(mut file: impl std::io::Read + std::io::Seek) -> Option<Pid> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.by_ref().take(32).read_to_string(&mut text).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

fn has_open(pid: Pid, file: &Path) -> bool {
    fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
}

/// Others may pass through, as the account of the database servers must; what is secret is so in its own file.
fn make(path: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path)
        .map_err(Error::io(format!("make {}", path.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::postgres::tests::Scratch;

    #[test]
    fn one_sandbox_at_a_time_and_never_in_a_directory_with_other_things() {
        let scratch = Scratch::new("directory");
        let foreign = scratch.0.join("foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("thesis.txt"), "x").unwrap();
        assert!(Directory::take(&foreign).unwrap_err().to_string().contains("not empty"));
        assert!(fs::exists(foreign.join("thesis.txt")).unwrap());

        let own = scratch.0.join("deep/own");
        let taken = Directory::take(&own).unwrap();
        let refusal = Directory::take(&own).unwrap_err().to_string();
        assert!(refusal.contains(&format!("pid {}", std::process::id())), "{refusal}");
        let holder = held_by(&own).unwrap().unwrap();
        assert_eq!(holder.pid().cast_unsigned(), std::process::id());
        taken.release().unwrap();
        assert!(held_by(&own).unwrap().is_none());
        drop(Directory::take(&own).unwrap());
    }

    #[test]
    fn a_new_sandbox_clears_away_what_a_killed_one_left() {
        let scratch = Scratch::new("remnants");
        let own = scratch.0.join("own");
        let killed = Directory::take(&own).unwrap();
        fs::create_dir(killed.databases().join("source")).unwrap();
        fs::write(own.join("env"), "export A=b").unwrap();
        drop(killed);
        let next = Directory::take(&own).unwrap();
        assert!(!own.join("env").exists());
        assert_eq!(fs::read_dir(next.databases()).unwrap().count(), 0);
    }
}
