//! PostgreSQL, in our words: the only place that speaks SQL.

use jiff::{SignedDuration, Timestamp};

mod acl;
mod ask;
mod connect;
mod failure;
mod fence;
mod freeze;
mod guarded;
mod handover;
mod heartbeat;
mod layer;
mod marker;
mod observe;
mod precheck;
mod privileges;
mod record;
mod selection;
mod sequences;
mod sessions;
mod slots;
mod standing;
mod tls;
mod token;
mod verify;

pub use ask::ask;
pub use connect::{ConnectSpec, Connection, Whose};
pub use fence::{add_layer, end_sessions, fence, fence_target, unfence};
pub use freeze::{freeze, thaw};
pub use handover::{claim, give, open, take_back};
pub use heartbeat::beat;
pub use marker::{mark, marker_key};
pub use observe::{Question, observe};
pub use precheck::{PreCheck, precheck};
pub use record::{Holding, Recorded, drop_record, drop_slot, note_slot, prepare_source, recorded, release};
pub use selection::Selection;
pub use sequences::{SequencesMoved, move_sequences};
pub use sessions::sessions;
pub use slots::{arm, create_slot, drop_move_slot};
pub use standing::{MoveSlot, Standing, StandingQuestion, standing};
pub use token::{ClaimAs, Guard, Holder, ReverseStart, Token};
pub use verify::{Difference, Invariant, Verdict, verify};

/// Log directives that must always hold: below this level the driver logs what servers notice.
pub const QUIET: [&str; 1] = ["tokio_postgres=warn"];

/// Which server and database this is: what must stay the same over a failover of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `pg_control_system().system_identifier`.
    pub system_identifier: i64,
    /// `server_version_num`, such as 150018.
    pub version: i32,
}

/// What one side says of itself to the operator's role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Which server.
    pub identity: Identity,
    /// `wal_level`.
    pub wal_level: String,
    /// Replication slots that may still be made.
    pub free_slots: i32,
    /// WAL senders that may still be started.
    pub free_wal_senders: i32,
    /// The schema `slipway` and what it records.
    pub record: Record,
    /// Base and partitioned tables that the spec selects, sorted by name; never those of the schema `slipway`.
    pub tables: Vec<Table>,
    /// Logical slots of this database.
    pub slots: Vec<Slot>,
    /// Privileges that a role lacks, as whole sentences with the statement that grants them.
    pub missing_privileges: Vec<String>,
    /// Roles, other than superusers, the operator and DMS, that could log in to this database and change a selected table.
    pub writers: Vec<String>,
    /// Client sessions of roles that are neither superusers (nor RDS's own) nor the operator's nor DMS's.
    pub application_sessions: i64,
}

/// What the schema `slipway` of one side records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Its tables are not there yet.
    Absent,
    /// They are there.
    Present {
        /// `namespace/name` and uid of the migration that holds this database; the uid is empty once it let go of it.
        migration: String,
        /// See `migration`.
        uid: String,
        /// The row that says who may write, and under which decision.
        token: Token,
        /// The system identifier of the server when the record was made.
        system_identifier: i64,
        /// The slots that the forward task was seen to use, so that only these are ever dropped.
        slots: Vec<String>,
    },
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
    /// It has a primary key.
    pub has_primary_key: bool,
    /// Name and type of each column, in order.
    pub columns: Vec<(String, String)>,
    /// `None` where nobody looked (the source).
    pub empty: Option<bool>,
}

/// What kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// An ordinary, logged table.
    Ordinary,
    /// UNLOGGED: its changes never reach a slot.
    Unlogged,
    /// A partitioned parent: DMS wants its partitions instead.
    Partitioned,
}

/// One logical replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// A walsender uses it now.
    pub active: bool,
    /// The role of the walsender that uses it now.
    pub used_by: Option<String>,
    /// WAL kept because of it, in bytes.
    pub retained_bytes: Option<i64>,
    /// reserved, extended, unreserved or lost.
    pub wal_status: Option<String>,
}

/// How old our own heartbeat row is as the target has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Time from the commit on the source to its sight on the target; or, if the newest beat did not arrive while we
    /// waited, the age of the newest one that did. By the source's clock alone.
    pub age: SignedDuration,
    /// The newest beat arrived.
    pub arrived: bool,
    /// When this was measured, by the operator's clock.
    pub at: Timestamp,
}
