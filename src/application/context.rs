//! What this process remembers of one migration between looks. All of it may be lost at any moment: a look finds it again, and
//! until then nothing is known.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::application::decide::Step;
use crate::aws::balancer::{Balancer, TargetGroup};
use crate::aws::cloudwatch::{Dashboard, SeenAlarm};
use crate::aws::route53::Zone;
use crate::database::sight::Kept;
use crate::database::visit::Visit;
use crate::gate::{Gate, Track};

/// See the module.
#[derive(Default)]
pub struct Memory {
    /// The generation of the spec that what follows was learned for.
    generation: Option<i64>,
    /// Each gate as it was when it was judged, and how it was judged last.
    pub gates: BTreeMap<String, (Gate, Track)>,
    /// The hosted zone.
    pub zone: Kept<Option<Zone>>,
    /// The load balancer.
    pub balancer: Kept<Option<Balancer>>,
    /// The target group.
    pub group: Kept<Option<TargetGroup>>,
    /// Our alarms.
    pub alarms: Kept<Vec<SeenAlarm>>,
    /// Our dashboard.
    pub dashboard: Kept<Option<Dashboard>>,
    /// Sessions with the databases.
    pub visit: Visit,
    /// The account behind the credentials, as last checked.
    pub account_at: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Since when the facts can't be had.
    pub uncertain_since: Option<Timestamp>,
}

impl Memory {
    /// Forgets what another spec led to. Gates are judged as before, unless they changed.
    pub fn turn_to(&mut self, generation: Option<i64>, gates: &[Gate]) {
        if self.generation != generation {
            let (gates_before, account_at) = (std::mem::take(&mut self.gates), self.account_at);
            *self = Self { generation, account_at, ..Self::default() };
            self.gates = gates_before;
        }
        self.gates.retain(|_, (judged, _)| gates.contains(judged));
    }

    /// Forgets what a step may have changed.
    pub fn forget(&mut self, step: &Step) {
        match step {
            Step::PutAlarm(_) | Step::DeleteAlarms(_) => self.alarms = Kept::default(),
            Step::PutDashboard { .. } | Step::DeleteDashboard => self.dashboard = Kept::default(),
            // Records are read at each look; the rest is of the status.
            Step::Claim
            | Step::Intend(_)
            | Step::SetWeights(_)
            | Step::Hold
            | Step::Latch(_)
            | Step::EndWayBack
            | Step::LeaveToTarget(_)
            | Step::Restore(_)
            | Step::Release => {}
        }
    }
}
