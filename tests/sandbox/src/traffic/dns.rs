//! The name server: over UDP, on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tracing::warn;

use super::wire::{self, Question};
use crate::dice::Dice;
use crate::serve::Handle;
use crate::world::route53::DnsAnswer;

/// Answers for the zones of a world, and follows names through them as a resolver does. Dropping it ends it.
pub struct NameServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl NameServer {
    /// Listens on a free port. What it draws among weighted records follows from the seed.
    pub async fn start(world: Handle, seed: u64) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        Ok(Self { address, task: tokio::spawn(answer(socket, world, Dice::new(seed))) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(socket: UdpSocket, world: Handle, mut dice: Dice) {
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // The one before could not be delivered: nothing is wrong with the next.
                warn!(%error, "a question could not be received");
                continue;
            }
        };
        let message = &buffer[..length];
        let reply = match Question::read(message) {
            Some(question) => {
                let answer = world.with_world(|world, now| {
                    world.advance_to(now);
                    match question.kind() {
                        Some(kind) => world.resolve(&question.name, kind, &mut dice),
                        // A type that nothing has here: the name may still be there.
                        None => match world.resolve(&question.name, "A", &mut dice) {
                            DnsAnswer::Records(_) => DnsAnswer::Records(Vec::new()),
                            other => other,
                        },
                    }
                });
                Some(question.reply(&answer))
            }
            None => wire::malformed(message),
        };
        if let Some(reply) = reply
            && let Err(error) = socket.send_to(&reply, from).await
        {
            warn!(%error, "a DNS reply could not be sent");
        }
    }
}
