//! Making, releasing and dropping the record: `src/postgres/record.rs`, `fence::fence_target` and `heartbeat::beat`.

use slipway::side::Side;

use super::{Database, Entry, Holder, Refused, Row, Stage, Uid};

impl Database {
    /// `record::make`.
    fn make(&mut self, uid: Uid, holder: Holder) -> Result<(), Refused> {
        let row = self.row.get_or_insert(Row {
            uid,
            holder,
            epoch: 0,
            fence: None,
            since: self.clock,
            reverse: None,
        });
        if row.uid != uid && row.uid != 0 {
            return Err(Refused::OtherMigration);
        }
        row.uid = uid;
        self.marker_table = true;
        Ok(())
    }

    /// `record::prepare_source`.
    pub fn prepare_source(&mut self, uid: Uid) -> Result<(), Refused> {
        if self.side != Side::Source {
            return Err(Refused::Bug);
        }
        self.transaction(|database| database.make(uid, Holder::Side(Side::Source)))
    }

    /// `fence::fence_target`. What DMS needs it is given: to connect, and its rights on the marker.
    pub fn fence_target(&mut self, uid: Uid) -> Result<(), Refused> {
        if self.side != Side::Target {
            return Err(Refused::Bug);
        }
        let marker = self.marker_table;
        self.transaction(|database| {
            database.make(uid, Holder::Fenced)?;
            if matches!(database.row, Some(row) if matches!(row.holder, Holder::Fenced | Holder::Refused)) {
                return Ok(());
            }
            database.marker_table = marker;
            Err(Refused::Bug)
        })?;
        self.open = false;
        self.dms_connects = true;
        self.sessions.retain(|session| session.stage == Stage::Arriving);
        Ok(())
    }

    /// `record::release`.
    pub fn release(&mut self, uid: Uid) -> Result<(), Refused> {
        let us = Holder::Side(self.side);
        let Some(row) = self.row.as_mut().filter(|row| row.uid == uid) else { return Ok(()) };
        if row.holder == us {
            return Err(Refused::Bug);
        }
        row.uid = 0;
        self.drop_marker_table();
        Ok(())
    }

    /// `record::drop_record`.
    pub fn drop_record(&mut self, uid: Uid) -> Result<(), Refused> {
        let Some(row) = self.row_of(uid) else { return Ok(()) };
        if row.holder != Holder::Side(self.side) {
            return Err(Refused::Bug);
        }
        let left = (self.noted.forward && self.forward.is_some()) || (self.noted.back && self.back.is_some());
        if left {
            return Err(Refused::Busy);
        }
        self.row = None;
        self.noted = super::Slots::default();
        self.layered = false;
        self.drop_marker_table();
        Ok(())
    }

    /// The source's half of `heartbeat::beat`.
    pub fn beat(&mut self, number: u16) -> Result<(), Refused> {
        if !self.marker_table {
            return Err(Refused::NoRow);
        }
        self.log.push(Entry::Beat(number));
        Ok(())
    }

    /// The markers are gone with their table; the places in the log stay where they are.
    fn drop_marker_table(&mut self) {
        self.marker_table = false;
        for entry in &mut self.log {
            if matches!(entry, Entry::Marker(_)) {
                *entry = Entry::Beat(0);
            }
        }
    }
}
