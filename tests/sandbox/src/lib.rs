//! The sandbox: a real Kubernetes API server, two real PostgreSQL servers and a stand-in for AWS, on loopback.
//!
//! Test equipment. Slipway never knows that it exists: the operator reaches the stand-in by the AWS SDK's own
//! `AWS_ENDPOINT_URL_*` variables and nothing else.
//!
//! | module | holds |
//! |---|---|
//! | [`world`] | the pure model of AWS: (state, call, now) to (state, reply, effects); no I/O, no clock |
//! | [`serve`] | HTTP in front of the world: the wire protocols of the Rust SDKs, delays and faults |
//! | [`traffic`] | what AWS's API only describes: name servers by weight, load balancers that forward and probe |
//! | [`plane`] | the words in which world and data plane speak |
//! | [`dataplane`] | what a running DMS task does: COPY at a snapshot, decode a slot, apply |
//! | [`cluster`] | etcd and kube-apiserver, identities |
//! | [`postgres`] | the two database servers |
//! | [`bank`] | the bank's schema, its load, and the comparison of both sides |
//! | [`certificates`] | certificate authorities made at start |
//! | [`process`] | child processes that end with their parent |
//! | [`sandbox`] | all of it together, for one process, with a file that tells others how to reach it |
//! | [`mod@bench`] | the cutover, many times, and how long each part took |
//! | [`demo`] | one migration from nothing to a proved copy, told as it happens |
//! | [`canary`] | the word that is in every secret, and the search for it |
//! | [`dice`] | numbers that look random and come again for the same seed |
//! | [`torture`] | whole migrations while things go wrong at random |
//! | [`cli`] | `cargo sandbox`, `cargo demo`, `cargo cutover-bench` and `cargo torture` |

pub mod bank;
pub mod bench;
pub mod canary;
pub mod certificates;
pub mod cli;
pub mod cluster;
pub mod dataplane;
pub mod demo;
pub mod dice;
pub mod plane;
pub mod postgres;
pub mod process;
pub mod sandbox;
pub mod serve;
pub mod torture;
pub mod traffic;
pub mod world;
