//! Pulumi's command line in a folder of its own: project, state, home, and the account of the tests' provider.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value as Json;

use super::account::{Account, Thing, thing};
use super::binaries;
use crate::mock::settings;

/// Begins all that no one may see. AWS's own types have names that begin with `canary`.
pub const CANARY: &str = "secretCanary";

/// A machine with Pulumi. What it has made goes with it.
pub struct Machine {
    folder: PathBuf,
    programs: PathBuf,
    refused: RefCell<String>,
    pub account: Account,
}

impl Machine {
    pub fn new(name: &str) -> Self {
        let programs = binaries::find_or_build();
        let folder = std::env::temp_dir().join(format!("slipway-infra-{name}-{}", std::process::id()));
        for part in ["project", "state", "home", "account"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("Pulumi.yaml");
        fs::copy(project, folder.join("project/Pulumi.yaml")).unwrap();
        let account = Account(folder.join("account"));
        Self { folder, programs, refused: RefCell::default(), account }
    }

    /// From now on the provider refuses to make or to change this type; an empty one is none.
    pub fn refuse(&self, kind: &str) {
        kind.clone_into(&mut self.refused.borrow_mut());
    }

    /// Runs `pulumi`; whatever it shows has no secret in it.
    pub fn try_run(&self, arguments: &[&str]) -> Output {
        let start = Instant::now();
        let output = self.command(arguments).output().unwrap();
        println!(
            "pulumi {}: {:.1} s",
            arguments[..arguments.len().min(2)].join(" "),
            start.elapsed().as_secs_f64()
        );
        let shown = said(&output);
        assert!(!shown.contains(CANARY), "pulumi {arguments:?} shows a secret: {shown}");
        output
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("pulumi"));
        command
            .args(arguments)
            .args(["--non-interactive", "--color", "never"])
            .current_dir(self.folder.join("project"))
            .env_clear()
            .env("PATH", &self.programs)
            .env("HOME", self.folder.join("home"))
            .env("PULUMI_HOME", self.folder.join("home"))
            .env("PULUMI_BACKEND_URL", format!("file://{}", self.folder.join("state").display()))
            .env("PULUMI_CONFIG_PASSPHRASE", format!("{CANARY}Passphrase"))
            .env("PULUMI_SKIP_UPDATE_CHECK", "true")
            .env("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true")
            .env("SLIPWAY_TEST_PROGRAM", env!("CARGO_BIN_EXE_infra"))
            .env("SLIPWAY_TEST_SCHEMA", concat!(env!("CARGO_MANIFEST_DIR"), "/schema/aws.json"))
            .env("SLIPWAY_TEST_ACCOUNT", &self.account.0)
            .env("SLIPWAY_TEST_REFUSE", self.refused.borrow().as_str());
        command
    }

    /// A stack that is new, configured as `mock::settings` says.
    pub fn stack(&self, name: &'static str, changes: &[(&str, &str)]) -> Stack<'_> {
        let stack = Stack { machine: self, name };
        stack.run(&["stack", "init"]);
        stack.configure(changes);
        stack
    }

    /// The files of the backend, and the configuration of all stacks.
    pub fn stored(&self) -> Vec<(PathBuf, String)> {
        let (mut folders, mut found) =
            (vec![self.folder.join("state"), self.folder.join("project")], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                    found.push((path, text));
                }
            }
        }
        found
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Kept to look at when a test fails.
        if !std::thread::panicking() {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// All that a command said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// One stack of the project.
pub struct Stack<'a> {
    machine: &'a Machine,
    name: &'static str,
}

impl Stack<'_> {
    pub fn try_run(&self, arguments: &[&str]) -> Output {
        self.machine.try_run(&[arguments, &["--stack", self.name]].concat())
    }

    /// Runs `pulumi`, which must succeed, and gives its standard output.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        assert!(output.status.success(), "pulumi {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn up(&self) {
        self.run(&["up", "--yes", "--skip-preview"]);
    }

    /// Neither the program nor the account differs from the state.
    pub fn nothing_to_do(&self) {
        self.run(&["up", "--yes", "--skip-preview", "--expect-no-changes"]);
    }

    pub fn destroy(&self) {
        self.run(&["destroy", "--yes", "--skip-preview"]);
    }

    pub fn configure(&self, changes: &[(&str, &str)]) {
        let settings = settings(changes);
        let values: Vec<(bool, String)> =
            settings.iter().map(|(key, it)| (it.secret, format!("{key}={}", it.text))).collect();
        let mut arguments = vec!["config", "set-all"];
        for (secret, value) in &values {
            arguments.extend([if *secret { "--secret" } else { "--plaintext" }, value]);
        }
        // The command line itself has the secrets, so only its outcome is shown.
        let output = self.try_run(&arguments);
        assert!(output.status.success(), "{}", said(&output));
    }

    /// What is to be done, by the preview: each step's kind and what it is for.
    pub fn preview(&self) -> BTreeSet<(String, Thing)> {
        let json: Json = serde_json::from_str(&self.run(&["preview", "--json"])).unwrap();
        let steps = json["steps"].as_array().unwrap().iter();
        steps.map(|it| (it["op"].as_str().unwrap().to_owned(), thing(it["urn"].as_str().unwrap()))).collect()
    }

    /// The resources of the state.
    pub fn state(&self) -> Vec<Json> {
        let json: Json = serde_json::from_str(&self.run(&["stack", "export"])).unwrap();
        json["deployment"]["resources"].as_array().cloned().unwrap_or_default()
    }

    /// The same with the secrets in clear text. They are shown, as this is what it is for.
    pub fn state_with_secrets(&self) -> Vec<Json> {
        let output =
            self.machine.command(&["stack", "export", "--show-secrets", "--stack", self.name]).output();
        let json: Json = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        json["deployment"]["resources"].as_array().cloned().unwrap_or_default()
    }
}
