//! The target's fence from birth: no application can write there before the cutover gives it what is taken away here.
//!
//! PostgreSQL answers a REVOKE that achieves nothing with success. So nothing here concludes that the fence stands: that
//! is judged by the `writers` and `application_sessions` of an observation that began afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::connect::Connection;
use super::privileges;
use super::record::{self, Holding};
use super::selection::Selection;
use crate::fault::Fault;
use crate::permit::Permit;
use crate::side::Side;

/// How long sessions may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fences the target: makes the record there, notes and revokes what lets anyone but the operator and DMS connect to
/// the database or change a selected table, and ends the sessions that are left. Doing it again changes nothing, and
/// never touches what was noted before.
pub async fn fence_target(
    connection: &Connection,
    _permit: &Permit<'_>,
    migration: &Holding,
    selection: &Selection,
) -> Result<(), Fault> {
    record::expect(connection, Side::Target)?;
    let work = Box::pin(fence(connection, migration, selection));
    connection.long_transaction("fencing", "", work).await?;
    end_sessions(connection, &migration.dms_role).await
}

async fn fence(connection: &Connection, migration: &Holding, selection: &Selection) -> Result<(), Fault> {
    // Without the first, a table that someone alters would stop all who want to read it while we wait in the queue.
    connection.run("fencing", "SET LOCAL lock_timeout = '500ms'; SET LOCAL synchronous_commit = on").await?;
    record::make(connection, migration, "fenced", &["SELECT", "INSERT", "UPDATE", "DELETE"]).await?;
    let holder = "SELECT holder FROM slipway.token FOR UPDATE";
    let holder: String = connection.row("reading slipway.token", holder, &[]).await?.get(0);
    if holder != "fenced" {
        return Err(Fault::Bug(format!(
            "{} was to be fenced, but its token is held by {holder}",
            connection.at()
        )));
    }
    let selected = selection.find(connection).await?;
    let tables: Vec<u32> = selected.iter().map(|selected| selected.oid).collect();
    let dms_role = &migration.dms_role;
    keep_ourselves_in(connection, dms_role).await?;
    note(connection, dms_role, &tables).await?;
    revoke(connection, dms_role, &tables).await
}

/// What the operator and DMS had through PUBLIC or a group must outlive the loss of it.
async fn keep_ourselves_in(connection: &Connection, dms_role: &str) -> Result<(), Fault> {
    let sql = "
        SELECT format('GRANT CONNECT ON DATABASE %I TO %I', d.datname, r.rolname)
          FROM pg_database d JOIN pg_roles r ON r.rolname IN (current_user, $1::text)
         WHERE d.datname = current_database()
           AND NOT EXISTS (SELECT FROM aclexplode(d.datacl) a WHERE a.grantee = r.oid AND a.privilege_type = 'CONNECT')";
    for row in connection.query("reading who may connect", sql, &[&dms_role]).await? {
        connection.run("granting CONNECT to the operator and DMS", row.get(0)).await?;
    }
    Ok(())
}

/// Every grant that lets a role connect or write; `$1` are the tables, `$2` is DMS's role. `exempt` are those of roles
/// that keep theirs.
fn grants() -> String {
    format!(
        "(SELECT e.kind, e.object, e.attribute, quote_ident(pg_get_userbyid(e.grantor)) AS grantor,
                CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS grantee,
                e.privilege_type AS privilege, e.is_grantable AS grantable, e.grantor = e.owner AS by_owner,
                e.grantee <> 0
                AND (r.rolname IN (current_user, $2::text) OR r.rolname = ANY ({})
                     OR CASE WHEN e.kind = 'database' THEN r.rolsuper ELSE e.grantee = e.owner END) AS exempt
           FROM (SELECT 'database' AS kind, quote_ident(d.datname) AS object, '' AS attribute, d.datdba AS owner, a.*
                   FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                  WHERE d.datname = current_database() AND a.privilege_type IN ('CONNECT', 'TEMPORARY')
                 UNION ALL
                 SELECT 'relation', format('%I.%I', n.nspname, c.relname), '', c.relowner, a.*
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  CROSS JOIN LATERAL aclexplode(c.relacl) a
                  WHERE c.oid = ANY ($1) AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
                 UNION ALL
                 SELECT 'column', format('%I.%I', n.nspname, c.relname), quote_ident(t.attname), c.relowner, a.*
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped
                  CROSS JOIN LATERAL aclexplode(t.attacl) a
                  WHERE c.oid = ANY ($1) AND a.privilege_type IN ('INSERT', 'UPDATE')) e
           LEFT JOIN pg_roles r ON r.oid = e.grantee) g",
        privileges::OF_RDS
    )
}

/// Notes what is about to be taken away, including the right of an exempt role to pass its own on. What was noted before
/// stays as it was.
async fn note(connection: &Connection, dms_role: &str, tables: &[u32]) -> Result<(), Fault> {
    let sql = format!(
        "INSERT INTO slipway.token_acl (kind, object, attribute, grantor, grantee, privilege, grantable)
         SELECT kind, object, attribute, grantor, grantee, privilege, grantable
           FROM {} WHERE NOT exempt OR grantable ON CONFLICT DO NOTHING",
        grants()
    );
    connection.query_long("noting the privileges", &sql, &[&tables, &dms_role]).await.map(|_| ())
}

/// From whom something is revoked on what.
struct Grant {
    object: String,
    of_database: bool,
    grantor: String,
    grantee: String,
    by_owner: bool,
}

async fn revoke(connection: &Connection, dms_role: &str, tables: &[u32]) -> Result<(), Fault> {
    let sql = format!(
        "SELECT DISTINCT object, kind = 'database', grantor, grantee, by_owner FROM {} WHERE NOT exempt",
        grants()
    );
    let read = async || {
        let rows = connection.query_long("reading the privileges", &sql, &[&tables, &dms_role]).await?;
        let grants = rows.iter().map(|row| Grant {
            object: row.get(0),
            of_database: row.get(1),
            grantor: row.get(2),
            grantee: row.get(3),
            by_owner: row.get(4),
        });
        Ok::<_, Fault>(grants.collect::<Vec<_>>())
    };
    let grants = read().await?;
    let by_owners = grants.iter().filter(|grant| grant.by_owner);
    let statements = revocations("", by_owners.map(|grant| (grant, grant.grantee.as_str())));
    connection.run_long("revoking privileges", &statements).await?;
    // An owner can't take back what another granted; and what is left now was granted by an exempt role, or passed on
    // from there. Taking its right to pass on takes all that with it, and leaves the role its own.
    let grants = read().await?;
    let by_others = grants.iter().filter(|grant| !grant.by_owner);
    let statements = revocations("GRANT OPTION FOR ", by_others.map(|grant| (grant, grant.grantor.as_str())));
    connection.run_long("revoking privileges that were passed on", &statements).await
}

/// Revokes from each object's roles; objects with the same roles share a statement. Revoking on a table takes the
/// grants on its columns away too.
fn revocations<'a>(what: &str, grants: impl Iterator<Item = (&'a Grant, &'a str)>) -> String {
    let mut roles: BTreeMap<(bool, &str), BTreeSet<&str>> = BTreeMap::new();
    for (grant, role) in grants {
        roles.entry((grant.of_database, &grant.object)).or_default().insert(role);
    }
    let mut objects: BTreeMap<(bool, BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
    for ((of_database, object), roles) in roles {
        objects.entry((of_database, roles)).or_default().push(object);
    }
    let statements = objects.into_iter().map(|((of_database, roles), objects)| {
        let on = if of_database {
            "CONNECT, TEMPORARY ON DATABASE"
        } else {
            "INSERT, UPDATE, DELETE, TRUNCATE ON TABLE"
        };
        let roles: Vec<&str> = roles.into_iter().collect();
        format!("REVOKE {what}{on} {} FROM {} CASCADE", objects.join(", "), roles.join(", "))
    });
    statements.collect::<Vec<_>>().join("; ")
}

/// A session outlives the right to begin it. Ends those of applications until two looks in a row find none: a login
/// that passed its check before the commit may appear after the first.
async fn end_sessions(connection: &Connection, dms_role: &str) -> Result<(), Fault> {
    let sql = format!(
        "SELECT a.usename::text, pg_terminate_backend(a.pid) FROM pg_stat_activity a
          WHERE a.backend_type NOT IN ('walsender', 'autovacuum worker') AND {}",
        privileges::of_applications()
    );
    let began = tokio::time::Instant::now();
    let mut quiet = 0;
    loop {
        let rows = connection.query("ending sessions", &sql, &[&dms_role]).await?;
        quiet = if rows.is_empty() { quiet + 1 } else { 0 };
        if quiet == 2 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let roles: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
            let roles: Vec<String> = roles.into_iter().collect();
            return Err(Fault::Again(format!(
                "sessions of {} on {} did not end within {} s",
                roles.join(", "),
                connection.at(),
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(object: &str, of_database: bool, grantee: &str) -> Grant {
        let (object, grantee) = (object.to_owned(), grantee.to_owned());
        Grant { object, of_database, grantor: "owner".to_owned(), grantee, by_owner: true }
    }

    #[test]
    fn objects_with_the_same_grantees_share_a_statement() {
        let grants = [
            grant("bank", true, "PUBLIC"),
            grant("public.a", false, "app"),
            grant("public.b", false, "etl"),
            grant("public.c", false, "app"),
            grant("public.a", false, "app"),
        ];
        assert_eq!(
            revocations("", grants.iter().map(|grant| (grant, grant.grantee.as_str()))),
            "REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON TABLE public.a, public.c FROM app CASCADE; \
             REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON TABLE public.b FROM etl CASCADE; \
             REVOKE CONNECT, TEMPORARY ON DATABASE bank FROM PUBLIC CASCADE"
        );
        assert_eq!(
            revocations(
                "GRANT OPTION FOR ",
                grants[1..2].iter().map(|grant| (grant, grant.grantor.as_str()))
            ),
            "REVOKE GRANT OPTION FOR INSERT, UPDATE, DELETE, TRUNCATE ON TABLE public.a FROM owner CASCADE"
        );
        assert_eq!(revocations("", [].into_iter()), "");
    }
}
