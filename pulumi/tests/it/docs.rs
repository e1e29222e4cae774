//! The documentation's tables are what the program prints.

use slipway_infra::{config, flows};

#[test]
fn the_tables_in_the_documentation_are_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/infrastructure.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    for (what, table) in [("keys", config::table()), ("flows", flows::table())] {
        assert!(
            page.contains(&table),
            "the table of {what} in docs/infrastructure.md is stale: take what `cargo run -p slipway-infra -- tables` prints"
        );
    }
}
