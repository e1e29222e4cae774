//! Two databases in the middle of a move: the source fenced and undecided, the target fenced from birth.

use std::sync::Arc;

use slipway::permit::Permit;
use slipway::postgres::{Connection, Guard, fence_target, prepare_source};
use slipway::side::{Side, Sides};

use super::server::{Database, Server, everything};

pub(crate) struct Pair {
    pub(crate) databases: Sides<Database>,
    pub(crate) from: Connection,
    pub(crate) to: Connection,
}

impl Pair {
    pub(crate) async fn make(name: &str, permit: &Permit<'_>) -> Self {
        Self::make_on(&Server::shared(), name, permit).await
    }

    pub(crate) async fn make_on(server: &Arc<Server>, name: &str, permit: &Permit<'_>) -> Self {
        let source = Database::make_on(Arc::clone(server), &format!("{name}_a")).await;
        let target = Database::make_on(Arc::clone(server), &format!("{name}_b")).await;
        let (from, to) = (source.open(Side::Source).await, target.open(Side::Target).await);
        prepare_source(&from, permit, &source.migration("uid-1")).await.unwrap();
        fence_target(&to, permit, &target.migration("uid-1"), &everything()).await.unwrap();
        let pair = Self { databases: Sides { source, target }, from, to };
        pair.token(Side::Source, "none", 7).await;
        pair.token(Side::Target, "fenced", 7).await;
        pair
    }

    /// Puts a side's row where the test wants it; the fence is always the seventh.
    pub(crate) async fn token(&self, side: Side, holder: &str, epoch: i64) {
        let sql = "UPDATE slipway.token SET holder = $1, epoch = $2, fence_id = '7'";
        self.databases.get(side).admin.execute(sql, &[&holder, &epoch]).await.unwrap();
    }

    /// Holder and epoch.
    pub(crate) async fn row(&self, side: Side) -> (String, i64) {
        let sql = "SELECT holder, epoch FROM slipway.token";
        let row = self.databases.get(side).admin.query_one(sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    }

    pub(crate) fn guard(&self, side: Side, epoch: i64) -> Guard {
        let holding = self.databases.get(side).migration("uid-1");
        Guard { holding, epoch, fence_id: "7".to_owned() }
    }

    /// Runs statements as the owner of the application's tables.
    pub(crate) async fn on(&self, side: Side, sql: &str) {
        let database = self.databases.get(side);
        let sql = format!("SET ROLE {}; {sql}; RESET ROLE", database.role("owner"));
        database.admin.batch_execute(&sql).await.unwrap();
    }

    /// The same on both sides.
    pub(crate) async fn on_both(&self, sql: &str) {
        for side in Side::BOTH {
            self.on(side, sql).await;
        }
    }
}
