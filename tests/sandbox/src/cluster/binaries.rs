//! Where etcd and kube-apiserver come from: `$KUBEBUILDER_ASSETS`, else a cache, else one build into the cache.

use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::process;

/// The two programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// etcd's server.
    pub etcd: PathBuf,
    /// Kubernetes' API server.
    pub kube_apiserver: PathBuf,
}

/// The Go module that the programs are built from. It is part of this binary, so the cache is right for it wherever it
/// runs, with or without its source tree.
const MODULE: [(&str, &str); 4] = [
    ("go.mod", include_str!("../../kubernetes/go.mod")),
    ("go.sum", include_str!("../../kubernetes/go.sum")),
    ("etcd/main.go", include_str!("../../kubernetes/etcd/main.go")),
    ("kube-apiserver/main.go", include_str!("../../kubernetes/kube-apiserver/main.go")),
];

/// Why there is no Kubernetes to run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `$KUBEBUILDER_ASSETS` is set and lacks a program.
    #[error(
        "KUBEBUILDER_ASSETS is {}, and there is no {program} in it: \
         unset it to have Kubernetes built, or run `setup-envtest use` and set it to what that prints", directory.display()
    )]
    Assets {
        /// Its value.
        directory: PathBuf,
        /// What isn't there.
        program: &'static str,
    },
    /// Neither `$XDG_CACHE_HOME` nor `$HOME` is set.
    #[error(
        "no place for the built etcd and kube-apiserver: set XDG_CACHE_HOME, HOME, or KUBEBUILDER_ASSETS"
    )]
    NoCache,
    /// `go` isn't there.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// `go build` failed.
    #[error("cannot build etcd and kube-apiserver: `go build` failed ({status}), in {}:\n{output}", directory.display())]
    Build {
        /// Its exit status.
        status: std::process::ExitStatus,
        /// Where.
        directory: PathBuf,
        /// What it printed last.
        output: String,
    },
    /// A file operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted, and on what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Binaries {
    /// Finds the programs, and builds them if this machine doesn't have them yet: minutes, once. Blocks.
    pub fn find_or_build() -> Result<Self, Error> {
        if let Some(directory) = set("KUBEBUILDER_ASSETS") {
            return Self::in_assets(directory.into());
        }
        let cache = match (set("XDG_CACHE_HOME"), set("HOME")) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => Path::new(&home).join(".cache"),
            (None, None) => return Err(Error::NoCache),
        };
        Self::in_cache(&cache.join("slipway-sandbox"), build)
    }

    fn in_assets(directory: PathBuf) -> Result<Self, Error> {
        let binaries = Self::below(&directory);
        match (binaries.etcd.is_file(), binaries.kube_apiserver.is_file()) {
            (true, true) => Ok(binaries),
            (false, _) => Err(Error::Assets { directory, program: "etcd" }),
            (true, false) => Err(Error::Assets { directory, program: "kube-apiserver" }),
        }
    }

    /// A finished directory appears under its final name at once, so what has that name is complete.
    fn in_cache(cache: &Path, build: impl FnOnce(&Path) -> Result<(), Error>) -> Result<Self, Error> {
        let finished = cache.join(key());
        if finished.is_dir() {
            return Ok(Self::below(&finished));
        }
        fs::create_dir_all(cache).map_err(io_error(|| format!("make {}", cache.display())))?;
        let lock_path = cache.join("lock");
        let lock = File::create(&lock_path).map_err(io_error(|| format!("open {}", lock_path.display())))?;
        // The system frees the lock when its holder ends, however it ends.
        lock.lock().map_err(io_error(|| format!("lock {}", lock_path.display())))?;
        if finished.is_dir() {
            return Ok(Self::below(&finished));
        }
        let work = cache.join("unfinished");
        if work.exists() {
            fs::remove_dir_all(&work).map_err(io_error(|| format!("remove {}", work.display())))?;
        }
        build(&work)?;
        fs::rename(&work, &finished)
            .map_err(io_error(|| format!("rename {} to {}", work.display(), finished.display())))?;
        Ok(Self::below(&finished))
    }

    fn below(directory: &Path) -> Self {
        Self { etcd: directory.join("etcd"), kube_apiserver: directory.join("kube-apiserver") }
    }
}

/// Names the result by all that goes into it.
fn key() -> String {
    let mut hash = Sha256::new();
    for (name, content) in MODULE {
        hash.update(format!("{name} {}\n{content}", content.len()));
    }
    hash.update(link_flags());
    let mut key = format!("{}-{}-{}-", kubernetes_version(), std::env::consts::OS, std::env::consts::ARCH);
    for byte in hash.finalize().iter().take(8) {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// The release that go.mod asks for: what the server reports, and what clients choose their behaviour by.
fn kubernetes_version() -> &'static str {
    let wanted = MODULE[0].1.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "));
    wanted.unwrap_or("v0.0.0")
}

fn link_flags() -> String {
    let version = kubernetes_version();
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    format!(
        "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
         -X {package}.gitTreeState=clean"
    )
}

fn build(work: &Path) -> Result<(), Error> {
    let go = process::find(Path::new("go")).ok_or_else(|| process::Error::Missing {
        program: "go".to_owned(),
        purpose: format!("build etcd and kube-apiserver {} once", kubernetes_version()),
        install:
            "install Go 1.26 or later from https://go.dev/dl, or set KUBEBUILDER_ASSETS to a directory that \
                  holds both programs"
                .to_owned(),
    })?;
    let source = work.join("source");
    for (name, content) in MODULE {
        let path = source.join(name);
        let folder = path.parent().unwrap_or(&source);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, content))
            .map_err(io_error(|| format!("write {}", path.display())))?;
    }
    eprintln!(
        "sandbox: building etcd and kube-apiserver {} from source, once, into {}: about 5 minutes on two cores",
        kubernetes_version(),
        work.parent().unwrap_or(work).display()
    );
    let output = Command::new(go)
        .args(["build", "-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", &link_flags(), "-o"])
        .arg(work)
        .args(["./etcd", "./kube-apiserver"])
        .current_dir(&source)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .output()
        .map_err(io_error(|| "run go build".to_owned()))?;
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = printed.lines().collect();
        let output_tail = lines[lines.len().saturating_sub(20)..].join("\n");
        return Err(Error::Build { status: output.status, directory: source, output: output_tail });
    }
    Ok(())
}

fn set(variable: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

fn io_error(what: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what: what(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("slipway-binaries-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn pretend(work: &Path) {
        fs::create_dir_all(work).unwrap();
        fs::write(work.join("etcd"), "").unwrap();
        fs::write(work.join("kube-apiserver"), "").unwrap();
    }

    #[test]
    fn many_at_once_build_once() {
        let cache = directory("once");
        let builds = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let binaries = Binaries::in_cache(&cache, |work| {
                        builds.fetch_add(1, Ordering::SeqCst);
                        pretend(work);
                        Ok(())
                    })
                    .unwrap();
                    assert!(binaries.etcd.is_file() && binaries.kube_apiserver.is_file());
                });
            }
        });
        assert_eq!(builds.load(Ordering::SeqCst), 1);
        fs::remove_dir_all(cache).unwrap();
    }

    #[test]
    fn a_build_that_was_cut_short_is_done_again() {
        let cache = directory("cut");
        let cut = Binaries::in_cache(&cache, |work| {
            fs::create_dir_all(work).unwrap();
            fs::write(work.join("half"), "").unwrap();
            Err(Error::NoCache)
        });
        assert!(cut.is_err());
        let binaries = Binaries::in_cache(&cache, |work| {
            pretend(work);
            Ok(())
        })
        .unwrap();
        assert!(binaries.etcd.is_file());
        assert!(!binaries.etcd.with_file_name("half").exists());
        fs::remove_dir_all(cache).unwrap();
    }

    #[test]
    fn assets_without_a_program_are_refused_by_name() {
        let assets = directory("assets");
        fs::write(assets.join("etcd"), "").unwrap();
        let error = Binaries::in_assets(assets.clone()).unwrap_err().to_string();
        assert!(error.contains("no kube-apiserver in it"), "{error}");
        fs::write(assets.join("kube-apiserver"), "").unwrap();
        assert_eq!(Binaries::in_assets(assets.clone()).unwrap(), Binaries::below(&assets));
        fs::remove_dir_all(assets).unwrap();
    }

    #[test]
    fn the_version_comes_from_go_mod() {
        assert!(kubernetes_version().starts_with("v1."), "{}", kubernetes_version());
        let minor = kubernetes_version().split('.').nth(1).unwrap();
        assert!(link_flags().contains(&format!("gitMinor={minor} ")));
        // Kubernetes v1.N.P and its staging modules v0.N.P are one release.
        let staging = kubernetes_version().replacen("v1.", "v0.", 1);
        let replaced: Vec<&str> = MODULE[0].1.lines().filter(|line| line.contains("=> k8s.io/")).collect();
        assert!(replaced.len() > 20);
        assert!(replaced.iter().all(|line| line.ends_with(&staging)), "{replaced:#?}");
    }
}
