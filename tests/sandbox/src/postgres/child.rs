//! A postmaster as our child, with the processes it started.
//!
//! The kernel's parent-death signal goes out when the *thread* that started a child ends, so each child has a thread of
//! its own that starts it, waits for it, and lives exactly as long. PostgreSQL makes each of its processes the leader of
//! a session, so a signal to our child's process group would reach the postmaster alone.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

/// A process as the kernel tells it from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    started: u64,
}

/// A running or ended child.
pub(super) struct Child {
    pid: u32,
    exit: watch::Receiver<Option<io::Result<ExitStatus>>>,
}

impl Child {
    /// Starts `command` out of reach of a Ctrl-C in our terminal: we are told, and end it in order.
    pub(super) fn spawn(mut command: Command, name: &str) -> io::Result<Self> {
        command.process_group(0);
        let (started, start) = mpsc::channel();
        let (ended, exit) = watch::channel(None);
        thread::Builder::new().name(format!("postgres {name}")).spawn(move || match command.spawn() {
            Ok(mut child) => {
                let _ = started.send(Ok(child.id()));
                ended.send_replace(Some(child.wait()));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        })?;
        let pid = start.recv().map_err(io::Error::other)??;
        Ok(Self { pid, exit })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        self.exit.borrow().as_ref().map(|exit| match exit {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        })
    }

    /// Waits until it has ended.
    pub(super) async fn wait(&mut self) {
        // The sender goes away only after it has sent.
        let _ = self.exit.wait_for(Option::is_some).await;
    }

    /// Signals the postmaster alone. One that has ended is not an error.
    pub(super) fn signal(&mut self, signal: &str) -> io::Result<()> {
        if self.ended().is_some() {
            return Ok(());
        }
        send(signal, &[self.pid])
    }

    /// Signals the postmaster and all its processes.
    pub(super) fn signal_all(&self, signal: &str) -> io::Result<()> {
        if self.exit.borrow().is_some() {
            return Ok(());
        }
        // The postmaster stops first, so that it starts nothing that the list lacks.
        send(signal, &[self.pid])?;
        let others: Vec<u32> = self.others()?.iter().map(|process| process.pid).collect();
        send(signal, &others)
    }

    /// Kills the postmaster and all its processes, and waits until none is left: the next postmaster refuses to start
    /// while one of them holds the shared memory.
    pub(super) async fn kill(mut self) -> io::Result<()> {
        let others = self.kill_all()?;
        self.wait().await;
        while others.iter().any(is_alive) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// As [`Self::kill`], where nothing can be awaited. It tries for five seconds.
    fn kill_blocking(&mut self) {
        let Ok(others) = self.kill_all() else { return };
        for _ in 0..500 {
            if self.ended().is_some() && !others.iter().any(is_alive) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn kill_all(&mut self) -> io::Result<Vec<Process>> {
        if self.ended().is_some() {
            return Ok(Vec::new());
        }
        send("STOP", &[self.pid])?;
        let others = self.others()?;
        let mut all: Vec<u32> = others.iter().map(|process| process.pid).collect();
        all.push(self.pid);
        send("KILL", &all)?;
        Ok(others)
    }

    fn others(&self) -> io::Result<Vec<Process>> {
        let mut children = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_string_lossy().parse();
            children.extend(pid.ok().and_then(look_at).filter(|process| process.parent == self.pid));
        }
        Ok(children)
    }
}

impl Drop for Child {
    /// Whatever was cancelled or failed half-way, no server is left running.
    fn drop(&mut self) {
        self.kill_blocking();
    }
}

/// The shell's own `kill` is on every machine; the program of that name is not.
fn send(signal: &str, pids: &[u32]) -> io::Result<()> {
    if pids.is_empty() {
        return Ok(());
    }
    // A process that ended meanwhile makes `kill` complain and is what was wanted, or will be seen by waiting.
    Command::new("sh")
        .args(["-c", "signal=$1; shift; for pid; do kill -s \"$signal\" \"$pid\"; done", "sh", signal])
        .args(pids.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(|_| ())
}

fn look_at(pid: u32) -> Option<Process> {
    // After the name in parentheses, which may hold anything: state, parent, ..., start time as the 20th.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let alive = !matches!(*fields.first()?, "Z" | "X");
    alive.then_some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Its parent changes when the postmaster dies; its number and start do not.
fn is_alive(process: &Process) -> bool {
    look_at(process.pid).is_some_and(|now| now.started == process.started)
}
