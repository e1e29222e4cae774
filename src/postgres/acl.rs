//! Noting privileges and taking them away.
//!
//! PostgreSQL answers a REVOKE that achieves nothing with success. So nothing here concludes that nobody can write: that is
//! judged by an observation that began afterwards.

use std::collections::{BTreeMap, BTreeSet};

use super::connect::Connection;
use super::privileges;
use crate::fault::Fault;

mod restore;

pub(super) use restore::{differences, restore};

/// From whom something is taken, which is also how it is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// From everybody but the operator, DMS, and those from whom nothing can be taken.
    Fence,
    /// From DMS's role alone.
    Freeze,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Fence => "fence",
            Self::Freeze => "freeze",
        }
    }

    /// Which of [`grants`] are taken away.
    fn taken(self) -> &'static str {
        match self {
            Self::Fence => "NOT exempt",
            Self::Freeze => "of_dms",
        }
    }

    /// Which are noted: also the right of a spared role to pass its own on, which may have to be taken.
    fn noted(self) -> &'static str {
        match self {
            Self::Fence => "(NOT exempt OR grantable)",
            Self::Freeze => "of_dms",
        }
    }
}

/// What the operator and DMS had through PUBLIC or a group must outlive the loss of it; what is granted for that is noted
/// as lent.
pub(super) async fn keep_ourselves_in(connection: &Connection, dms_role: &str) -> Result<(), Fault> {
    let sql = "
        SELECT format('GRANT CONNECT ON DATABASE %I TO %I', d.datname, r.rolname),
               quote_ident(d.datname), quote_ident(pg_get_userbyid(d.datdba)), quote_ident(r.rolname)
          FROM pg_database d JOIN pg_roles r ON r.rolname IN (current_user, $1::text)
         WHERE d.datname = current_database()
           AND NOT EXISTS (SELECT FROM aclexplode(d.datacl) a WHERE a.grantee = r.oid AND a.privilege_type = 'CONNECT')";
    let lend = "
        INSERT INTO slipway.token_acl (kind, object, grantor, grantee, privilege, grantable, why)
        VALUES ('database', $1, $2, $3, 'CONNECT', false, 'lent') ON CONFLICT DO NOTHING";
    for row in connection.query("reading who may connect", sql, &[&dms_role]).await? {
        connection.run("granting CONNECT to the operator and DMS", row.get(0)).await?;
        let (object, grantor, grantee): (String, String, String) = (row.get(1), row.get(2), row.get(3));
        connection.query("noting what was lent", lend, &[&object, &grantor, &grantee]).await?;
    }
    Ok(())
}

/// Every grant that lets a role connect or write; `$1` are the tables, `$2` is DMS's role. `exempt` are those of roles
/// that keep theirs through a fence, `of_dms` those of DMS's role.
fn grants() -> String {
    format!(
        "(SELECT e.kind, e.object, e.attribute, quote_ident(pg_get_userbyid(e.grantor)) AS grantor,
                CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END AS grantee,
                e.privilege_type AS privilege, e.is_grantable AS grantable, e.grantor = e.owner AS by_owner,
                e.grantee <> 0
                AND (r.rolname IN (current_user, $2::text) OR r.rolname = ANY ({})
                     OR CASE WHEN e.kind = 'database' THEN r.rolsuper ELSE e.grantee = e.owner END) AS exempt,
                e.grantee <> 0 AND r.rolname = $2::text AS of_dms, e.owner
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

/// Grants that the operator can't take away, since it is no member of the object's owner, or can take away, but not give
/// back as they were made, since it can't act as who made them.
pub(super) async fn foreign(
    connection: &Connection,
    dms_role: &str,
    tables: &[u32],
) -> Result<Vec<String>, Fault> {
    let sql = format!(
        "SELECT DISTINCT format('%s of %s on %s, granted by %s', privilege, grantee, object, grantor)
           FROM {} JOIN pg_roles m ON quote_ident(m.rolname) = grantor
          WHERE NOT exempt AND (NOT pg_has_role(g.owner, 'USAGE') OR NOT by_owner AND NOT pg_has_role(m.oid, {MAY_SET}))
          ORDER BY 1",
        grants()
    );
    let rows = connection.query_long("reading who granted what", &sql, &[&tables, &dms_role]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What SET ROLE needs: from PostgreSQL 16 on an option of the membership.
const MAY_SET: &str =
    "CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END";

/// Notes what is about to be taken away. What was noted before stays as it was.
pub(super) async fn note(
    connection: &Connection,
    why: Why,
    dms_role: &str,
    tables: &[u32],
) -> Result<(), Fault> {
    let sql = format!(
        "INSERT INTO slipway.token_acl (kind, object, attribute, grantor, grantee, privilege, grantable, why)
         SELECT kind, object, attribute, grantor, grantee, privilege, grantable, '{}'
           FROM {} WHERE {} ON CONFLICT DO NOTHING",
        why.as_str(),
        grants(),
        why.noted()
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

/// Takes away what [`note`] noted.
pub(super) async fn revoke(
    connection: &Connection,
    why: Why,
    dms_role: &str,
    tables: &[u32],
) -> Result<(), Fault> {
    let sql = format!(
        "SELECT DISTINCT object, kind = 'database', grantor, grantee, by_owner FROM {} WHERE {}",
        grants(),
        why.taken()
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
    if grants.is_empty() {
        return Ok(());
    }
    let by_owners = grants.iter().filter(|grant| grant.by_owner);
    let statements = revocations("", by_owners.map(|grant| (grant, grant.grantee.as_str())));
    connection.run_long("revoking privileges", &statements).await?;
    // An owner can't take back what another granted; and what is left now was granted by an exempt role, or passed on
    // from there. Taking its right to pass on takes all that with it, and leaves the role its own.
    let grants = read().await?;
    let by_others = grants.iter().filter(|grant| !grant.by_owner);
    let statements = revocations("GRANT OPTION FOR ", by_others.map(|grant| (grant, grant.grantor.as_str())));
    if statements.is_empty() {
        return Ok(());
    }
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

/// Takes back what [`keep_ourselves_in`] lent, but for DMS where it is frozen and has nothing.
pub(super) async fn end_the_loan(connection: &Connection) -> Result<(), Fault> {
    let sql = "
        DELETE FROM slipway.token_acl WHERE why = 'lent'
        RETURNING format('REVOKE CONNECT ON DATABASE %s FROM %s', object, grantee),
                  grantee IN (SELECT quote_ident(rolname) FROM pg_roles)";
    let rows = connection.query("reading what was lent", sql, &[]).await?;
    let statements: Vec<String> = rows.iter().filter(|row| row.get(1)).map(|row| row.get(0)).collect();
    if statements.is_empty() {
        Ok(())
    } else {
        connection.run("taking back what was lent", &statements.join("; ")).await
    }
}

/// Leaves what a fence noted of DMS's role to its freeze, which gives it back another day.
pub(super) async fn leave_to_the_freeze(connection: &Connection, dms_role: &str) -> Result<(), Fault> {
    let sql = "
        WITH of_dms AS (DELETE FROM slipway.token_acl WHERE why = 'fence' AND grantee = quote_ident($1::text) RETURNING *)
        INSERT INTO slipway.token_acl (kind, object, attribute, grantor, grantee, privilege, grantable, why)
        SELECT kind, object, attribute, grantor, grantee, privilege, grantable, 'freeze' FROM of_dms
        ON CONFLICT (kind, object, attribute, grantor, grantee, privilege, why)
        DO UPDATE SET grantable = token_acl.grantable OR excluded.grantable";
    connection.query("leaving DMS's rights to its freeze", sql, &[&dms_role]).await.map(|_| ())
}

/// Forgets an earlier fence's notes. On a side that applications write to they are of the past.
pub(super) async fn forget(connection: &Connection) -> Result<(), Fault> {
    connection
        .run("forgetting old notes", "DELETE FROM slipway.token_acl WHERE why IN ('fence', 'lent')")
        .await
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
