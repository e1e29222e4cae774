//! Pid files: what is left to go by after the sandbox itself was killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::{Error, io_error};

/// What a pid file says, and where it is.
pub(super) struct Record {
    pub(super) program: PathBuf,
    pub(super) file: PathBuf,
}

impl Record {
    fn text(&self, pid: Pid) -> String {
        format!("{} {}\n", pid.as_raw_nonzero(), self.program.display())
    }

    pub(super) fn write(&self, pid: Pid) -> io::Result<()> {
        fs::write(&self.file, self.text(pid))
    }

    /// Removes the file unless it speaks of a later child by now.
    pub(super) fn remove(&self, pid: Pid) {
        if fs::read_to_string(&self.file).is_ok_and(|text| text == self.text(pid)) {
            // It may have gone with its directory; a pid file of a dead process is recognised as such anyway.
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// Kills what the pid files directly in `directory` name, if a process of that id still runs that program, and removes
/// the files. Returns what was killed, as `program (pid)`. For a directory whose sandbox was killed.
pub fn end_leftovers(directory: &Path) -> Result<Vec<String>, Error> {
    let mut killed = Vec::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(killed),
        Err(error) => return Err(io_error(|| format!("list {}", directory.display()))(error)),
    };
    for entry in entries {
        let file = entry.map_err(io_error(|| format!("list {}", directory.display())))?.path();
        if file.extension().is_none_or(|extension| extension != "pid") {
            continue;
        }
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            // Its child has just ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error(|| format!("read {}", file.display()))(error)),
        };
        // A half-written file names nobody; the kernel's own notice has ended that child.
        if let Some((pid, program)) = parse(&text)
            && runs(pid, program)
        {
            match kill_process(pid, Signal::KILL) {
                Ok(()) => killed.push(format!("{program} ({})", pid.as_raw_nonzero())),
                Err(Errno::SRCH) => {}
                Err(error) => {
                    return Err(io_error(|| format!("kill {program} ({})", pid.as_raw_nonzero()))(error));
                }
            }
        }
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(|| format!("remove {}", file.display()))(error));
            }
            _ => {}
        }
    }
    Ok(killed)
}

fn parse(text: &str) -> Option<(Pid, &str)> {
    let (pid, program) = text.trim_end().split_once(' ')?;
    Some((Pid::from_raw(pid.parse().ok()?)?, program))
}

/// Process ids are used again, so the id alone proves nothing.
fn runs(pid: Pid, program: &str) -> bool {
    let command_line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let first = command_line.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = |path: &str| Path::new(path).file_name().map(ToOwned::to_owned);
    !first.is_empty() && name(&String::from_utf8_lossy(first)) == name(program)
}
