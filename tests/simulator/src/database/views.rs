//! What a database says of itself, in the product's own types: `standing`, `observe` and `precheck`.

use jiff::SignedDuration;
use slipway::postgres::{
    Identity, MoveSlot, PreCheck, Record, ReverseStart, Server, Slot as SeenSlot, Standing, Table, TableKind,
    Token,
};
use slipway::side::Side;

use super::{Database, Fence, Refused, Row, Slot, SlotName, Stage};

/// What a server says beside what its [`Database`] is: the base of [`Database::server`].
pub fn base(system_identifier: i64) -> Server {
    let table = |name: &str| Table {
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: TableKind::Ordinary,
        has_primary_key: true,
        columns: vec![("id".to_owned(), "bigint".to_owned())],
        empty: Some(true),
    };
    Server {
        identity: Identity { system_identifier, version: 150_018 },
        wal_level: "logical".to_owned(),
        free_slots: 5,
        free_wal_senders: 5,
        record: Record::Absent,
        tables: vec![table("accounts"), table("entries")],
        slots: Vec::new(),
        missing_privileges: Vec::new(),
        writers: vec!["payments_app".to_owned()],
        application_sessions: 0,
    }
}

/// What things are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// `namespace/name` of the migration.
    pub resource: String,
    /// Its uid, for the model's number 1. Others are made from it.
    pub uid: String,
    /// The slot of the forward task.
    pub forward: String,
    /// The slot of the way back.
    pub back: String,
    /// A role of an application.
    pub application: String,
    /// DMS's role on both sides.
    pub dms: String,
}

impl Names {
    fn slot(&self, name: SlotName) -> &String {
        match name {
            SlotName::Forward => &self.forward,
            SlotName::Back => &self.back,
        }
    }

    /// The uid of the model's number `uid`.
    pub fn uid(&self, uid: super::Uid) -> String {
        match uid {
            0 => String::new(),
            1 => self.uid.clone(),
            other => format!("{}-{other}", self.uid),
        }
    }
}

impl Row {
    /// `postgres::Token`.
    pub fn token(&self, clock: i64, names: &Names) -> Token {
        Token {
            holder: self.holder.into(),
            epoch: i64::from(self.epoch),
            fence_id: self.fence.map(|fence| fence.to_string()),
            age: SignedDuration::from_millis(clock - self.since),
            reverse: self
                .reverse
                .map(|at| ReverseStart { slot: names.back.clone(), lsn: u64::from(at).into() }),
        }
    }
}

impl Database {
    fn identity(&self) -> Identity {
        Identity { system_identifier: if self.side == Side::Source { 1 } else { 2 }, version: 150_018 }
    }

    fn visible(&self) -> i64 {
        let visible = self.sessions.iter().filter(|session| session.stage != Stage::Arriving);
        i64::try_from(visible.count()).unwrap_or(i64::MAX)
    }

    fn writing(&self) -> i64 {
        let writing = self.sessions.iter().filter(|session| matches!(session.stage, Stage::Wrote(_)));
        i64::try_from(writing.count() + self.prepared.len()).unwrap_or(i64::MAX)
    }

    fn prepared_names(&self, names: &Names) -> Vec<String> {
        self.prepared.iter().map(|id| format!("prepared-{id} of {}", names.application)).collect()
    }

    fn writers(&self, names: &Names) -> Vec<String> {
        if self.open { vec![names.application.clone()] } else { Vec::new() }
    }

    /// `standing::standing`, asked about the marker of `fence`.
    pub fn standing(&self, fence: Option<Fence>, names: &Names) -> Result<Standing, Refused> {
        let row = self.row.as_ref().ok_or(Refused::NoRow)?;
        if !self.marker_table {
            return Err(Refused::NoRow);
        }
        Ok(Standing {
            identity: self.identity(),
            timeline: i32::from(self.timeline),
            in_recovery: false,
            token: row.token(self.clock, names),
            writers: self.writers(names),
            sessions: self.visible(),
            write_locks: self.writing(),
            prepared: self.prepared_names(names),
            unlayered: if self.needs_layer && !self.layered {
                vec!["public.accounts".to_owned()]
            } else {
                Vec::new()
            },
            replication_may_write: self.replication_may_write(),
            replication_sessions: i64::from(self.dms_session),
            marker: fence.is_some_and(|fence| self.has_marker(fence)),
            slot: self.back.map(|slot| MoveSlot {
                usable: self.back_is_usable(),
                active: slot.active,
                confirmed: Some(u64::from(slot.position).into()),
            }),
            busy: self.writing(),
            flushed: u64::from(self.end()).into(),
        })
    }

    /// `observe::observe`: `base` with what this model knows better.
    pub fn server(&self, base: &Server, names: &Names) -> Server {
        let mut slots = Vec::new();
        let mut noted = Vec::new();
        for name in [SlotName::Forward, SlotName::Back] {
            if let Some(slot) = self.slot(name) {
                slots.push(seen_slot(*slot, names.slot(name), &names.dms));
            }
            if self.noted.has(name) {
                noted.push(names.slot(name).clone());
            }
        }
        Server {
            identity: self.identity(),
            record: self.row.as_ref().map_or(Record::Absent, |row| Record::Present {
                migration: names.resource.clone(),
                uid: names.uid(row.uid),
                token: row.token(self.clock, names),
                system_identifier: self.identity().system_identifier,
                slots: noted,
            }),
            slots,
            writers: self.writers(names),
            application_sessions: self.visible(),
            ..base.clone()
        }
    }

    /// `precheck::precheck`.
    pub fn precheck(&self, names: &Names) -> PreCheck {
        PreCheck {
            timeline: i32::from(self.timeline),
            in_recovery: false,
            prepared: self.prepared_names(names),
            long_transactions: Vec::new(),
            open_ddl: Vec::new(),
            superusers: Vec::new(),
            standbys: Vec::new(),
            lost_synchronous_standby: false,
            free_connections: 50,
            subscriptions: Vec::new(),
            writers: self.writers(names),
            operator_lacks: Vec::new(),
            foreign_grants: Vec::new(),
        }
    }
}

fn seen_slot(slot: Slot, name: &str, dms: &str) -> SeenSlot {
    SeenSlot {
        name: name.to_owned(),
        active: slot.active,
        used_by: slot.active.then(|| dms.to_owned()),
        retained_bytes: Some(0),
        wal_status: Some(if slot.lost { "lost" } else { "reserved" }.to_owned()),
    }
}
