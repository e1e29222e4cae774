//! The Java program of tests/java: built by Maven when its files have changed, then run by java itself.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::directory;
use crate::journey::PATIENCE;

/// The threads that write, each through a connection of the pool.
pub(crate) const WRITERS: u32 = 8;

/// One line of the program: an attempt at a write, and what came of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) key: String,
    pub(crate) writer: u32,
    pub(crate) outcome: String,
    port: u16,
    pub(crate) reason: String,
}

impl Attempt {
    /// The port of the server that acknowledged it.
    pub(crate) fn acknowledged(&self) -> Option<u16> {
        (self.outcome == "acknowledged").then_some(self.port)
    }

    pub(crate) fn acknowledged_by(&self, port: u16) -> bool {
        self.acknowledged() == Some(port)
    }

    /// The pool waited in vain for a host that lets it in.
    pub(crate) fn got_no_connection(&self) -> bool {
        self.outcome == "refused" && self.reason.contains("Connection is not available")
    }
}

/// Who asks again while no host lets the application in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Retries {
    /// The pool, with its own pauses.
    Pool,
    /// The source that the pool takes its connections from.
    Source,
}

impl Retries {
    fn milliseconds(self) -> &'static str {
        match self {
            Self::Pool => "0",
            Self::Source => "30000",
        }
    }
}

/// The running program. It ends when its stdin does, so with this process at the latest.
pub(crate) struct Application {
    child: Child,
    stdin: Option<ChildStdin>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    complaints: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Application {
    pub(crate) fn start(url: &str, user: &str, password: &str, retries: Retries) -> Self {
        let built = build();
        let classes = format!("{}:{}", built.join("classes").display(), built.join("libraries/*").display());
        let mut child = Command::new("java")
            .args(["-Xmx128m", "-cp", &classes, "dev.slipway.application.Application"])
            .env("APPLICATION_URL", url)
            .env("APPLICATION_USER", user)
            .env("APPLICATION_PASSWORD", password)
            .env("APPLICATION_PATIENCE", retries.milliseconds())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let complaints = Arc::new(Mutex::new(String::new()));
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers = vec![
            std::thread::spawn({
                let attempts = Arc::clone(&attempts);
                move || {
                    for line in BufReader::new(out).lines() {
                        let line = line.unwrap();
                        let attempt: Attempt =
                            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                        locked(&attempts).push(attempt);
                    }
                }
            }),
            std::thread::spawn({
                let complaints = Arc::clone(&complaints);
                move || {
                    for line in BufReader::new(err).lines() {
                        let mut complaints = locked(&complaints);
                        complaints.push_str(&line.unwrap());
                        complaints.push('\n');
                    }
                }
            }),
        ];
        Self { child, stdin, attempts, complaints, readers }
    }

    /// Waits until the attempts so far are as wanted.
    pub(crate) async fn until(&mut self, what: &str, reached: impl Fn(&[Attempt]) -> bool) {
        let begun = Instant::now();
        loop {
            if reached(&self.attempts()) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let attempts = self.attempts();
                let last = &attempts[attempts.len().saturating_sub(20)..];
                panic!("wanted: {what}; {ended:?}; last seen: {last:#?}\n{}", locked(&self.complaints));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The attempts so far.
    pub(crate) fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        locked(&self.attempts)
    }

    /// Asks it to end, and returns all that it told.
    pub(crate) async fn end(mut self) -> Vec<Attempt> {
        drop(self.stdin.take());
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20)).await;
        }
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}\n{}", locked(&self.complaints));
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        std::mem::take(&mut *self.attempts())
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the classes and the libraries are. Maven is asked only when the program's files are not those of the last build.
fn build() -> PathBuf {
    for program in ["java", "javac", "mvn"] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let there = std::env::split_paths(&path).any(|directory| directory.join(program).exists());
        assert!(there, "{program} is missing: apt-get install default-jdk-headless maven (Java 17 or newer)");
    }
    fs::create_dir_all(directory()).unwrap();
    let (built, stamp) = (directory().join("java"), directory().join("java.built-from"));
    // Two runs of the tests, or two tests, build once.
    let lock = fs::File::create(directory().join("java.lock")).unwrap();
    lock.lock().unwrap();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java");
    let files = text_of(&project);
    if fs::read(&stamp).is_ok_and(|old| old == files) {
        return built;
    }
    let _ = fs::remove_file(&stamp);
    let _ = fs::remove_dir_all(&built);
    let maven = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "-Dstyle.color=never", "compile", "--file"])
        .arg(project.join("pom.xml"))
        .arg(format!("-Doutput={}", built.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&maven.stdout);
    assert!(maven.status.success(), "Maven could not build {}: {said}", project.display());
    fs::write(&stamp, files).unwrap();
    built
}

/// All files of a folder, one after the other, each after its name.
fn text_of(folder: &Path) -> Vec<u8> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut text = Vec::new();
    for path in paths {
        text.extend(path.display().to_string().bytes());
        if path.is_dir() {
            text.extend(text_of(&path));
        } else {
            fs::File::open(&path).unwrap().read_to_end(&mut text).unwrap();
        }
    }
    text
}
