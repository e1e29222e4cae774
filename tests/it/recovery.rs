//! What is in the way is named, changes nothing, and is no obstacle any more once it is mended.

use crate::journey::{Journey, NAME};

#[tokio::test(flavor = "multi_thread")]
async fn the_example_replicates() {
    let mut journey = Journey::begin("example").await;
    journey.start_operator();
    journey.apply(|_| {}).await;
    let view = journey.until_replicating(NAME).await;
    println!("{}", view.describe());
    println!("{:?}", journey.changes());
    journey.end().await;
}
