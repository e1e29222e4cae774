//! Who may do what: what the operator and DMS lack, and who else could write.

use super::connect::Connection;
use crate::fault::Fault;
use crate::side::Side;

/// RDS's own roles. AWS acts as them, nobody else can, and nobody can take anything from them.
pub(super) const OF_RDS: &str =
    "'{rdsadmin,rdsrepladmin,rdsproxyadmin,rdstopmgr,rdswriteforwarduser}'::text[]";

/// So many tables are named in one sentence.
const NAMED: usize = 3;

/// The tables of a WITH that ends in `writing(name)`: roles, other than superusers, DMS's (the parameter `dms`) and the
/// operator, that could log in here and change a table of `selected(oid, relowner)`, which comes before.
///
/// Rights count that a role has, inherits or could take on by SET ROLE; the owner of a table could give itself any.
pub(super) fn writing(dms: &str) -> String {
    format!(
        "login AS MATERIALIZED (
                SELECT oid, rolname::text AS name FROM pg_roles
                 WHERE rolcanlogin AND NOT rolsuper AND rolname NOT IN (current_user, {dms}::text)
                   AND rolname <> ALL ({OF_RDS}) AND has_database_privilege(oid, current_database(), 'CONNECT')),
              becomes AS MATERIALIZED (
                SELECT login.oid AS login, role.oid AS role FROM login JOIN pg_roles role
                    ON pg_has_role(login.oid, role.oid, 'MEMBER')),
              able AS MATERIALIZED (
                SELECT role FROM (SELECT DISTINCT role FROM becomes) r
                 WHERE EXISTS (SELECT FROM selected t
                                WHERE t.relowner = role
                                   OR has_table_privilege(role, t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                                   OR has_any_column_privilege(role, t.oid, 'INSERT, UPDATE'))),
              writing AS MATERIALIZED (
                SELECT name FROM login
                 WHERE EXISTS (SELECT FROM becomes JOIN able USING (role) WHERE becomes.login = login.oid))"
    )
}

/// Those of [`writing`] that could change one of `tables`.
pub(super) async fn writers(
    connection: &Connection,
    dms_role: &str,
    tables: &[u32],
) -> Result<Vec<String>, Fault> {
    let sql = format!(
        "WITH selected AS MATERIALIZED (SELECT oid, relowner FROM pg_class WHERE oid = ANY ($1)), {}
         SELECT name FROM writing ORDER BY name COLLATE \"C\"",
        writing("$2")
    );
    let rows = connection.query_long("reading who could write", &sql, &[&tables, &dms_role]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Which sessions are the application's, in the words of a WHERE over `pg_stat_activity a`; `dms` is the parameter that is
/// DMS's role.
pub(super) fn of_applications(dms: &str) -> String {
    format!(
        "a.datname = current_database() AND a.pid <> pg_backend_pid()
         AND a.usename NOT IN (current_user, {dms}::text) AND a.usename <> ALL ({OF_RDS})
         AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.usesysid AND r.rolsuper)"
    )
}

/// Sessions of clients that are neither the operator's, nor DMS's, nor a superuser's.
pub(super) async fn application_sessions(connection: &Connection, dms_role: &str) -> Result<i64, Fault> {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity a WHERE a.backend_type = 'client backend' AND {}",
        of_applications("$1")
    );
    Ok(connection.row("counting the sessions", &sql, &[&dms_role]).await?.get(0))
}

/// What the operator and DMS lack on this side.
pub(super) async fn missing(
    connection: &Connection,
    dms_role: &str,
    tables: &[u32],
) -> Result<Vec<String>, Fault> {
    let side = connection.side();
    let mut missing = Vec::new();
    let names = of_server(connection, dms_role, &mut missing).await?;
    of_schemas(connection, &names, dms_role, tables, &mut missing).await?;
    of_tables(connection, side, &names, dms_role, tables, &mut missing).await?;
    Ok(missing)
}

/// The two roles, as written in SQL.
struct Names {
    operator: String,
    dms: String,
}

const OF_SERVER: &str = "
SELECT quote_ident(current_user), quote_ident($1), quote_ident(current_database()),
       d.oid IS NOT NULL,
       d.rolcanlogin,
       d.rolsuper OR d.rolreplication OR (rds.oid IS NOT NULL AND pg_has_role(d.oid, rds.oid, 'USAGE')),
       has_database_privilege(d.oid, current_database(), 'CONNECT'),
       CASE WHEN control.oid IS NULL THEN has_database_privilege(d.oid, current_database(), 'CREATE')
            ELSE has_schema_privilege(d.oid, control.oid, 'USAGE') AND has_schema_privilege(d.oid, control.oid, 'CREATE') END,
       CASE WHEN ours.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege(ours.oid, 'USAGE') AND has_schema_privilege(ours.oid, 'CREATE') END,
       ours.oid IS NOT NULL, control.oid IS NOT NULL,
       op.rolsuper OR op.rolreplication OR (rds.oid IS NOT NULL AND pg_has_role(rds.oid, 'USAGE')),
       pg_has_role('pg_read_all_stats', 'USAGE'),
       pg_has_role('pg_signal_backend', 'USAGE'),
       pg_has_role(db.datdba, 'USAGE'), quote_ident(pg_get_userbyid(db.datdba)), rds.oid IS NOT NULL
  FROM pg_roles op
  JOIN pg_database db ON db.datname = current_database()
  LEFT JOIN pg_roles d ON d.rolname = $1::text
  LEFT JOIN pg_roles rds ON rds.rolname = 'rds_replication'
  LEFT JOIN pg_namespace ours ON ours.nspname = 'slipway'
  LEFT JOIN pg_namespace control ON control.nspname = 'awsdms_control'
 WHERE op.rolname = current_user";

async fn of_server(connection: &Connection, dms: &str, missing: &mut Vec<String>) -> Result<Names, Fault> {
    let side = connection.side();
    let row = connection.row("reading the roles' privileges", OF_SERVER, &[&dms]).await?;
    let names = Names { operator: row.get(0), dms: row.get(1) };
    let Names { operator, dms } = &names;
    let database: String = row.get(2);
    let held = |column: usize| row.get::<_, Option<bool>>(column).unwrap_or(false);
    let replication = |role: &str| {
        if held(16) {
            format!("GRANT rds_replication TO {role}")
        } else {
            format!("ALTER ROLE {role} REPLICATION")
        }
    };
    let mut lack = |role: &str, lacks: &str, remedy: &str| {
        missing.push(format!("On the {side}, {role} {lacks}: {remedy}"));
    };
    if held(3) {
        if !held(4) {
            lack(dms, "may not log in", &format!("ALTER ROLE {dms} LOGIN"));
        }
        if side == Side::Source && !held(5) {
            lack(dms, "may not read the write-ahead log", &replication(dms));
        }
        if !held(6) {
            lack(dms, "lacks CONNECT", &format!("GRANT CONNECT ON DATABASE {database} TO {dms}"));
        }
        if side == Side::Target && !held(7) {
            let remedy = if held(10) {
                format!("GRANT USAGE, CREATE ON SCHEMA awsdms_control TO {dms}")
            } else {
                format!("CREATE SCHEMA awsdms_control AUTHORIZATION {dms}")
            };
            lack(dms, "can't keep its control tables", &remedy);
        }
    } else {
        lack(dms, "does not exist", &format!("CREATE ROLE {dms} LOGIN"));
    }
    if !held(8) {
        let remedy = if held(9) {
            format!("GRANT USAGE, CREATE ON SCHEMA slipway TO {operator}")
        } else {
            format!("CREATE SCHEMA slipway AUTHORIZATION {operator}")
        };
        lack(operator, "can't keep its record in schema slipway", &remedy);
    }
    if !held(11) && side == Side::Source {
        lack(operator, "could not drop a replication slot", &replication(operator));
    }
    if !held(12) {
        lack(operator, "can't see other roles' sessions", &format!("GRANT pg_monitor TO {operator}"));
    }
    if side == Side::Target {
        if !held(13) {
            lack(
                operator,
                "can't end other roles' sessions",
                &format!("GRANT pg_signal_backend TO {operator}"),
            );
        }
        if !held(14) {
            let owner: String = row.get(15);
            let lacks = format!("can't take CONNECT on database {database} from anyone");
            lack(operator, &lacks, &format!("GRANT {owner} TO {operator}"));
        }
    }
    Ok(names)
}

async fn of_schemas(
    connection: &Connection,
    names: &Names,
    dms: &str,
    tables: &[u32],
    missing: &mut Vec<String>,
) -> Result<(), Fault> {
    let sql = "
        SELECT quote_ident(n.nspname), has_schema_privilege(n.oid, 'USAGE'), has_schema_privilege(d.oid, n.oid, 'USAGE')
          FROM pg_namespace n LEFT JOIN pg_roles d ON d.rolname = $2::text
         WHERE n.oid IN (SELECT relnamespace FROM pg_class WHERE oid = ANY ($1))
         ORDER BY n.nspname COLLATE \"C\"";
    let rows = connection.query("reading the schemas' privileges", sql, &[&tables, &dms]).await?;
    for row in &rows {
        let schema: String = row.get(0);
        for (role, column) in [(&names.operator, 1), (&names.dms, 2)] {
            // NULL: the role does not exist, which was said already.
            if row.get::<_, Option<bool>>(column) == Some(false) {
                missing.push(format!(
                    "On the {}, {role} lacks USAGE on schema {schema}: GRANT USAGE ON SCHEMA {schema} TO {role}",
                    connection.side()
                ));
            }
        }
    }
    Ok(())
}

async fn of_tables(
    connection: &Connection,
    side: Side,
    names: &Names,
    dms: &str,
    tables: &[u32],
    missing: &mut Vec<String>,
) -> Result<(), Fault> {
    let sql = "
        SELECT format('%I.%I', n.nspname, c.relname), quote_ident(n.nspname), quote_ident(pg_get_userbyid(c.relowner)),
               has_table_privilege(c.oid, 'SELECT'), pg_has_role(c.relowner, 'USAGE'),
               has_table_privilege(d.oid, c.oid, 'SELECT'), has_table_privilege(d.oid, c.oid, 'INSERT'),
               has_table_privilege(d.oid, c.oid, 'UPDATE'), has_table_privilege(d.oid, c.oid, 'DELETE')
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_roles d ON d.rolname = $2::text
         WHERE c.oid = ANY ($1)
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";
    let rows = connection.query_long("reading the tables' privileges", sql, &[&tables, &dms]).await?;
    let lacking = |column: usize| -> Vec<(String, String)> {
        let lacking = rows.iter().filter(|row| row.get::<_, Option<bool>>(column) == Some(false));
        lacking.map(|row| (row.get(0), row.get(1))).collect()
    };
    missing.extend(lacks(side, &names.operator, "SELECT", &lacking(3)));
    if side == Side::Target {
        let mut owners: Vec<(String, Vec<String>)> = Vec::new();
        for row in rows.iter().filter(|row| !row.get::<_, bool>(4)) {
            let (table, owner): (String, String) = (row.get(0), row.get(2));
            match owners.iter_mut().find(|(known, _)| *known == owner) {
                Some((_, tables)) => tables.push(table),
                None => owners.push((owner, vec![table])),
            }
        }
        for (owner, tables) in owners {
            missing.push(format!(
                "On the {side}, {operator} can't fence {}, for {owner} owns them: GRANT {owner} TO {operator}",
                named(&tables),
                operator = names.operator
            ));
        }
    }
    let wanted = match side {
        Side::Source => &[("SELECT", 5)][..],
        Side::Target => &[("SELECT", 5), ("INSERT", 6), ("UPDATE", 7), ("DELETE", 8)],
    };
    for (privilege, column) in wanted {
        missing.extend(lacks(side, &names.dms, privilege, &lacking(*column)));
    }
    Ok(())
}

/// One sentence with one statement per schema, so that it stays readable for thousands of tables.
fn lacks(side: Side, role: &str, privilege: &str, tables: &[(String, String)]) -> Vec<String> {
    let mut schemas: Vec<(&str, Vec<String>)> = Vec::new();
    for (table, schema) in tables {
        match schemas.iter_mut().find(|(known, _)| known == schema) {
            Some((_, tables)) => tables.push(table.clone()),
            None => schemas.push((schema, vec![table.clone()])),
        }
    }
    let sentences = schemas.into_iter().map(|(schema, tables)| {
        let object = if tables.len() > NAMED {
            format!("ALL TABLES IN SCHEMA {schema}")
        } else {
            format!("TABLE {}", tables.join(", "))
        };
        let named = named(&tables);
        format!("On the {side}, {role} lacks {privilege} on {named}: GRANT {privilege} ON {object} TO {role}")
    });
    sentences.collect()
}

fn named(tables: &[String]) -> String {
    match tables.len().checked_sub(NAMED) {
        None | Some(0) => tables.join(", "),
        Some(more) => format!("{} and {more} more", tables[..NAMED].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_tables_are_granted_by_name_and_many_by_their_schema() {
        let tables = |count: usize| -> Vec<(String, String)> {
            (0..count).map(|n| (format!("public.t{n}"), "public".to_owned())).collect()
        };
        assert_eq!(
            lacks(Side::Source, "dms", "SELECT", &tables(2)),
            [
                "On the source, dms lacks SELECT on public.t0, public.t1: GRANT SELECT ON TABLE public.t0, public.t1 TO dms"
            ]
        );
        assert_eq!(
            lacks(Side::Source, "dms", "SELECT", &tables(2000)),
            ["On the source, dms lacks SELECT on public.t0, public.t1, public.t2 and 1997 more: \
              GRANT SELECT ON ALL TABLES IN SCHEMA public TO dms"]
        );
        assert!(lacks(Side::Source, "dms", "SELECT", &[]).is_empty());
    }
}
