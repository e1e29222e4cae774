//! Child processes that end with their parent.
//!
//! A child's standard output and error go to a log file, and beside that file `<name>.pid` says which process it is.
//! Three things end a child: [`Running::stop`], dropping its [`Running`], and the death of this process, by `SIGKILL`
//! too: `setpriv` (util-linux) asks the kernel for that. Where `setpriv` does not exist, the pid file is the last
//! resort: [`end_leftovers`] reads it at the next start.

mod leftovers;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::sync::watch;

pub use leftovers::end_leftovers;
pub use rustix::process::Signal;

/// What to run. The child runs in `/`, so every path in `args` must be absolute.
#[derive(Clone, Debug)]
pub struct Spec {
    /// A path, or a name to be found in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables beside those of this process.
    pub envs: Vec<(String, String)>,
    /// Run as this user, with that user's own group and no other. Takes root, unless this process is that user.
    pub user: Option<String>,
    /// Where standard output and error are appended.
    pub log: PathBuf,
}

/// Why a child could not be started or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that must be on the machine isn't.
    #[error("{program} is not installed, it is needed to {purpose}: {install}")]
    Missing {
        /// The program's name.
        program: String,
        /// What for.
        purpose: String,
        /// What to type to have it.
        install: String,
    },
    /// The user to run as isn't there or can't be taken on.
    #[error("cannot run {program} as user {user}: {reason}")]
    User {
        /// What was to run.
        program: String,
        /// As whom.
        user: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// A file or process operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted, and on what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ignored even `SIGKILL` for the time given.
    #[error("{program} (pid {pid}) did not end within {waited:?} of SIGKILL; see {}", log.display())]
    Stuck {
        /// What ran.
        program: String,
        /// Its process id.
        pid: i32,
        /// How long was waited.
        waited: Duration,
        /// Its log.
        log: PathBuf,
    },
}

/// A started child. Dropping it kills the child.
#[derive(Debug)]
pub struct Running {
    program: String,
    log: PathBuf,
    control: Arc<Control>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

/// Signals may only be sent while the process id is certainly still the child's, that is until it is reaped.
#[derive(Debug)]
struct Control {
    pid: Pid,
    reaped: Mutex<bool>,
}

impl Control {
    fn reaped(&self) -> MutexGuard<'_, bool> {
        self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let reaped = self.reaped();
        if *reaped { Ok(()) } else { Ok(kill_process(self.pid, signal)?) }
    }
}

/// Starts a child.
///
/// The kernel's "tell me when my parent dies" means the *thread* that made the child. A runtime's worker may end long
/// before the process does, so each child has a thread of its own, which starts it and then waits for its end.
pub fn start(spec: &Spec) -> Result<Running, Error> {
    launch(spec, false)
}

/// As [`start`], with the variables of `spec` as the child's whole environment.
pub fn start_alone(spec: &Spec) -> Result<Running, Error> {
    launch(spec, true)
}

fn launch(spec: &Spec, alone: bool) -> Result<Running, Error> {
    let name = display_name(&spec.program);
    let log =
        std::path::absolute(&spec.log).map_err(io_error(|| format!("resolve {}", spec.log.display())))?;
    let mut command = command(spec, &name)?;
    if alone {
        command.env_clear();
    }
    command.envs(spec.envs.iter().map(|(key, value)| (key, value)));
    let output = File::options()
        .create(true)
        .append(true)
        .open(&log)
        .map_err(io_error(|| format!("open the log {}", log.display())))?;
    let errors = output.try_clone().map_err(io_error(|| format!("open the log {} twice", log.display())))?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors).current_dir("/");
    // Ctrl-C in a terminal goes to the whole group; the order of the shutdown is ours to choose.
    command.process_group(0);

    let pid_file = log.with_extension("pid");
    let (started, wait_for_start) = mpsc::sync_channel(1);
    let (announce, ended) = watch::channel(None);
    let recorded = leftovers::Record { program: spec.program.clone(), file: pid_file };
    thread::Builder::new()
        .name(format!("child {name}"))
        .spawn(move || run(command, &recorded, &started, &announce))
        .map_err(io_error(|| format!("start a thread to watch {name}")))?;
    let control = wait_for_start
        .recv()
        .map_err(|_| io::Error::other("its thread ended at once"))
        .flatten()
        .map_err(io_error(|| format!("start {}", spec.program.display())))?;
    Ok(Running { program: name, log, control, ended })
}

fn run(
    mut command: Command,
    record: &leftovers::Record,
    started: &mpsc::SyncSender<io::Result<Arc<Control>>>,
    announce: &watch::Sender<Option<ExitStatus>>,
) {
    let begun = command.spawn().and_then(|mut child| {
        let pid = Pid::from_child(&child);
        if let Err(error) = record.write(pid) {
            // Nobody could find it again: better not to have it.
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
        Ok((Arc::new(Control { pid, reaped: Mutex::new(false) }), child))
    });
    let (control, child) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            // The receiver is waiting in `start`; if it is gone there is nobody to tell.
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(Arc::clone(&control)));
    let status = reap(&control, child);
    record.remove(control.pid);
    announce.send_replace(status);
}

/// Waits without reaping, then reaps under the lock, so that no signal can reach a stranger with a reused id.
fn reap(control: &Control, mut child: Child) -> Option<ExitStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(control.pid), options) {}
    let mut reaped = control.reaped();
    let status = child.wait().ok();
    *reaped = true;
    status
}

impl Running {
    /// The child's process id.
    pub fn pid(&self) -> i32 {
        self.control.pid.as_raw_nonzero().get()
    }

    /// Whether the child has not ended yet.
    pub fn is_running(&self) -> bool {
        !*self.control.reaped()
    }

    /// Where the child's output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends one signal; does nothing if the child has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.control
            .signal(signal)
            .map_err(io_error(|| format!("signal {} (pid {})", self.program, self.pid())))
    }

    /// Kills the child at once, from wherever it is called, and does not wait; does nothing if the child has ended.
    pub fn killer(&self) -> impl Fn() + Send + Sync + use<> {
        let control = Arc::clone(&self.control);
        move || {
            // That it can't be signalled means that it is gone.
            let _ = control.signal(Signal::KILL);
        }
    }

    /// Waits until the child has ended by itself.
    pub async fn ended(&self) {
        // An error means that the watching thread is gone, which it only is after the child's end.
        let _ = self.ended.clone().wait_for(|_| *self.control.reaped()).await;
    }

    /// Asks the child to end with `SIGTERM`, and after `grace` kills it. Returns when it is gone.
    pub async fn stop(&self, grace: Duration) -> Result<(), Error> {
        self.stop_with(Signal::TERM, grace).await
    }

    /// As [`Running::stop`], with another first signal: a database server's fast shutdown is `SIGINT`.
    pub async fn stop_with(&self, first: Signal, grace: Duration) -> Result<(), Error> {
        self.signal(first)?;
        if tokio::time::timeout(grace, self.ended()).await.is_ok() {
            return Ok(());
        }
        self.signal(Signal::KILL)?;
        let waited = Duration::from_secs(10);
        tokio::time::timeout(waited, self.ended()).await.map_err(|_| Error::Stuck {
            program: self.program.clone(),
            pid: self.pid(),
            waited,
            log: self.log.clone(),
        })
    }

    /// One sentence on how the child stands and the end of its log: for an error about a child that isn't as it should be.
    pub fn describe(&self) -> String {
        let state = match *self.ended.borrow() {
            Some(status) => format!("ended ({status})"),
            None if self.is_running() => format!("is running (pid {})", self.pid()),
            None => "ended".to_owned(),
        };
        let tail = tail(&self.log).unwrap_or_else(|error| format!("(unreadable: {error})"));
        format!("{} {state}; the end of {}:\n{tail}", self.program, self.log.display())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Drop has nobody to tell; that the process can't be signalled means that it is gone.
        let _ = self.control.signal(Signal::KILL);
    }
}

fn command(spec: &Spec, name: &str) -> Result<Command, Error> {
    let program = find(&spec.program).ok_or_else(|| Error::Missing {
        program: spec.program.display().to_string(),
        purpose: "run the sandbox".to_owned(),
        install: "install it, or put it in PATH".to_owned(),
    })?;
    let setpriv = find(Path::new("setpriv"));
    let other_user = match &spec.user {
        Some(user) => change_of_user(user, name)?,
        None => None,
    };
    let mut command = match (setpriv, &other_user) {
        (Some(setpriv), ids) => {
            let mut command = Command::new(setpriv);
            command.arg("--pdeathsig=KILL");
            if let Some((uid, gid)) = ids {
                command.args([&format!("--reuid={uid}"), &format!("--regid={gid}")]).arg("--clear-groups");
            }
            command.arg("--").arg(program);
            command
        }
        (None, Some(_)) => {
            return Err(Error::Missing {
                program: "setpriv".to_owned(),
                purpose: format!("run {name} as another user than root"),
                install: "apt-get install util-linux, or do not run the sandbox as root".to_owned(),
            });
        }
        (None, None) => Command::new(program),
    };
    command.args(&spec.args);
    Ok(command)
}

/// The ids to change to, or `None` if this process is that user already.
fn change_of_user(user: &str, program: &str) -> Result<Option<(u32, u32)>, Error> {
    let refuse = |reason: String| Error::User { program: program.to_owned(), user: user.to_owned(), reason };
    let id = |flag: &str| -> Result<u32, Error> {
        let output = Command::new("id")
            .args([flag, "--", user])
            .output()
            .map_err(io_error(|| format!("run id {flag}")))?;
        if !output.status.success() {
            return Err(refuse(format!("there is no such user; create it with: useradd --system {user}")));
        }
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .map_err(|_| refuse(format!("`id {flag} {user}` printed no number")))
    };
    let (uid, gid) = (id("-u")?, id("-g")?);
    let own = rustix::process::geteuid();
    if own.as_raw() == uid {
        return Ok(None);
    }
    if !own.is_root() {
        return Err(refuse(format!(
            "only root may become another user, and this is user id {}",
            own.as_raw()
        )));
    }
    Ok(Some((uid, gid)))
}

/// The program's file: itself if it is a path to a file, else the first of that name in `PATH`.
pub fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| std::path::absolute(program).ok()).flatten();
    }
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_absolute() && candidate.is_file())
}

/// The last lines of a log, at most 2 KiB.
fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(2048)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn display_name(program: &Path) -> String {
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn io_error<S: Into<io::Error>>(what: impl FnOnce() -> String) -> impl FnOnce(S) -> Error {
    move |source| Error::Io { what: what(), source: source.into() }
}

#[cfg(test)]
mod tests;
