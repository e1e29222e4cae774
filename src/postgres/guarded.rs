//! A change of a side under a decision: it claims the row first, and finds none where a later decision came before it.

use super::connect::Connection;
use super::record;
use super::token::{Guard, Holder, Token};
use crate::api::condition::Reason;
use crate::fault::Fault;
use crate::permit::Permit;
use crate::side::Side;

/// Which decision the row may hold when it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epoch {
    /// The guard's or an earlier one.
    UpTo,
    /// The guard's own: it was claimed before.
    Exactly,
}

// The lock comes before any write, so that who waits for it has no transaction id yet: making a slot waits for all those.
// `synchronous_commit` is what makes the end of the log, read afterwards, lie behind this change.
const BEGIN: &str = "SET LOCAL lock_timeout = '500ms'; SET LOCAL synchronous_commit = on";

/// Every word of a row whose side is not the writer.
pub(super) fn not_writable(side: Side) -> Vec<Holder> {
    vec![Holder::None, Holder::Fenced, Holder::Refused, Holder::Side(side.other())]
}

/// Claims the row for the guard's decision, if its holder is one of `holders`, and returns it as it was before.
/// The first thing in a transaction: what follows in it happens under this decision or not at all.
pub(super) async fn enter(
    connection: &Connection,
    guard: &Guard,
    holders: &[Holder],
    epoch: Epoch,
) -> Result<Token, Fault> {
    begin(connection).await?;
    let claim = format!(
        "UPDATE slipway.token SET epoch = $1 FROM (SELECT epoch AS was FROM slipway.token) before
          WHERE uid = $2 AND holder = ANY ($3) AND epoch {} $1 RETURNING {}, was",
        match epoch {
            Epoch::UpTo => "<=",
            Epoch::Exactly => "=",
        },
        Token::COLUMNS
    );
    let words: Vec<&str> = holders.iter().map(Holder::as_str).collect();
    let rows = connection
        .query("claiming slipway.token", &claim, &[&guard.epoch, &guard.holding.uid, &words])
        .await?;
    match rows.first() {
        Some(row) => Ok(Token { epoch: row.get("was"), ..Token::from_row(row, 0) }),
        None => Err(why_not(connection, guard, epoch).await?),
    }
}

/// For what can't be done in a transaction that has written, such as making a slot: takes the same lock, demands that
/// the row was claimed by this very decision, and writes nothing.
pub(super) async fn look(connection: &Connection, guard: &Guard, holders: &[Holder]) -> Result<Token, Fault> {
    begin(connection).await?;
    let sql = format!(
        "SELECT {} FROM slipway.token WHERE uid = $1 AND epoch = $2 AND holder = ANY ($3)",
        Token::COLUMNS
    );
    let words: Vec<&str> = holders.iter().map(Holder::as_str).collect();
    let rows =
        connection.query("reading slipway.token", &sql, &[&guard.holding.uid, &guard.epoch, &words]).await?;
    match rows.first() {
        Some(row) => Ok(Token::from_row(row, 0)),
        None => Err(why_not(connection, guard, Epoch::Exactly).await?),
    }
}

/// A whole transaction that begins with [`enter`].
pub(super) async fn guarded<T>(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    epoch: Epoch,
    holders: &[Holder],
    doing: &str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let work = async {
        enter(connection, guard, holders, epoch).await?;
        work.await
    };
    connection.change(permit, doing, Box::pin(work)).await
}

/// A whole transaction that begins with [`look`].
pub(super) async fn locked<T>(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    holders: &[Holder],
    doing: &str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let work = async {
        look(connection, guard, holders).await?;
        work.await
    };
    connection.change(permit, doing, Box::pin(work)).await
}

/// Demands that the row is about the fence of this guard.
pub(super) fn same_fence(connection: &Connection, guard: &Guard, token: &Token) -> Result<(), Fault> {
    if token.fence_id.as_ref() == Some(&guard.fence_id) {
        return Ok(());
    }
    Err(Fault::Wait(format!(
        "{} is fenced by {}, and this decision is about fence {}",
        connection.at(),
        token.fence_id.as_ref().map_or_else(|| "no move".to_owned(), |fence| format!("fence {fence}")),
        guard.fence_id
    )))
}

async fn begin(connection: &Connection) -> Result<(), Fault> {
    connection.run("preparing a guarded change", BEGIN).await?;
    record::lock(connection).await
}

/// Why no row was found. A caller that was overtaken waits: what is true now is another decision's matter.
async fn why_not(connection: &Connection, guard: &Guard, epoch: Epoch) -> Result<Fault, Fault> {
    let at = connection.at();
    let sql = format!("SELECT {}, migration, uid FROM slipway.token", Token::COLUMNS);
    let rows = connection.query("reading slipway.token", &sql, &[]).await?;
    let Some(row) = rows.first() else {
        return Ok(Fault::blocked(
            Reason::NotFenced,
            format_args!("slipway.token on {at} has no row, so nothing says who may write there"),
            "Find out who removed it; `slipway diagnose` shows what is left",
        ));
    };
    let (token, other, uid) =
        (Token::from_row(row, 0), row.get::<_, String>("migration"), row.get::<_, String>("uid"));
    if uid != guard.holding.uid {
        let whose = if uid.is_empty() {
            "no migration".to_owned()
        } else {
            format!("DatabaseMigration {other}, uid {uid}")
        };
        return Ok(Fault::blocked(
            Reason::OtherMigration,
            format_args!("{at} belongs to {whose} by its row in slipway.token"),
            "Let that migration end first; nothing was changed",
        ));
    }
    let (found, ours, holder) = (token.epoch, guard.epoch, token.holder.as_str());
    Ok(Fault::Wait(if found > ours {
        format!(
            "a later decision (epoch {found}) holds {at}, where epoch {ours} was to change it; its holder is {holder}"
        )
    } else if found < ours && epoch == Epoch::Exactly {
        format!("epoch {ours} has not claimed {at} yet, which epoch {found} holds; its holder is {holder}")
    } else {
        format!(
            "the holder of {at} is {holder} (epoch {found}), which is not for epoch {ours} to change in this way"
        )
    }))
}
