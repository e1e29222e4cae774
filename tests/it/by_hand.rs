//! `slipway diagnose` and `slipway unfence`: what a person can do at night with two passwords.

use std::process::Output;

use slipway::cli::unfence::ROOM;
use slipway::permit::Permit;
use slipway::postgres::{Connection, fence, fence_target, prepare_source};
use slipway::side::Side;
use tokio::process::Command;

use crate::postgres::moving::{guard, put, row};
use crate::postgres::server::{Database, PASSWORD, everything, leadership};

struct Night {
    source: Database,
    target: Database,
    from: Connection,
    ca: std::path::PathBuf,
}

impl Night {
    /// A source that is fenced and nobody's, and a target that is fenced from birth; both claimed by decision 3.
    async fn begin(name: &str, permit: &Permit<'_>) -> Self {
        let source = Database::make(&format!("{name}_a")).await;
        let target = Database::make(&format!("{name}_b")).await;
        let (from, to) = (source.open(Side::Source).await, target.open(Side::Target).await);
        prepare_source(&from, permit, &source.migration("uid-1")).await.unwrap();
        fence_target(&to, permit, &target.migration("uid-1"), &everything()).await.unwrap();
        fence(&from, permit, &guard(&source, 3), &everything()).await.unwrap();
        put(&target, "fenced", 3).await;
        let ca = std::env::temp_dir().join(format!("slipway-by-hand-{}-{name}.pem", std::process::id()));
        std::fs::write(&ca, &source.server.ca).unwrap();
        Self { source, target, from, ca }
    }

    /// Runs a verb; `sides` are those that it can reach.
    async fn run(&self, verb: &[&str], sides: &[Side]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slipway"));
        command.args(verb);
        for side in Side::BOTH {
            let database = if side == Side::Source { &self.source } else { &self.target };
            let port = if sides.contains(&side) { database.server.port } else { 1 };
            command
                .args([format!("--{side}-host"), "localhost".to_owned()])
                .args([format!("--{side}-port"), port.to_string()])
                .args([format!("--{side}-database"), database.name.clone()])
                .args([format!("--{side}-user"), database.role("op")])
                .args([format!("--{side}-replication-role"), database.role("dms")])
                .arg(format!("--{side}-ca"))
                .arg(&self.ca)
                .env(format!("SLIPWAY_{}_PASSWORD", side.as_str().to_uppercase()), PASSWORD);
        }
        let Output { status, stdout, stderr } =
            command.stdin(std::process::Stdio::null()).output().await.unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(!said.contains(PASSWORD), "{said}");
        (status.success(), said)
    }

    async fn source_is_open(&self) -> bool {
        self.source.server.client(&self.source.name, &self.source.role("app")).await.is_ok()
    }
}

impl Drop for Night {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca);
    }
}

const UNFENCE: [&str; 2] = ["unfence", "--yes"];

#[tokio::test]
async fn a_source_that_is_nobodys_is_opened_with_or_without_the_target() {
    let leadership = leadership().await;
    let night = Night::begin("nobodys", &leadership.permit()).await;
    let (_, said) = night.run(&["diagnose"], &[Side::Source]).await;
    assert!(said.contains("slipway unfence --side source") && said.contains("no answer"), "{said}");
    // Nobody answers the question, and nothing is done.
    let (done, said) = night.run(&["unfence"], &Side::BOTH).await;
    assert!(!done && said.contains("not confirmed"), "{said}");
    assert_eq!(row(&night.source).await, ("none".to_owned(), 3));

    let (done, said) = night.run(&UNFENCE, &[Side::Source]).await;
    assert!(done && said.contains("decision 1003"), "{said}");
    assert_eq!(row(&night.source).await, ("source".to_owned(), 3 + ROOM));
    assert!(night.source_is_open().await);
    let (_, said) = night.run(&["diagnose"], &Side::BOTH).await;
    assert!(said.contains("The writer is the source"), "{said}");

    // A fence that comes late finds a later decision; and once more, with both in reach, shuts out what is under way there.
    let late = fence(&night.from, &leadership.permit(), &guard(&night.source, 3), &everything()).await;
    assert!(late.is_err());
    let (done, said) = night.run(&UNFENCE, &Side::BOTH).await;
    assert!(done, "{said}");
    assert_eq!(row(&night.source).await, ("source".to_owned(), 3 + 2 * ROOM));
    assert_eq!(row(&night.target).await, ("fenced".to_owned(), 3 + 2 * ROOM));
}

#[tokio::test]
async fn a_role_that_was_given_away_is_taken_back_only_from_a_side_that_is_shut() {
    let leadership = leadership().await;
    let night = Night::begin("given", &leadership.permit()).await;
    put(&night.source, "target", 3).await;

    let (done, said) = night.run(&UNFENCE, &[Side::Source]).await;
    assert!(!done && said.contains("can't be reached") && said.contains("two writers"), "{said}");
    put(&night.target, "target", 3).await;
    let (done, said) = night.run(&UNFENCE, &Side::BOTH).await;
    assert!(!done && said.contains("the target is the writer by its own row"), "{said}");
    // Shut by its row, and open to somebody all the same.
    put(&night.target, "fenced", 3).await;
    let open = "GRANT CONNECT ON DATABASE given_b TO given_b_app; GRANT INSERT ON accounts TO given_b_app";
    night.target.admin.batch_execute(open).await.unwrap();
    let (done, said) = night.run(&UNFENCE, &Side::BOTH).await;
    assert!(!done && said.contains("given_b_app can write there"), "{said}");
    assert_eq!(row(&night.source).await, ("target".to_owned(), 3));
    assert!(!night.source_is_open().await);

    let shut = "REVOKE CONNECT ON DATABASE given_b FROM given_b_app";
    night.target.admin.batch_execute(shut).await.unwrap();
    let (done, said) = night.run(&UNFENCE, &Side::BOTH).await;
    assert!(done, "{said}");
    assert_eq!(row(&night.source).await.0, "source");
    assert_eq!(row(&night.target).await.0, "refused");
    assert!(night.source_is_open().await);
}

#[tokio::test]
async fn a_side_that_was_not_left_is_not_opened() {
    let leadership = leadership().await;
    let night = Night::begin("unleft", &leadership.permit()).await;
    let (done, said) = night.run(&["unfence", "--yes", "--side", "target"], &Side::BOTH).await;
    assert!(!done && said.contains("Try --side source"), "{said}");
    assert_eq!(row(&night.target).await, ("fenced".to_owned(), 3));
    put(&night.target, "target", 3).await;
    put(&night.source, "source", 3).await;
    let (_, said) = night.run(&["diagnose"], &Side::BOTH).await;
    assert!(said.contains("WRONG: both rows"), "{said}");
}
