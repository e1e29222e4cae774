//! The demo's checks are the product's proof, so each must be able to fail.

use sandbox::cli::{Delays, Demo, Scenario};

fn flags() -> Demo {
    Demo {
        scenario: Scenario::Database,
        delays: Some(Delays::None),
        keep: false,
        rows: 5_000,
        writes_per_second: 100,
        delete_one_row_on_target: false,
        delete_one_write: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_fails_and_names_the_row_that_was_deleted_on_the_target_by_hand() {
    let flags = Demo { delete_one_row_on_target: true, ..flags() };
    let outcome = Box::pin(sandbox::demo::run(&flags)).await;
    let said = outcome.expect_err("a row is missing on the target, and the check found both sides equal");
    assert!(said.contains("public.entries (1, 1): missing on target"), "{said}");
    assert!(said.contains(": 1 rows of "), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_fails_and_names_the_write_that_was_deleted_on_the_target_by_hand() {
    let flags = Demo { delete_one_write: true, ..flags() };
    let outcome = Box::pin(sandbox::demo::run(&flags)).await;
    let said = outcome.expect_err("an acknowledged write is missing, and the journal was found to match");
    assert!(said.contains(" 1 missing, 0 duplicated;") && said.contains("\nmissing: "), "{said}");
}
