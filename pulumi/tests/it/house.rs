//! Rules of the house for this package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|it| it == "rs" || it == "py") {
            found.push(path);
        }
    }
    found
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all: Vec<PathBuf> = ["src", "tests", "schema"].iter().flat_map(|it| files(&root.join(it))).collect();
    assert!(all.len() > 25);
    for path in all.into_iter().chain([root.join("build.rs")]) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 600, "{}: {lines} lines", path.display());
    }
}

/// Only components speak of AWS, and nobody but the layer of Pulumi's protocol.
#[test]
fn layers_name_only_what_they_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in files(&source) {
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<&str> = text.lines().filter(|it| !it.trim_start().starts_with("//")).collect();
        let within = path.strip_prefix(&source).unwrap();
        let layer = within.starts_with("pulumi") || within == Path::new("pulumi.rs");
        for line in code {
            if layer {
                assert!(
                    !line.contains("crate::") || line.contains("crate::pulumi"),
                    "{}: {line}",
                    within.display()
                );
                assert!(!line.contains("aws:"), "{}: {line}", within.display());
            } else {
                let protocol = ["pulumi_gestalt", "prost", "tonic"].iter().any(|it| line.contains(it));
                assert!(!protocol, "{}: {line}", within.display());
            }
        }
    }
}

/// The engine is on loopback and speaks in the clear: no TLS stack is needed, and none is there.
#[test]
fn there_is_no_tls_stack() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--package",
            "slipway-infra",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("tonic ") && tree.lines().count() > 30);
    for line in tree.lines() {
        let tls =
            ["rustls", "openssl", "native-tls", "aws-lc", "ring "].iter().any(|it| line.starts_with(it));
        assert!(!tls, "{line}");
    }
}
