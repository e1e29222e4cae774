//! Route 53, in our words: every record of one name, and changes of them in one batch.

/// A hosted zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Without the prefix `/hostedzone/`.
    pub id: String,
    /// Without the last dot.
    pub name: String,
    /// Only VPCs see it.
    pub private: bool,
}

/// One record set. `Eq`, since a deletion must repeat every value of what stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// In lower case, without the last dot.
    pub name: String,
    /// As Route 53 writes it: `A`, `CNAME`, `TXT`.
    pub kind: String,
    /// How Route 53 chooses among the sets of a name.
    pub routing: Routing,
    /// What it answers.
    pub answer: Answer,
    /// Only answered while this health check passes.
    pub health_check: Option<String>,
}

/// How Route 53 chooses among the sets of a name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The only one.
    Simple,
    /// By share: its weight among the sum of all.
    Weighted {
        /// Tells the sets of one name apart.
        set_identifier: String,
        /// 0 to 255.
        weight: u8,
    },
    /// Latency, geolocation, failover, multivalue …: the word for it.
    Other(String),
}

/// What a record set answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Values of its own.
    Values {
        /// Seconds for which resolvers keep it.
        ttl: u32,
        /// As Route 53 writes them; those of TXT in quotes.
        values: Vec<String>,
    },
    /// Whatever another name of AWS answers; no TTL of its own.
    Alias {
        /// The zone of that name: for a load balancer its `CanonicalHostedZoneId`.
        zone_id: String,
        /// That name, without the last dot.
        dns_name: String,
        /// Answered only while that name is healthy.
        evaluate_target_health: bool,
    },
}

/// One change of a batch, which happens as a whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Made; refused if it exists.
    Create(RecordSet),
    /// Made, or set anew.
    Upsert(RecordSet),
    /// Removed; refused unless every value is the same.
    Delete(RecordSet),
}

/// Where a change has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Not on every server of Route 53 yet.
    Pending,
    /// On all of them; resolvers may keep the old answer for its TTL.
    InSync,
}
