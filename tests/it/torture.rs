//! A few rounds of `cargo torture`; many are for a quiet night.

use sandbox::cli::Torture;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_migrations_come_to_rest_whatever_happens_to_them() {
    // The second is one in which the target is gone for too long, so that the source is given back.
    let flags = Torture { rounds: 3, seed: Some(10), minutes: Some(3), rate: 200 };
    let summary = Box::pin(sandbox::torture::run(&flags)).await.unwrap_or_else(|error| panic!("{error}"));
    println!("{summary}");
    assert!(summary.acknowledged > 100);
    assert_eq!(summary.ends.values().sum::<u32>(), 3);
    assert!(summary.ends.keys().any(|end| end.starts_with("given up")), "{summary}");
}
