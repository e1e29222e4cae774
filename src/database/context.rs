//! What this process remembers of one migration between looks.

use std::sync::Arc;

use jiff::Timestamp;

use crate::aws::secrets::Place;
use crate::database::cname::CnameSeen;
use crate::database::goal::Goal;
use crate::database::material::Material;
use crate::database::outage::Spans;
use crate::database::seen::MemorySeen;
use crate::database::sight::{Kept, Sight};
use crate::postgres::Connection;
use crate::side::Sides;

/// A session, and what it was opened with.
pub type Held = Option<(Opened, Arc<Connection>)>;

/// What this process remembers of one migration. All of it may be lost at any moment: the next look finds it again, at the
/// price of a repeated test or connection.
#[derive(Default)]
pub struct Memory {
    /// The part that decisions may use.
    pub seen: MemorySeen,
    /// Open sessions of the operator's role, with what they were opened with.
    pub sessions: Sides<Held>,
    /// A second session of each side, held during a move.
    pub spares: Sides<Held>,
    /// The fence that stands on the old side, as last seen during a move.
    pub fence_id: String,
    /// What was last to be reached, by a spec that could be used.
    pub goal: Option<Goal>,
    /// The forward task, as last seen.
    pub task_arn: Option<String>,
    /// What a move did and how long it took, until it is reported.
    pub spans: Spans,
    /// With what the login of DMS's role last worked, and when.
    pub logins: Sides<Option<(Opened, Timestamp)>>,
    /// The generation of the spec that what follows was learned for.
    pub generation: Option<i64>,
    /// Secrets and authorities as last read without a fault.
    pub material: Option<(Timestamp, Sides<Material>)>,
    /// What AWS has, as far as it is settled.
    pub sight: Sight,
    /// Where each side listens, if AWS was asked.
    pub address: Sides<Kept<(String, u16)>>,
    /// Where the applications' secret points, if it could be read.
    pub secret: Kept<Option<Place>>,
    /// What stands at the name by which applications find the writer.
    pub cname: Kept<CnameSeen>,
    /// The account behind the credentials, as last checked.
    pub account_at: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Since when the facts can't be had.
    pub uncertain_since: Option<Timestamp>,
    /// The slot's warning was sent.
    pub slot_warned: bool,
}

impl Memory {
    /// Forgets what another spec led to: other Secrets, other instances.
    pub fn turn_to(&mut self, generation: Option<i64>) {
        if self.generation != generation {
            self.generation = generation;
            self.material = None;
            self.sight = Sight::default();
            self.address = Sides::default();
            self.secret = Kept::default();
            self.cname = Kept::default();
        }
    }
}

/// What a session was opened with: it is opened anew when any of this changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Opened {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub username: String,
    pub version: String,
    pub ca_pem: String,
}
