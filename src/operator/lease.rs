//! Who leads, as a pure machine: what was seen of the Lease and when goes in, what to do next comes out. No clock, network or
//! task: [`super::leader`] drives it, and the simulator steps it.
//!
//! All times are readings of one process's own monotonic clock. The times in the Lease are written for people and never
//! read: no two machines' clocks are compared. A candidate takes over from somebody else only after it has itself watched
//! the same version of the Lease for the whole duration, and each write is made on the version that was read. So when its
//! write is taken, the last renewal of the one before is at least that old, whose permits ended `duration − renew_within`
//! earlier. That holds as long as no clock runs half as fast again as the other.

use std::time::Duration;

/// How long a lease lasts, and how often it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Others take over when they have seen no renewal for this long.
    pub duration: Duration,
    /// The holder may act for this long after it sent the last renewal that was taken; then it has lost the lease.
    pub renew_within: Duration,
    /// From one renewal to the next, and after a failure. The others look twice as often.
    pub retry: Duration,
}

impl Default for Timing {
    /// What Kubernetes' own controllers use.
    fn default() -> Self {
        Self::lasting(Duration::from_secs(15))
    }
}

impl Timing {
    /// The same proportions for another duration, which is written in whole seconds.
    pub fn lasting(duration: Duration) -> Self {
        Self { duration, renew_within: duration * 2 / 3, retry: duration * 2 / 15 }
    }
}

/// What the Lease says, or is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `metadata.resourceVersion`: what was read; to be written only on this. `None`: to be created.
    pub version: Option<String>,
    /// Who holds it; `None` once it was given back.
    pub holder: Option<String>,
    /// For how long others must have seen no renewal, as its holder says.
    pub duration: Duration,
    /// How often it was taken. Together with the holder it names one term of one process.
    pub transitions: i32,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// Read the Lease, then say [`Elector::saw`] or [`Elector::failed`].
    Look,
    /// Write this on its version, then say [`Elector::wrote`], [`Elector::refused`] or [`Elector::failed`].
    Write(Record),
    /// Nothing before this time.
    Sleep(Duration),
    /// End the process: it led, and leads no more. There is no way back.
    Lost(Lost),
}

/// Why leadership ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The API server could not be reached, or the process was paused.
    #[error("no renewal was taken within {} s", .0.as_secs_f64())]
    Late(Duration),
    /// The Lease names somebody else.
    #[error("{0} holds it")]
    Taken(String),
    /// The Lease names nobody, and this process did not give it back.
    #[error("somebody else cleared or deleted it")]
    Cleared,
    /// The Lease names this identity, in a term that this process did not begin.
    #[error(
        "another process with the same identity took it: POD_NAME and POD_UID must name one pod with one operator"
    )]
    Impostor,
    /// Given back by this process.
    #[error("it was given back")]
    GivenBack,
}

/// The Lease as it was last read or written, and from when it may be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watched {
    lease: Option<Record>,
    free_from: Duration,
}

/// One process's part in the election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elector {
    identity: String,
    timing: Timing,
    watched: Option<Watched>,
    /// What was last read or written may be written on.
    ready: bool,
    not_before: Duration,
    /// While leading: the number of this term, and until when it may act.
    term: Option<(i32, Duration)>,
    lost: Option<Lost>,
}

impl Elector {
    /// A candidate that knows nothing yet. No other process that runs may have the same identity: a Lease with one's own
    /// identity is taken back at once.
    pub fn new(identity: String, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            watched: None,
            ready: false,
            not_before: Duration::ZERO,
            term: None,
            lost: None,
        }
    }

    /// Until when this process may act, if it leads: it may while the clock reads less than that.
    pub fn valid_until(&self) -> Option<Duration> {
        self.term.filter(|_| self.lost.is_none()).map(|(_, until)| until)
    }

    /// Who held the Lease when it was last read or written.
    pub fn holder(&self) -> Option<&str> {
        self.watched.as_ref()?.lease.as_ref()?.holder.as_deref()
    }

    /// What to do now.
    pub fn next(&self, now: Duration) -> Do {
        if let Some(lost) = &self.lost {
            return Do::Lost(lost.clone());
        }
        if self.valid_until().is_some_and(|until| now >= until) {
            return Do::Lost(Lost::Late(self.timing.renew_within));
        }
        if now < self.not_before {
            return Do::Sleep(self.valid_until().map_or(self.not_before, |until| until.min(self.not_before)));
        }
        match &self.watched {
            Some(Watched { lease, .. }) if self.ready => Do::Write(self.mine(lease.as_ref())),
            _ => Do::Look,
        }
    }

    /// The Lease was read, `None` if there is none; the answer came at `now`. What it says is no newer than that, so that
    /// counting from here is the careful side.
    pub fn saw(&mut self, lease: Option<Record>, now: Duration) {
        if let Some((term, _)) = self.term {
            self.lost = self.lost.take().or_else(|| self.lost_by(term, lease.as_ref()));
        }
        let free_from = match &self.watched {
            Some(watched) if same_version(watched.lease.as_ref(), lease.as_ref()) => watched.free_from,
            before => self.free_from(before.is_some(), lease.as_ref(), now),
        };
        self.ready = self.term.is_some() || now >= free_from;
        self.not_before = if self.ready { now } else { free_from.min(now + self.timing.retry / 2) };
        self.watched = Some(Watched { lease, free_from });
    }

    /// What was to be written, and was sent at `sent`, was taken; `answer` is what the Lease became. The right to act counts
    /// from before the request was sent: the write may have been made at any time since.
    pub fn wrote(&mut self, answer: Record, sent: Duration, now: Duration) {
        let until = sent + self.timing.renew_within;
        // A write that changes nothing gets no new version; nobody would have seen it.
        let unseen = self.watched.as_ref().is_some_and(|w| same_version(w.lease.as_ref(), Some(&answer)));
        let too_late = self.term.is_none() && now >= until;
        if unseen || too_late {
            return self.failed(sent, now);
        }
        self.term = Some((answer.transitions, until));
        self.watched = Some(Watched { lease: Some(answer), free_from: now });
        self.ready = true;
        self.not_before = sent + self.timing.retry;
    }

    /// A write was refused, since somebody else wrote before it: look at once.
    pub fn refused(&mut self, now: Duration) {
        self.ready = false;
        self.not_before = now;
    }

    /// A read or a write that was sent at `sent` failed or was not answered. It may have been carried out: the Lease is read
    /// before anything else is written.
    pub fn failed(&mut self, sent: Duration, now: Duration) {
        self.ready = false;
        self.not_before = now.max(sent + self.timing.retry);
    }

    /// Leads no more, from now on; all work must have ended. Returns what to write so that others need not wait, if that is
    /// known.
    pub fn give_back(&mut self) -> Option<Record> {
        let led = self.term.is_some() && self.lost.is_none();
        self.lost = self.lost.take().or(Some(Lost::GivenBack));
        let record = self.watched.as_ref()?.lease.as_ref()?;
        (led && self.ready).then(|| Record { holder: None, ..record.clone() })
    }

    /// The Lease in this process's name: the same term while it leads, else a new one.
    fn mine(&self, lease: Option<&Record>) -> Record {
        let transitions = match (self.term, lease) {
            (Some((term, _)), _) => term,
            (None, Some(lease)) => lease.transitions.saturating_add(1),
            (None, None) => 0,
        };
        Record {
            version: lease.and_then(|lease| lease.version.clone()),
            holder: Some(self.identity.clone()),
            duration: self.timing.duration,
            transitions,
        }
    }

    /// From when a Lease that is news at `now` may be taken.
    fn free_from(&self, known_before: bool, lease: Option<&Record>, now: Duration) -> Duration {
        match lease {
            // Deleted by somebody, while its holder may still act.
            None if known_before => now + self.timing.duration,
            None => now,
            Some(Record { holder: None, .. }) => now,
            // This pod's container before this one, which has ended.
            Some(Record { holder: Some(holder), .. }) if *holder == self.identity => now,
            Some(lease) => now + self.timing.duration.max(lease.duration),
        }
    }

    fn lost_by(&self, term: i32, lease: Option<&Record>) -> Option<Lost> {
        match lease.map(|lease| (lease.holder.as_deref(), lease.transitions)) {
            Some((Some(holder), transitions)) if holder == self.identity => {
                (transitions != term).then_some(Lost::Impostor)
            }
            Some((Some(holder), _)) => Some(Lost::Taken(holder.to_owned())),
            Some((None, _)) | None => Some(Lost::Cleared),
        }
    }
}

fn same_version(one: Option<&Record>, other: Option<&Record>) -> bool {
    one.map(|lease| &lease.version) == other.map(|lease| &lease.version)
}

#[cfg(test)]
mod tests;
