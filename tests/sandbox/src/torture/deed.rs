//! One thing that goes wrong, or is over again.

use std::fmt;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use tokio_postgres::Client;

use crate::bank::probe::Side;
use crate::bank::{self};
use crate::bench::{Bench, text};
use crate::postgres::{Error, Server, connect_local};
use crate::process::Signal;
use crate::sandbox::Example;
use crate::serve::fault::Command;

/// What a person does to the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Person {
    GoBack,
    Abort,
    Suspend,
    Resume,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// In the words of `cargo sandbox fault`.
    Aws(String),
    KillOperator,
    FreezeOperator,
    ThawOperator,
    Kill(Side),
    /// In an orderly way, at once.
    Restart(Side),
    /// After a kill.
    Start(Side),
    Freeze(Side),
    Thaw(Side),
    FreezeKubernetes,
    ThawKubernetes,
    /// Those of the operator, DMS and the application.
    CutSessions(Side),
    /// Somebody prepares a transaction on the source.
    Prepare,
    RollBackPrepared,
    /// Somebody drops the slot that DMS reads.
    LoseSlot,
    LetGoOfTheMarker,
    Says(Person),
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(words) => f.write_str(words),
            Self::KillOperator => f.write_str("kill -9 operator"),
            Self::FreezeOperator => f.write_str("freeze operator"),
            Self::ThawOperator => f.write_str("thaw operator"),
            Self::Kill(side) => write!(f, "kill -9 {side}"),
            Self::Restart(side) => write!(f, "restart {side}"),
            Self::Start(side) => write!(f, "start {side} again"),
            Self::Freeze(side) => write!(f, "freeze {side}"),
            Self::Thaw(side) => write!(f, "thaw {side}"),
            Self::FreezeKubernetes => f.write_str("freeze API server"),
            Self::ThawKubernetes => f.write_str("thaw API server"),
            Self::CutSessions(side) => write!(f, "cut sessions on {side}"),
            Self::Prepare => f.write_str("prepared transaction"),
            Self::RollBackPrepared => f.write_str("rolls it back"),
            Self::LoseSlot => f.write_str("slot lost"),
            Self::LetGoOfTheMarker => f.write_str("marker held"),
            Self::Says(Person::GoBack) => f.write_str("goal back"),
            Self::Says(Person::Abort) => f.write_str("abort"),
            Self::Says(Person::Suspend) => f.write_str("suspend"),
            Self::Says(Person::Resume) => f.write_str("resume"),
        }
    }
}

impl Deed {
    /// Its kind, if it is a misfortune and not the end of one.
    pub(super) fn kind(&self) -> Option<String> {
        match self {
            Self::ThawOperator
            | Self::Thaw(_)
            | Self::Start(_)
            | Self::ThawKubernetes
            | Self::RollBackPrepared
            | Self::Says(Person::Resume) => None,
            Self::Aws(words) => words.split(' ').next().map(ToOwned::to_owned),
            other => Some(other.to_string()),
        }
    }
}

/// What is out of order now.
#[derive(Default)]
pub(super) struct World {
    down: [bool; 2],
    frozen: [bool; 2],
    operator_frozen: bool,
    kubernetes_frozen: bool,
    prepared: bool,
    /// Holds the marker back while it is there.
    pub(super) hold: Option<Client>,
}

impl World {
    pub(super) async fn suffer(
        &mut self,
        bench: &mut Bench<'_>,
        example: &Example,
        deed: &Deed,
    ) -> Result<(), String> {
        match deed {
            Deed::Aws(words) => {
                let words: Vec<&str> = words.split(' ').collect();
                if let Ok(Command::Order(order)) = Command::parse(&words) {
                    // A task that is not there can't fail.
                    let _ = bench.sandbox.aws.order(order);
                }
            }
            Deed::KillOperator => {
                self.thaw_operator(bench)?;
                bench.kill_operator().await?;
            }
            Deed::FreezeOperator => {
                let operator = bench.operator.as_ref().ok_or("there is no operator")?;
                operator.signal(Signal::STOP).map_err(text)?;
                self.operator_frozen = true;
            }
            Deed::ThawOperator => self.thaw_operator(bench)?,
            Deed::Kill(side) => {
                self.thaw(bench, *side)?;
                server(bench, *side).kill().await.map_err(text)?;
                self.down[place(*side)] = true;
            }
            Deed::Restart(side) | Deed::Start(side) => {
                self.thaw(bench, *side)?;
                server(bench, *side).restart().await.map_err(text)?;
                self.down[place(*side)] = false;
            }
            Deed::Freeze(side) if !self.down[place(*side)] => {
                server(bench, *side).pause().map_err(text)?;
                self.frozen[place(*side)] = true;
            }
            Deed::Freeze(_) => {}
            Deed::Thaw(side) => self.thaw(bench, *side)?,
            Deed::FreezeKubernetes => {
                bench.sandbox.cluster.pause().map_err(text)?;
                self.kubernetes_frozen = true;
            }
            Deed::ThawKubernetes => self.thaw_kubernetes(bench)?,
            Deed::CutSessions(side) => {
                let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                            WHERE usename IN ('slipway_operator', 'slipway_dms', 'payments_app')";
                self.run(bench, *side, cut).await;
            }
            Deed::Prepare => {
                // The application's statements on this row wait for it, as they would for a month's end.
                let prepare = "BEGIN; UPDATE public.rates SET rate = rate WHERE currency = 'EUR'; PREPARE TRANSACTION 'torture'";
                self.prepared |= self.run(bench, Side::Source, prepare).await;
            }
            Deed::RollBackPrepared => self.roll_back(bench).await?,
            Deed::LoseSlot => self.lose_slot(bench).await,
            Deed::LetGoOfTheMarker => drop(self.hold.take()),
            Deed::Says(person) => {
                self.thaw_kubernetes(bench)?;
                let change = match person {
                    Person::GoBack => json!({"goal": "Replicate"}),
                    Person::Abort => json!({"abortAttempt": 1}),
                    Person::Suspend => json!({"suspend": true}),
                    Person::Resume => json!({"suspend": null}),
                };
                bench.patch(example, &json!({"spec": change})).await?;
            }
        }
        Ok(())
    }

    /// Everything runs again, and nothing is in the way any more.
    pub(super) async fn heal(&mut self, bench: &mut Bench<'_>) -> Result<(), String> {
        self.hold = None;
        bench.sandbox.aws.clear_faults();
        self.thaw_kubernetes(bench)?;
        self.thaw_operator(bench)?;
        for side in [Side::Source, Side::Target] {
            self.thaw(bench, side)?;
            if self.down[place(side)] {
                server(bench, side).restart().await.map_err(text)?;
                self.down[place(side)] = false;
            }
        }
        self.roll_back(bench).await
    }

    fn thaw(&mut self, bench: &mut Bench<'_>, side: Side) -> Result<(), String> {
        if std::mem::take(&mut self.frozen[place(side)]) {
            server(bench, side).resume().map_err(text)?;
        }
        Ok(())
    }

    fn thaw_operator(&mut self, bench: &Bench<'_>) -> Result<(), String> {
        if std::mem::take(&mut self.operator_frozen)
            && let Some(operator) = &bench.operator
        {
            operator.signal(Signal::CONT).map_err(text)?;
        }
        Ok(())
    }

    fn thaw_kubernetes(&mut self, bench: &Bench<'_>) -> Result<(), String> {
        if std::mem::take(&mut self.kubernetes_frozen) {
            bench.sandbox.cluster.resume().map_err(text)?;
        }
        Ok(())
    }

    /// A statement as superuser; whether it was carried out. A server that is down or frozen carries out nothing.
    async fn run(&self, bench: &mut Bench<'_>, side: Side, sql: &str) -> bool {
        if self.down[place(side)] || self.frozen[place(side)] {
            return false;
        }
        let Ok(client) = connect_local(&server(bench, side).superuser_dsn(bank::DATABASE)).await else {
            return false;
        };
        tokio::time::timeout(Duration::from_secs(5), client.batch_execute(sql))
            .await
            .is_ok_and(|done| done.is_ok())
    }

    async fn roll_back(&mut self, bench: &mut Bench<'_>) -> Result<(), String> {
        for _ in 0..20 {
            if !self.prepared {
                return Ok(());
            }
            if self.run(bench, Side::Source, "ROLLBACK PREPARED 'torture'").await {
                self.prepared = false;
            } else if self.down[0] || self.frozen[0] {
                // At the end, when the server is there again.
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err("the prepared transaction can't be rolled back".to_owned())
    }

    async fn lose_slot(&self, bench: &mut Bench<'_>) {
        let drop = "DO $$ DECLARE slot record; BEGIN
            FOR slot IN SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name NOT LIKE 'slipway%' LOOP
              PERFORM pg_terminate_backend(slot.active_pid, 2000);
              PERFORM pg_drop_replication_slot(slot.slot_name);
            END LOOP; END $$";
        // DMS may be quicker to come back.
        for _ in 0..10 {
            if self.run(bench, Side::Source, drop).await {
                return;
            }
        }
    }
}

fn place(side: Side) -> usize {
    usize::from(side == Side::Target)
}

fn server<'a>(bench: &'a mut Bench<'_>, side: Side) -> &'a mut Server {
    match side {
        Side::Source => &mut bench.sandbox.source,
        Side::Target => &mut bench.sandbox.target,
    }
}

/// From here on the marker of a move can't arrive on the target, until what is returned is dropped. Heartbeats can.
pub async fn hold_the_marker(target: &Server) -> Result<Client, Error> {
    let holder = connect_local(&target.superuser_dsn(bank::DATABASE)).await?;
    let hold = "SELECT pg_advisory_lock(4711);
         CREATE OR REPLACE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
           IF NEW.k LIKE 'move:%' THEN PERFORM pg_advisory_xact_lock(4711); END IF;
           RETURN NEW;
         END $$;
         CREATE OR REPLACE TRIGGER hold BEFORE INSERT ON slipway.marker FOR EACH ROW EXECUTE FUNCTION public.hold();
         ALTER TABLE slipway.marker ENABLE ALWAYS TRIGGER hold";
    holder.batch_execute(hold).await.map_err(Error::sql("holding the marker back"))?;
    Ok(holder)
}
