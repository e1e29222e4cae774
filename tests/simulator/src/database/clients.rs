//! What applications do.

use super::{Database, Entry, Refused, WriteId};

/// A session of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session {
    /// Which client.
    pub client: u8,
    /// How far it is.
    pub stage: Stage,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// It passed the login and is not in `pg_stat_activity` yet.
    Arriving,
    /// It has no transaction open.
    Idle,
    /// It has written and holds its locks. A COMMIT asks no privilege.
    Wrote(WriteId),
}

impl Database {
    fn session(&mut self, client: u8) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.client == client)
    }

    /// Passes the login.
    pub fn log_in(&mut self, client: u8) -> Result<(), Refused> {
        if !self.open || self.session(client).is_some() {
            return Err(Refused::Denied);
        }
        self.sessions.push(Session { client, stage: Stage::Arriving });
        // Who came first makes no difference.
        self.sessions.sort_unstable();
        Ok(())
    }

    /// The session that passed the login appears.
    pub fn appear(&mut self, client: u8) -> Result<(), Refused> {
        match self.session(client) {
            Some(session) if session.stage == Stage::Arriving => {
                session.stage = Stage::Idle;
                Ok(())
            }
            _ => Err(Refused::Denied),
        }
    }

    /// Begins a transaction and writes in it; the sequence's value is drawn at once and never given back.
    pub fn write(&mut self, client: u8) -> Result<WriteId, Refused> {
        let allowed = self.open || (self.needs_layer && !self.layered);
        let id = self.sequence + 1;
        match self.session(client) {
            Some(session) if session.stage == Stage::Idle && allowed => {
                session.stage = Stage::Wrote(id);
                self.sequence = id;
                Ok(id)
            }
            _ => Err(Refused::Denied),
        }
    }

    /// Commits.
    pub fn commit(&mut self, client: u8) -> Result<WriteId, Refused> {
        let Some(session) = self.session(client) else { return Err(Refused::Denied) };
        let Stage::Wrote(id) = session.stage else { return Err(Refused::Denied) };
        session.stage = Stage::Idle;
        self.log.push(Entry::Write(id));
        Ok(id)
    }

    /// Rolls back.
    pub fn roll_back(&mut self, client: u8) {
        if let Some(session) = self.session(client) {
            session.stage = Stage::Idle;
        }
    }

    /// Leaves the transaction prepared: it outlives the session.
    pub fn prepare(&mut self, client: u8) -> Result<WriteId, Refused> {
        let Some(session) = self.session(client) else { return Err(Refused::Denied) };
        let Stage::Wrote(id) = session.stage else { return Err(Refused::Denied) };
        session.stage = Stage::Idle;
        self.prepared.push(id);
        Ok(id)
    }

    /// Ends a prepared transaction.
    pub fn end_prepared(&mut self, commit: bool) -> Option<WriteId> {
        let id = self.prepared.pop()?;
        if commit {
            self.log.push(Entry::Write(id));
        }
        Some(id)
    }

    /// Ends the session; what was not committed is gone.
    pub fn leave(&mut self, client: u8) {
        self.sessions.retain(|session| session.client != client);
    }

    /// The session of a client.
    pub fn stage_of(&self, client: u8) -> Option<Stage> {
        self.sessions.iter().find(|session| session.client == client).map(|session| session.stage)
    }
}
