//! Applications that write: each tries the hosts in their order, as pgJDBC does, and goes on for ever. What was acknowledged
//! is remembered; what was not answered is unknown.

use slipway::side::Side;

use crate::clock::{MILLI, SECOND, Sim};
use crate::database::{Stage, WriteId};

/// One application.
pub async fn write(sim: Sim, client: u8, long: bool) {
    let mut on: Option<Side> = None;
    loop {
        let pause = sim.with(|world| {
            let slow = if world.writer().is_some() { 1_500 * MILLI } else { 200 * MILLI };
            world.random.within(slow / 3, slow)
        });
        sim.sleep(pause).await;
        if sim.with(|world| !world.applications_run) {
            sim.with(|world| {
                for side in Side::BOTH {
                    if world.database(side).stage_of(client).is_some() {
                        world.database_mut(side).leave(client);
                    }
                }
            });
            return;
        }
        let Some(side) = on else {
            on = sim.with(|world| {
                Side::BOTH.into_iter().find(|side| {
                    world.database_mut(*side).leave(client);
                    world.reaches(client, *side) && world.database_mut(*side).log_in(client).is_ok()
                })
            });
            if let Some(side) = on {
                // Between the login's check and the session's appearance.
                let gap = sim.with(|world| world.random.within(MILLI, 30 * MILLI));
                sim.sleep(gap).await;
                if sim.with(|world| world.database_mut(side).appear(client).is_err()) {
                    on = None;
                }
            }
            continue;
        };
        let Some(id) = sim.with(|world| begun(world, side, client)) else {
            sim.with(|world| world.database_mut(side).leave(client));
            on = None;
            continue;
        };
        let hold = sim.with(|world| {
            if long && world.random.permille(60) {
                world.random.within(SECOND, 20 * SECOND)
            } else {
                world.random.within(MILLI, 50 * MILLI)
            }
        });
        sim.sleep(hold).await;
        let committed = sim.with(|world| {
            if world.database(side).stage_of(client) != Some(Stage::Wrote(id)) {
                return false;
            }
            if long && world.random.permille(4) {
                return world.database_mut(side).prepare(client).is_err();
            }
            world.database_mut(side).commit(client).is_ok()
        });
        if !committed {
            on = None;
            continue;
        }
        sim.sleep(MILLI).await;
        sim.with(|world| {
            // The answer may be lost: then nobody knows.
            if !world.random.permille(20) {
                world.history.acknowledged.push(id);
                world.trace.note((client, id));
            }
        });
    }
}

fn begun(world: &mut crate::world::World, side: Side, client: u8) -> Option<WriteId> {
    world.database_mut(side).write(client).ok()
}

/// Somebody ends prepared transactions after a while.
pub async fn end_prepared(sim: Sim) {
    loop {
        let pause = sim.with(|world| world.random.within(20 * SECOND, 60 * SECOND));
        sim.sleep(pause).await;
        sim.with(|world| {
            for side in Side::BOTH {
                if !world.database(side).prepared.is_empty() {
                    let commit = world.random.permille(500);
                    world.database_mut(side).end_prepared(commit);
                }
            }
        });
    }
}
