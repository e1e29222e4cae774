//! What would make a fence slow, stuck or leaky, found while applications still write.

use super::connect::Connection;
use super::observe::Question;
use super::selection::OF_APPLICATIONS;
use super::standing::TIMELINE;
use super::{acl, privileges};
use crate::fault::Fault;

/// What one side says before the writer moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreCheck {
    /// Its timeline.
    pub timeline: i32,
    /// It is a standby, and so can't be changed.
    pub in_recovery: bool,
    /// Prepared transactions of the whole server: they outlive sessions, and making a slot waits for them.
    pub prepared: Vec<String>,
    /// Transactions of the whole server that have written and are open for more than two seconds, as phrases.
    pub long_transactions: Vec<String>,
    /// Sessions that alter a table of an application, or wait to, as phrases.
    pub open_ddl: Vec<String>,
    /// Superusers that can log in: no fence stops them.
    pub superusers: Vec<String>,
    /// Physical standbys and physical slots: promoted, one that lags would be a source without a fence.
    pub standbys: Vec<String>,
    /// Commits wait for a synchronous standby, and none is streaming.
    pub lost_synchronous_standby: bool,
    /// Connections that a role without special rights could still open.
    pub free_connections: i64,
    /// Enabled subscriptions of this database: they write as their owner.
    pub subscriptions: Vec<String>,
    /// Roles, other than superusers, the operator and DMS, that could log in and change a selected table.
    pub writers: Vec<String>,
    /// What the operator's role lacks for a fence, or for the slot of the way back, as phrases with the remedy.
    pub operator_lacks: Vec<String>,
    /// Grants that the operator can't take away, or not give back as their maker had made them, as phrases.
    pub foreign_grants: Vec<String>,
}

fn everything() -> String {
    format!(
        "SELECT {TIMELINE}, pg_is_in_recovery(),
                ARRAY(SELECT format('%s of %s in database %s since %s', gid, owner, database, prepared)
                        FROM pg_prepared_xacts ORDER BY 1),
                ARRAY(SELECT format('pid %s of %s in database %s, open for %s s', a.pid, a.usename, a.datname,
                                    floor(extract(epoch FROM clock_timestamp() - a.xact_start)))
                        FROM pg_stat_activity a
                       WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()
                         AND a.xact_start < clock_timestamp() - interval '2 seconds' ORDER BY a.xact_start),
                ARRAY(SELECT DISTINCT format('pid %s on %I.%I', coalesce(l.pid::text, 'of a prepared transaction'),
                                             n.nspname, c.relname)
                        FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                         AND l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p')
                         AND {OF_APPLICATIONS} AND l.pid IS DISTINCT FROM pg_backend_pid() ORDER BY 1),
                ARRAY(SELECT rolname::text FROM pg_roles
                       WHERE rolsuper AND rolcanlogin AND rolname <> ALL ({}) ORDER BY rolname),
                ARRAY(SELECT format('standby %s at %s', coalesce(nullif(r.application_name, ''), r.usename),
                                    coalesce(host(r.client_addr), 'this host'))
                        FROM pg_stat_replication r
                       WHERE NOT EXISTS (SELECT FROM pg_replication_slots s
                                          WHERE s.active_pid = r.pid AND s.slot_type = 'logical') ORDER BY 1)
                || ARRAY(SELECT format('slot %s', s.slot_name) FROM pg_replication_slots s
                          WHERE s.slot_type = 'physical' AND NOT s.active ORDER BY 1),
                current_setting('synchronous_standby_names') <> ''
                AND NOT EXISTS (SELECT FROM pg_stat_replication
                                 WHERE sync_state IN ('sync', 'quorum') AND state = 'streaming'),
                current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
                - coalesce(current_setting('reserved_connections', true), '0')::bigint
                - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
                ARRAY(SELECT s.subname::text FROM pg_subscription s
                       WHERE s.subenabled
                         AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1)",
        privileges::OF_RDS
    )
}

// A fence that fails half-way for want of a right would cost an outage; the rights are asked for before.
const OPERATOR_LACKS: &str = "
SELECT array_remove(ARRAY[
         CASE WHEN NOT pg_has_role('pg_signal_backend', 'USAGE') THEN
           format('%1$I can''t end other roles'' sessions: GRANT pg_signal_backend TO %1$I', current_user) END,
         CASE WHEN NOT pg_has_role(db.datdba, 'USAGE') THEN
           format('%1$I can''t take CONNECT on database %2$I from anyone: GRANT %3$I TO %1$I', current_user, db.datname,
                  pg_get_userbyid(db.datdba)) END,
         CASE WHEN NOT (op.rolsuper OR op.rolreplication OR coalesce(pg_has_role(rds.oid, 'USAGE'), false)) THEN
           format(CASE WHEN rds.oid IS NULL THEN '%1$I can''t make a replication slot: ALTER ROLE %1$I REPLICATION'
                       ELSE '%1$I can''t make a replication slot: GRANT rds_replication TO %1$I' END, current_user) END],
         NULL)
       || ARRAY(SELECT format('%1$I can''t fence the tables of %2$I: GRANT %2$I TO %1$I', current_user, pg_get_userbyid(o))
                  FROM (SELECT DISTINCT relowner AS o FROM pg_class WHERE oid = ANY ($1)) owners
                 WHERE NOT pg_has_role(o, 'USAGE') ORDER BY 1)
  FROM pg_roles op JOIN pg_database db ON db.datname = current_database()
  LEFT JOIN pg_roles rds ON rds.rolname = 'rds_replication'
 WHERE op.rolname = current_user";

/// Looks for what would stand in the way of a fence on this side. Changes nothing.
pub async fn precheck(connection: &Connection, question: &Question) -> Result<PreCheck, Fault> {
    let work = async {
        let tables = question.selection.oids(connection).await?;
        let row = connection.row("checking before the move", &everything(), &[]).await?;
        let lacks = connection.row("checking the operator's rights", OPERATOR_LACKS, &[&tables]).await?;
        Ok(PreCheck {
            operator_lacks: lacks.get(0),
            timeline: row.get(0),
            in_recovery: row.get(1),
            prepared: row.get(2),
            long_transactions: row.get(3),
            open_ddl: row.get(4),
            superusers: row.get(5),
            standbys: row.get(6),
            lost_synchronous_standby: row.get(7),
            free_connections: row.get(8),
            subscriptions: row.get(9),
            writers: privileges::writers(connection, &question.dms_role, &tables).await?,
            foreign_grants: acl::foreign(connection, &question.dms_role, &tables).await?,
        })
    };
    let snapshot = "ISOLATION LEVEL REPEATABLE READ READ ONLY";
    connection.transaction("checking before the move", snapshot, Box::pin(work)).await
}
