//! `sandbox`: runs the stand-in world by hand.
fn main() {}
