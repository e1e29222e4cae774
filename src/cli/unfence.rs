//! `slipway unfence`: opens a side again with database credentials alone, by the same rules as the operator's own return.

use std::io::{BufRead, Write};

use clap::Args;

use super::sides::{Reach, Reached};
use crate::permit::{Leadership, Permit};
use crate::postgres::{self, ClaimAs, Connection, Guard, Holder, Holding, Record, Server};
use crate::side::{Side, Sides};

/// Flags of `unfence`.
#[derive(Clone, Debug, Args)]
pub struct Unfence {
    /// The side to open again: the one that the writer was leaving.
    #[arg(long, value_parser = side, default_value = "source")]
    pub side: Side,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// How to reach the databases.
    #[command(flatten)]
    pub reach: Reach,
}

fn side(text: &str) -> Result<Side, String> {
    Side::BOTH.into_iter().find(|side| side.as_str() == text).ok_or_else(|| "source or target".to_owned())
}

/// A person's number is so much above whatever either row has: every call that is still under way comes too late, also one of
/// a decision that the status has and no row yet. An operator that restarts again and again adds one each time.
pub const ROOM: i64 = 1_000;

/// One side and what its row says.
struct Ours<'a> {
    connection: &'a Connection,
    holder: Holder,
    epoch: i64,
    uid: String,
    migration: String,
    fence_id: Option<String>,
}

impl<'a> Ours<'a> {
    fn of(reached: &'a Reached) -> Option<Self> {
        let Reached::Open(open) = reached else { return None };
        let (connection, Server { record, .. }) = &**open;
        let Record::Present { migration, uid, token, .. } = record else { return None };
        Some(Self {
            connection,
            holder: token.holder.clone(),
            epoch: token.epoch,
            uid: uid.clone(),
            migration: migration.clone(),
            fence_id: token.fence_id.clone(),
        })
    }
}

/// Opens the side, if the rows say that nobody else may be the writer.
///
/// # Errors
/// When it is not safe or did not work; the message says why, and what the risk is.
pub async fn unfence(flags: &Unfence) -> Result<(), String> {
    let side = flags.side;
    let other = side.other();
    let sides = flags.reach.look().await?;
    let ours = of_side(&sides, side)?;
    let theirs = Ours::of(sides.get(other)).filter(|theirs| theirs.uid == ours.uid);
    let given = may_be_opened(&ours, side, theirs.as_ref(), sides.get(other))?;
    confirm(flags, &ours, given)?;

    let epoch = ROOM + theirs.as_ref().map_or(0, |theirs| theirs.epoch).max(ours.epoch);
    let guard = |side: Side| Guard {
        holding: Holding {
            resource: ours.migration.clone(),
            uid: ours.uid.clone(),
            dms_role: flags.reach.replication_role(side).to_owned(),
        },
        epoch,
        fence_id: ours.fence_id.clone().unwrap_or_default(),
    };
    let leadership = Leadership::acquire().ok_or("another part of this process acts already")?;
    let permit = leadership.permit();
    let failed = |fault: crate::fault::Fault| format!("{fault}. It is safe to run this command again");
    if let Some(theirs) = &theirs {
        let how = match (&ours.holder, &theirs.holder) {
            (Holder::Side(holder), _) if *holder == side => ClaimAs::Unchanged,
            (_, Holder::None) => ClaimAs::Unchanged,
            _ => ClaimAs::Refused,
        };
        postgres::claim(theirs.connection, &permit, &guard(other), how).await.map_err(failed)?;
    }
    if given {
        let theirs = theirs.as_ref().ok_or("the other side was not reached")?;
        stays_shut(flags, theirs.connection, other).await?;
        postgres::take_back(ours.connection, &permit, &guard(side)).await.map_err(failed)?;
    }
    open(ours.connection, &permit, &guard(side), side).await.map_err(failed)
}

fn of_side(sides: &Sides<Reached>, side: Side) -> Result<Ours<'_>, String> {
    match sides.get(side) {
        Reached::NotAsked => Err(format!("--{side}-host is missing: it is the side to open")),
        Reached::Silent(why) => Err(why.clone()),
        reached @ Reached::Open(_) => Ours::of(reached).ok_or_else(|| {
            format!("the {side} has no row in slipway.token: no migration fenced it, and nothing was noted")
        }),
    }
}

/// Whether the role has to be taken back from the other side first; or why this side may not be opened.
fn may_be_opened(
    ours: &Ours<'_>,
    side: Side,
    theirs: Option<&Ours<'_>>,
    reached: &Reached,
) -> Result<bool, String> {
    let other = side.other();
    match &ours.holder {
        Holder::None => Ok(false),
        Holder::Side(holder) if *holder == side => Ok(false),
        Holder::Side(_) => match (theirs, reached) {
            (Some(theirs), _) if theirs.holder == Holder::Side(other) => Err(format!(
                "the {other} is the writer by its own row: opening the {side} would make two. To go back, move the goal back \
                 and let the operator carry the writer and its rows across"
            )),
            (Some(_), _) => Ok(true),
            (None, Reached::Open(_)) => Err(format!(
                "the {side} gave the writer's role to the {other}, whose record is gone or another migration's: it has been \
                 the writer, and holds writes that the {side} lacks"
            )),
            (None, Reached::NotAsked | Reached::Silent(_)) => Err(format!(
                "the {side} gave the writer's role to the {other}, which can't be reached: it may be open and hold writes that \
                 would be lost, and opening the {side} beside it would make two writers. Make the {other} reachable first"
            )),
        },
        holder @ (Holder::Fenced | Holder::Refused | Holder::Other(_)) => Err(format!(
            "the {side} is not the side that the writer was leaving (its row says {}). Try --side {other}",
            holder.as_str()
        )),
    }
}

fn confirm(flags: &Unfence, ours: &Ours<'_>, given: bool) -> Result<(), String> {
    let (side, database) = (flags.side, flags.reach.database(flags.side).unwrap_or_default());
    let what = match &ours.holder {
        Holder::Side(holder) if *holder == side => {
            "is open; only what is still under way is kept from closing it"
        }
        _ if given => "is opened again, after the other side was told never to open",
        _ => "is opened again",
    };
    eprintln!("The {side}, database {database} of DatabaseMigration {}, {what}.", ours.migration);
    if flags.yes {
        return Ok(());
    }
    eprint!("Type the database's name to go on: ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| format!("reading the answer: {error}"))?;
    if answer.trim() == database { Ok(()) } else { Err("not confirmed; nothing was changed".to_owned()) }
}

/// The other side, claimed by now, must be shut by what can be seen and not by its row alone.
async fn stays_shut(flags: &Unfence, connection: &Connection, other: Side) -> Result<(), String> {
    let server = flags.reach.observe(connection).await.map_err(|fault| fault.message().to_owned())?;
    let refused = matches!(&server.record, Record::Present { token, .. } if token.holder == Holder::Refused);
    if refused && server.writers.is_empty() && server.application_sessions == 0 {
        return Ok(());
    }
    Err(format!(
        "the {other} was opened, or is not shut: {} can write there, {} sessions. Nothing was opened here",
        if server.writers.is_empty() { "nobody".to_owned() } else { server.writers.join(", ") },
        server.application_sessions
    ))
}

async fn open(
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    side: Side,
) -> Result<(), crate::fault::Fault> {
    let different = postgres::unfence(connection, permit, guard).await?;
    println!("The {side} is open: decision {} says so in its row.", guard.epoch);
    for difference in different {
        println!("By hand: {difference}");
    }
    println!(
        "The operator will not move the writer again by itself: see who decided, then raise spec.attempt (DecidedElsewhere)."
    );
    Ok(())
}
