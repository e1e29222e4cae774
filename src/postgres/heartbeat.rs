//! Our own row, written on the source and looked for on the target: how far replication really is behind.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Lag;
use super::connect::Connection;
use super::record;
use crate::fault::Fault;
use crate::permit::Permit;
use crate::side::Side;

// Going by the number alone, a beat of an earlier life of the source could pass for a later one: numbers may begin anew, the
// source's clock goes on. So a beat is recognised by both.
const BEAT: &str = "
INSERT INTO slipway.marker AS m (k, attempt, at, beat) VALUES ('heartbeat', 0, clock_timestamp(), 1)
ON CONFLICT (k) DO UPDATE SET beat = coalesce(m.beat, 0) + 1, at = clock_timestamp()
RETURNING beat, at";
const SEEN: &str = "SELECT coalesce(beat, 0), at FROM slipway.marker WHERE k = 'heartbeat'";

/// Writes the next beat on the source and waits for it on the target, for `wait` at most.
pub async fn beat(
    source: &Connection,
    target: &Connection,
    permit: &Permit<'_>,
    wait: Duration,
) -> Result<Lag, Fault> {
    record::expect(source, Side::Source)?;
    record::expect(target, Side::Target)?;
    let doing = "writing the heartbeat";
    let work = async {
        source.run(doing, "SET LOCAL synchronous_commit = on").await?;
        let row = source.row(doing, BEAT, &[]).await?;
        Ok((row.get::<_, i64>(0), row.get::<_, Timestamp>(1)))
    };
    let (beat, at) = source.change(permit, doing, Box::pin(work)).await?;

    let began = tokio::time::Instant::now();
    let mut pause = Duration::from_millis(20);
    let newest = loop {
        let rows = target.query("reading the heartbeat", SEEN, &[]).await?;
        let seen = rows.first().map(|row| (row.get::<_, i64>(0), row.get::<_, Timestamp>(1)));
        let arrived = seen.is_some_and(|(number, written)| number >= beat && written >= at);
        let left = wait.saturating_sub(began.elapsed());
        if arrived || left.is_zero() {
            break seen.map(|(_, written)| (written, arrived));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(200));
    };
    let Some((written, arrived)) = newest else {
        return Err(Fault::Again(format!("no heartbeat has arrived on {} yet", target.at())));
    };
    // Of a beat that arrived, ours counts, even if another came after it.
    let written = if arrived { at } else { written };
    let now = source.row("reading the source's clock", "SELECT clock_timestamp()", &[]).await?;
    let age = now.get::<_, Timestamp>(0).duration_since(written).max(SignedDuration::ZERO);
    Ok(Lag { age, arrived, at: Timestamp::now() })
}
