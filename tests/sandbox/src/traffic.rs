//! What AWS's API only describes, played on loopback: name servers that answer by weight, load balancers that forward and
//! probe their targets.
//!
//! They know nothing but the [`World`](crate::world::World) behind the stand-in: they ask it what to answer, whom to send a
//! request to and whom to probe, and tell it what came of it. All rules are the world's.
//!
//! | module | plays |
//! |---|---|
//! | `dns`, `wire` | Route 53's servers and a resolver in one, over UDP |
//! | `forward` | a load balancer: HTTP, one target after the other |
//! | `probe` | its health checks |
//! | `resolve` | a client's resolver, which keeps answers for their time |

mod dns;
mod forward;
mod probe;
mod resolve;
mod wire;

pub use dns::NameServer;
pub use forward::Forwarder;
pub use probe::Prober;
pub use resolve::Resolver;
