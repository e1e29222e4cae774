//! Where Pulumi, the tests' language host and the tests' provider come from: a cache, or one build into it.

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The Go module that they are built from.
const MODULE: [(&str, &str); 7] = [
    ("go.mod", include_str!("../../engine/go.mod")),
    ("go.sum", include_str!("../../engine/go.sum")),
    ("pulumi-language-rust/main.go", include_str!("../../engine/pulumi-language-rust/main.go")),
    ("pulumi-resource-aws/account.go", include_str!("../../engine/pulumi-resource-aws/account.go")),
    ("pulumi-resource-aws/main.go", include_str!("../../engine/pulumi-resource-aws/main.go")),
    ("pulumi-resource-aws/schema.go", include_str!("../../engine/pulumi-resource-aws/schema.go")),
    ("serve/serve.go", include_str!("../../engine/serve/serve.go")),
];
const PULUMI: &str = "github.com/pulumi/pulumi/pkg/v3";

/// The folder of the three programs, to be `PATH`. Builds them if this machine does not have them yet: minutes, once.
pub fn find_or_build() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|it| it.join(".cache")));
    let cache =
        cache.expect("no place for the built Pulumi: set XDG_CACHE_HOME or HOME").join("slipway-infra");
    let finished = cache.join(key());
    fs::create_dir_all(&cache).unwrap();
    // The system frees the lock when its holder ends, however it ends.
    let lock = File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    if !finished.is_dir() {
        let work = cache.join("unfinished");
        if work.exists() {
            fs::remove_dir_all(&work).unwrap();
        }
        build(&work);
        // What has this name is complete.
        fs::rename(&work, &finished).unwrap();
    }
    finished
}

/// Names the result by all that goes into it.
fn key() -> String {
    let mut hash = Sha256::new();
    for (name, content) in MODULE {
        hash.update(format!("{name} {}\n{content}", content.len()));
    }
    let mut key = format!("{}-{}-{}-", version(), std::env::consts::OS, std::env::consts::ARCH);
    for byte in hash.finalize().iter().take(8) {
        write!(key, "{byte:02x}").unwrap();
    }
    key
}

/// Pulumi's release, as go.mod asks for it. A comment may follow it.
fn version() -> &'static str {
    let asked = MODULE[0].1.lines().find_map(|it| it.trim().strip_prefix(PULUMI)).unwrap();
    asked.split_whitespace().next().unwrap()
}

fn build(work: &Path) {
    let source = work.join("source");
    for (name, content) in MODULE {
        let path = source.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    eprintln!("building Pulumi {} from source, once, into {}", version(), work.parent().unwrap().display());
    let version = format!("-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={}", version());
    let output = Command::new("go")
        .args(["build", "-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags", &version, "-o"])
        .arg(work)
        .args(["./pulumi-language-rust", "./pulumi-resource-aws", &format!("{PULUMI}/cmd/pulumi")])
        .current_dir(&source)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .output()
        .unwrap_or_else(|it| panic!("running go: {it}. Install Go 1.26 or later from https://go.dev/dl"));
    assert!(output.status.success(), "go build failed:\n{}", String::from_utf8_lossy(&output.stderr));
}
