//! `up`: start a sandbox, and keep it until told to end.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use super::{Up, log_to, told_to_end};
use crate::sandbox::{
    ACCOUNT, CLUSTER, Environment, Options, RDS_INSTANCE, RECORD, REGION, SERVICE, Sandbox, ZONE, held_by,
};

/// How the last line of the account begins.
const LAST_LINE: &str = "to end it:";

/// Runs until Ctrl-C, SIGTERM or SIGHUP.
pub(super) async fn foreground(flags: &Up) -> Result<(), String> {
    let told = told_to_end();
    tokio::pin!(told);
    println!("starting Kubernetes, two PostgreSQL servers and AWS");
    let options = Options { delays: flags.delays.of_world(), rows: flags.rows, ..Options::new(&flags.dir) };
    let sandbox = tokio::select! {
        biased;
        // What has been started ends as its value is dropped.
        told = &mut told => return told.map_err(|error| format!("waiting for a signal: {error}")),
        started = Box::pin(Sandbox::start(&options)) => started.map_err(|error| error.to_string())?,
    };
    // Afterwards: only now is the directory known to be ours.
    log_to(sandbox.directory().path())?;
    describe(&sandbox, flags);
    told.await.map_err(|error| format!("waiting for a signal: {error}"))?;
    println!("ending");
    Box::pin(sandbox.stop()).await.map_err(|error| error.to_string())?;
    println!("all of it has ended; logs are in {}", flags.dir.display());
    Ok(())
}

fn describe(sandbox: &Sandbox, flags: &Up) {
    let database = |port: u16| format!("localhost:{port}, database {}", crate::bank::DATABASE);
    println!("  Kubernetes  {}", sandbox.cluster.server());
    println!("  source      {}", database(sandbox.source.port()));
    println!("  target      {}; in AWS {RDS_INSTANCE}", database(sandbox.target.port()));
    println!("  AWS         {}, account {ACCOUNT}, {REGION}", sandbox.aws.url());
    println!("              {}", flags.delays.describe());
    let traffic = &sandbox.traffic;
    println!("  DNS         {}, zone {ZONE} ({}), {RECORD}", traffic.dns(), traffic.zone_id);
    println!("  balancer    {}, for the service {CLUSTER}/{SERVICE}", traffic.balancer);
    println!();
    println!("to use it:    source {}", sandbox.environment.path().display());
    println!(
        "{LAST_LINE}    cargo sandbox down --dir {}{}",
        flags.dir.display(),
        if flags.detach { "" } else { ", or Ctrl-C" }
    );
}

/// Starts ourselves again in the background, and returns when the sandbox is there.
pub(super) async fn detached(flags: &Up) -> Result<(), String> {
    let shown = flags.dir.display();
    // The child would find out too; but its log may be that of the sandbox that runs.
    if let Some(holder) = held_by(&flags.dir).map_err(|error| error.to_string())? {
        return Err(format!(
            "a sandbox runs in {shown} already (pid {}): end it with `cargo sandbox down --dir {shown}`",
            holder.pid()
        ));
    }
    let own = std::env::current_exe().map_err(|error| format!("finding our own program: {error}"))?;
    let log = std::env::temp_dir().join(format!("slipway-sandbox-{}.log", std::process::id()));
    let output = File::create(&log).map_err(|error| format!("writing {}: {error}", log.display()))?;
    let errors = output.try_clone().map_err(|error| format!("writing {}: {error}", log.display()))?;
    let mut command = Command::new(own);
    command.arg("up").arg("--dir").arg(&flags.dir).arg("--delays");
    command.arg(flags.delays.word());
    command.arg("--rows").arg(flags.rows.to_string());
    // A group of its own: neither Ctrl-C nor the end of this terminal reaches it.
    command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("starting the sandbox: {error}"))?;
    let pid = child.id();
    let ended = loop {
        if let Some(status) =
            child.try_wait().map_err(|error| format!("watching the sandbox (pid {pid}): {error}"))?
        {
            break Some(status);
        }
        // The file is there a moment before the last line is.
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if is_up(&flags.dir, pid) && text.lines().any(|line| line.starts_with(LAST_LINE)) {
            break None;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    // Its output goes on into this file, which nobody needs any more.
    let _ = std::fs::remove_file(&log);
    if let Some(status) = ended {
        let said = text.lines().find_map(|line| line.strip_prefix("sandbox: ")).unwrap_or(text.trim());
        return Err(if said.is_empty() { format!("the sandbox ended: {status}") } else { said.to_owned() });
    }
    print!("{}", text.replace(", or Ctrl-C", ""));
    println!("its pid:      {pid}");
    Ok(())
}

fn is_up(directory: &Path, pid: u32) -> bool {
    Environment::read(directory)
        .is_ok_and(|environment| environment.get("SANDBOX_PID").is_ok_and(|own| own == pid.to_string()))
}
