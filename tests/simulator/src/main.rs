//! `cargo simulate`: see `docs/simulation.md`.

fn main() {}
