//! What one side says of itself during a move: little, and quickly.

use tokio_postgres::types::PgLsn;

use super::Identity;
use super::selection::Selection;
use super::token::Token;

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingQuestion {
    /// The tables that the spec selects.
    pub selection: Selection,
    /// The role that DMS logs in as on this side.
    pub dms_role: String,
    /// The fence whose marker is looked for.
    pub fence_id: String,
    /// The slot of the way back, looked for on the side that the writer goes to.
    pub slot: String,
}

/// One side during a move, read in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which server.
    pub identity: Identity,
    /// Its timeline: another one is another history.
    pub timeline: i32,
    /// It is a standby, and so can't be changed.
    pub in_recovery: bool,
    /// The row.
    pub token: Token,
    /// Roles, other than superusers, the operator and DMS, that could log in and change a selected table.
    pub writers: Vec<String>,
    /// Sessions that the fence ends: of every kind but walsenders, autovacuum workers, the operator and DMS.
    pub sessions: i64,
    /// The barrier: granted locks on application tables of those who write, prepared transactions included.
    pub write_locks: i64,
    /// Prepared transactions of this database.
    pub prepared: Vec<String>,
    /// Selected tables that need the third layer (an owner who can log in, or a SECURITY DEFINER function of a role that
    /// may write) and do not have it.
    pub unlayered: Vec<String>,
    /// DMS's role can connect or change a selected table.
    pub replication_may_write: bool,
    /// Sessions of DMS's role, walsenders aside.
    pub replication_sessions: i64,
    /// The marker of the fence in question is here.
    pub marker: bool,
    /// The slot of the way back.
    pub slot: Option<MoveSlot>,
    /// Other transactions of this server that have written something.
    pub busy: i64,
    /// The end of the log that is on disk.
    pub flushed: PgLsn,
}

/// The slot of the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveSlot {
    /// It is a logical one of this database, of the plugin that DMS uses (`test_decoding`), noted as ours, and reserved.
    pub usable: bool,
    /// A walsender uses it now.
    pub active: bool,
    /// Everything before this was confirmed.
    pub confirmed: Option<PgLsn>,
}
