//! What goes wrong with calls, and how a call that is to go wrong is named.

use crate::clock::{Micros, ProcessId, SECOND};
use crate::random::Random;

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// AWS.
    Aws,
    /// PostgreSQL.
    Sql,
    /// The Kubernetes API.
    Kubernetes,
    /// An application.
    Http,
}

/// One call of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// Who is called.
    pub service: Service,
    /// What for.
    pub name: &'static str,
    /// On what.
    pub on: String,
    /// It changes something.
    pub mutates: bool,
    /// What it is about is younger than a minute: AWS may not know it yet.
    pub young: bool,
}

/// How a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Kind {
    Throttled,
    ServerError,
    Denied,
    Expired,
    Conflict,
    /// It is there, and is said not to be.
    NotFound,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// The process ends before it is sent.
    CrashBefore,
    /// The process ends after it had its effect, before the answer.
    CrashAfter,
    /// The process ends after it took note of the answer.
    CrashRecorded,
    /// It never arrives, and no answer comes.
    SilenceBefore,
    /// It has its effect, and no answer comes.
    SilenceAfter,
    /// No answer comes, and it has its effect later.
    Late(Micros),
    /// It is refused.
    Refused(Kind),
}

impl Fate {
    /// Each that is tried on each call.
    pub const EACH: [Self; 12] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::CrashRecorded,
        Self::SilenceBefore,
        Self::SilenceAfter,
        Self::Late(20 * SECOND),
        Self::Refused(Kind::Throttled),
        Self::Refused(Kind::ServerError),
        Self::Refused(Kind::Denied),
        Self::Refused(Kind::Expired),
        Self::Refused(Kind::Conflict),
        Self::Refused(Kind::NotFound),
    ];

    /// Whether it can happen to this call.
    pub fn fits(self, point: &Point) -> bool {
        match self {
            Self::Refused(Kind::NotFound) => point.service == Service::Aws && point.young && !point.mutates,
            // Reading late is not reading.
            Self::Late(_) | Self::Refused(Kind::Conflict) => point.mutates,
            _ => true,
        }
    }
}

/// Where faults come from.
#[derive(Default)]
pub struct Faults {
    /// One call, counted over all processes, and its fate.
    pub one: Option<(usize, Fate)>,
    /// So many of a thousand calls, by chance, of these kinds.
    pub rate: u32,
    /// The kinds that chance picks from.
    pub kinds: Vec<Fate>,
    /// Operators are stopped before a change, now and then.
    pub pauses: bool,
    /// No more faults from here on.
    pub over: bool,
    /// Each call that was made, if it is to be listed.
    pub listed: Option<Vec<Point>>,
    /// How many calls were made.
    pub calls: usize,
    /// So many people have not given all their orders yet.
    pub orders_left: usize,
    /// How many, when the end was reached.
    pub calls_to_the_end: usize,
    /// The one call was reached.
    pub reached: bool,
}

impl Faults {
    /// What becomes of the next call.
    pub fn fate(&mut self, _process: ProcessId, point: &Point, random: &mut Random) -> Fate {
        let index = self.calls;
        self.calls += 1;
        if let Some(listed) = &mut self.listed {
            listed.push(point.clone());
        }
        if let Some((at, fate)) = self.one
            && at == index
        {
            self.reached = true;
            return if fate.fits(point) { fate } else { Fate::Answered };
        }
        if !self.over && self.rate > 0 && !self.kinds.is_empty() && random.permille(self.rate) {
            let fate = match *random.pick(&self.kinds) {
                Fate::Late(_) => {
                    let late = random.within(SECOND / 10, 90 * SECOND);
                    // Nothing is sent for longer than TCP_USER_TIMEOUT, 10 s, and no statement runs for more than 30 s.
                    Fate::Late(if point.service == Service::Sql { late.min(40 * SECOND) } else { late })
                }
                fate => fate,
            };
            if fate.fits(point) {
                return fate;
            }
        }
        Fate::Answered
    }
}
