#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use super::*;

fn directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("slipway-process-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn shell(script: &str, log: &Path) -> Spec {
    Spec {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        envs: vec![("WORD".into(), "hello".into())],
        user: None,
        log: log.to_owned(),
    }
}

/// Not there, or a zombie that nobody has reaped yet (a container's first process may never do so).
fn gone(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never came: {what}");
}

#[tokio::test]
async fn output_goes_to_the_log_and_the_pid_file_lives_as_long_as_the_child() {
    let directory = directory("log");
    let log = directory.join("shell.log");
    let child = start(&shell("echo $WORD; echo $WORD >&2; pwd; exec sleep 600", &log)).unwrap();
    until("three lines", || fs::read_to_string(&log).unwrap() == "hello\nhello\n/\n").await;
    let recorded = fs::read_to_string(directory.join("shell.pid")).unwrap();
    assert_eq!(recorded, format!("{} sh\n", child.pid()));
    assert!(child.is_running());
    child.stop(Duration::from_mins(1)).await.unwrap();
    assert!(!child.is_running());
    assert!(gone(child.pid()));
    assert!(child.describe().contains("ended (signal: 15"), "{}", child.describe());
    until("no pid file", || !directory.join("shell.pid").exists()).await;
    child.stop(Duration::ZERO).await.unwrap();
    fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_child_that_ignores_the_request_is_killed() {
    let directory = directory("deaf");
    let log = directory.join("deaf.log");
    let child = start(&shell("trap '' TERM; echo deaf; while :; do sleep 0.1; done", &log)).unwrap();
    until("the trap", || fs::read_to_string(&log).unwrap() == "deaf\n").await;
    child.stop(Duration::from_millis(50)).await.unwrap();
    assert!(child.describe().contains("ended (signal: 9"), "{}", child.describe());
    fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn dropping_ends_the_child_and_an_own_end_is_noticed() {
    let directory = directory("drop");
    let child = start(&shell("exec sleep 600", &directory.join("drop.log"))).unwrap();
    let pid = child.pid();
    drop(child);
    until("the child's end", || gone(pid)).await;

    let child = start(&shell("echo why >&2; exit 3", &directory.join("own.log"))).unwrap();
    child.ended().await;
    assert!(child.describe().contains("exit status: 3"), "{}", child.describe());
    assert!(child.describe().ends_with("why"), "{}", child.describe());
    fs::remove_dir_all(directory).unwrap();
}

/// Not a test of its own: the parent that the next test kills.
#[test]
#[ignore = "run by killing_the_parent_ends_the_child"]
fn parent_to_be_killed() {
    let Some(log) = std::env::var_os("SLIPWAY_TEST_CHILD_LOG") else { return };
    // Changing the user clears the kernel's notice, so that is the case to try where it can be tried.
    let user = rustix::process::geteuid().is_root().then(|| "nobody".to_owned());
    let _child = start(&Spec { user, ..shell("echo $$; exec sleep 600", Path::new(&log)) }).unwrap();
    thread::sleep(Duration::from_mins(10));
}

#[tokio::test]
async fn killing_the_parent_ends_the_child() {
    if find(Path::new("setpriv")).is_none() {
        return;
    }
    let directory = directory("parent");
    let log = directory.join("child.log");
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "process::tests::parent_to_be_killed"])
        .env("SLIPWAY_TEST_CHILD_LOG", &log)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the child's start", || fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n'))).await;
    let pid: i32 = fs::read_to_string(&log).unwrap().trim().parse().unwrap();
    assert!(!gone(pid));
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the child's end", || gone(pid)).await;
    fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn as_another_user_it_has_that_users_ids_and_no_other_group() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = directory("user");
    let log = directory.join("user.log");
    let spec = Spec { user: Some("nobody".into()), ..shell("id -un; id -G | wc -w; exec sleep 600", &log) };
    let child = start(&spec).unwrap();
    until("both lines", || fs::read_to_string(&log).unwrap() == "nobody\n1\n").await;
    child.stop(Duration::from_mins(1)).await.unwrap();

    let spec = Spec { user: Some("no-such-user".into()), ..spec };
    let error = start(&spec).unwrap_err().to_string();
    assert!(error.starts_with("cannot run sh as user no-such-user: there is no such user"), "{error}");
    fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn leftovers_are_killed_and_strangers_are_not() {
    let directory = directory("leftovers");
    let mut left = Command::new("sleep").arg("600").spawn().unwrap();
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    // `spawn` returns in the midst of the exec, when the kernel does not show the new command line yet.
    for pid in [left.id(), stranger.id()] {
        until("the command line", || !fs::read(format!("/proc/{pid}/cmdline")).unwrap().is_empty()).await;
    }
    fs::write(directory.join("a.pid"), format!("{} /usr/bin/sleep\n", left.id())).unwrap();
    fs::write(directory.join("b.pid"), format!("{} /usr/bin/etcd\n", stranger.id())).unwrap();
    fs::write(directory.join("c.pid"), "").unwrap();
    let killed = end_leftovers(&directory).unwrap();
    assert_eq!(killed, [format!("/usr/bin/sleep ({})", left.id())]);
    left.wait().unwrap();
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    assert_eq!(end_leftovers(&directory.join("absent")).unwrap(), Vec::<String>::new());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_missing_program_is_one_line() {
    let spec = Spec { program: "no-such-program".into(), ..shell("", Path::new("unused.log")) };
    let error = start(&spec).unwrap_err().to_string();
    assert_eq!(
        error,
        "no-such-program is not installed, it is needed to run the sandbox: install it, or put it in PATH"
    );
}
