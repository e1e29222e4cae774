//! Giving back exactly what was noted.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAY_SET, Why, grants};
use crate::fault::Fault;
use crate::postgres::connect::Connection;

/// Who has to say that a grant is given back, for it to be as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The object's owner, as which the operator grants anyway.
    Owner,
    /// Its grantor, as whom the operator may act.
    Grantor,
    /// Its grantor, as whom it may not.
    Nobody,
}

/// One noted grant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Noted {
    kind: String,
    object: String,
    attribute: String,
    grantor: String,
    grantee: String,
    privilege: String,
    grantable: bool,
    by: By,
    /// The object, and the roles, are still there.
    there: bool,
    oid: Option<u32>,
}

/// Gives back what was noted, as those granted it who did then, and says what could not be given back so. One grant that
/// fails does not keep the others: a side half open is worse than one grant too few, which is told.
pub(in crate::postgres) async fn restore(
    connection: &Connection,
    why: Why,
    dms_role: &str,
) -> Result<Vec<String>, Fault> {
    let noted = read(connection, why).await?;
    let there: Vec<&Noted> = noted.iter().filter(|grant| grant.there).collect();
    for stage in stages(&there) {
        give(connection, &stage).await?;
    }
    let mut left = missing(connection, why, dms_role, &noted).await?;
    let again: Vec<&Noted> = there.into_iter().filter(|grant| left.contains(*grant)).collect();
    if !again.is_empty() {
        // Its old grantor can't or could not be acted as: the owner grants it, so that at least its holder has it.
        for (_, statement) in grouped(&again) {
            attempt(connection, &statement).await?;
        }
        left = missing(connection, why, dms_role, &noted).await?;
    }
    // What can't be given back stays noted, for a person.
    let forget = "
        DELETE FROM slipway.token_acl WHERE why = $1 AND NOT EXISTS (
            SELECT FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) u(o, a, r, e, p)
             WHERE u.o = object AND u.a = attribute AND u.r = grantor AND u.e = grantee AND u.p = privilege)";
    let column =
        |of: fn(&Noted) -> &String| -> Vec<&str> { left.iter().map(|grant| of(grant).as_str()).collect() };
    connection
        .query(
            "forgetting what was given back",
            forget,
            &[
                &why.as_str(),
                &column(|grant| &grant.object),
                &column(|grant| &grant.attribute),
                &column(|grant| &grant.grantor),
                &column(|grant| &grant.grantee),
                &column(|grant| &grant.privilege),
            ],
        )
        .await?;
    Ok(left.iter().map(sentence).collect())
}

/// What is still noted as taken and not there, as sentences.
pub(in crate::postgres) async fn differences(
    connection: &Connection,
    why: Why,
    dms_role: &str,
) -> Result<Vec<String>, Fault> {
    let noted = read(connection, why).await?;
    Ok(missing(connection, why, dms_role, &noted).await?.iter().map(sentence).collect())
}

fn sentence(grant: &Noted) -> String {
    let on = if grant.attribute.is_empty() { String::new() } else { format!(" ({})", grant.attribute) };
    let option = if grant.grantable { " with grant option" } else { "" };
    let Noted { privilege, object, grantee, grantor, .. } = grant;
    format!("{privilege}{on} on {object} was not given back to {grantee} as {grantor} had granted it{option}")
}

async fn read(connection: &Connection, why: Why) -> Result<Vec<Noted>, Fault> {
    let sql = format!(
        "SELECT s.kind, s.object, s.attribute, s.grantor, s.grantee, s.privilege, s.grantable,
                coalesce(quote_ident(pg_get_userbyid(coalesce(c.relowner, d.datdba))) = s.grantor, false),
                coalesce(pg_has_role(r.oid, {MAY_SET}), false),
                (c.oid IS NOT NULL OR d.oid IS NOT NULL)
                AND (s.grantee = 'PUBLIC' OR EXISTS (SELECT FROM pg_roles e WHERE quote_ident(e.rolname) = s.grantee))
                AND (s.kind <> 'column' OR EXISTS (
                      SELECT FROM pg_attribute t
                       WHERE t.attrelid = c.oid AND NOT t.attisdropped AND quote_ident(t.attname) = s.attribute)),
                c.oid
           FROM slipway.token_acl s
           LEFT JOIN pg_roles r ON quote_ident(r.rolname) = s.grantor
           LEFT JOIN pg_database d ON s.kind = 'database' AND d.datname = current_database()
           LEFT JOIN (SELECT format('%I.%I', n.nspname, c.relname) AS name, c.oid, c.relowner
                        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.relkind IN ('r', 'p')) c ON s.kind <> 'database' AND c.name = s.object
          WHERE s.why = $1 ORDER BY 1, 2, 3, 4, 5, 6",
    );
    let rows = connection.query_long("reading slipway.token_acl", &sql, &[&why.as_str()]).await?;
    Ok(rows
        .iter()
        .map(|row| Noted {
            kind: row.get(0),
            object: row.get(1),
            attribute: row.get(2),
            grantor: row.get(3),
            grantee: row.get(4),
            privilege: row.get(5),
            grantable: row.get(6),
            by: match (row.get(7), row.get(8)) {
                (true, _) => By::Owner,
                (false, true) => By::Grantor,
                (false, false) => By::Nobody,
            },
            there: row.get(9),
            oid: row.get(10),
        })
        .collect())
}

/// Those of `noted` that are not there now as they were.
async fn missing(
    connection: &Connection,
    why: Why,
    dms_role: &str,
    noted: &[Noted],
) -> Result<Vec<Noted>, Fault> {
    let tables: Vec<u32> =
        noted.iter().filter_map(|grant| grant.oid).collect::<BTreeSet<_>>().into_iter().collect();
    let sql = format!(
        "SELECT s.kind, s.object, s.attribute, s.grantor, s.grantee, s.privilege
           FROM slipway.token_acl s LEFT JOIN {}
             ON g.kind = s.kind AND g.attribute = s.attribute AND (s.kind = 'database' OR g.object = s.object)
                AND g.grantor = s.grantor AND g.grantee = s.grantee AND g.privilege = s.privilege
                AND g.grantable >= s.grantable
          WHERE s.why = $3 AND g.kind IS NULL",
        grants()
    );
    let rows =
        connection.query_long("comparing the privileges", &sql, &[&tables, &dms_role, &why.as_str()]).await?;
    let missing: BTreeSet<[String; 6]> =
        rows.iter().map(|row| std::array::from_fn(|column| row.get(column))).collect();
    let is_missing = |grant: &&Noted| {
        let Noted { kind, object, attribute, grantor, grantee, privilege, .. } = grant;
        missing.contains(&[kind, object, attribute, grantor, grantee, privilege].map(Clone::clone))
    };
    Ok(noted.iter().filter(is_missing).cloned().collect())
}

/// What an owner granted comes first; what was passed on, after the right to do so.
fn stages<'a>(grants: &[&'a Noted]) -> Vec<Vec<&'a Noted>> {
    let (mut ready, mut rest): (Vec<&Noted>, Vec<&Noted>) =
        grants.iter().partition(|grant| grant.by == By::Owner);
    let mut stages = vec![std::mem::take(&mut ready)];
    while !rest.is_empty() {
        let waits = |grant: &Noted| {
            rest.iter().any(|other| {
                other.object == grant.object
                    && other.privilege == grant.privilege
                    && other.grantable
                    && other.grantee == grant.grantor
            })
        };
        let (later, now): (Vec<&Noted>, Vec<&Noted>) = rest.iter().partition(|grant| waits(grant));
        if now.is_empty() {
            // A circle can't be; if it were, the comparison afterwards would tell.
            stages.push(later);
            break;
        }
        stages.push(now);
        rest = later;
    }
    stages
}

/// What a GRANT says besides its privileges and objects.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wording<'a> {
    grantor: Option<&'a str>,
    kind: &'static str,
    grantee: &'a str,
    grantable: bool,
}

/// One statement for all objects with the same privileges from and to the same roles, and who is to say it.
fn grouped(grants: &[&Noted]) -> Vec<(Option<String>, String)> {
    let mut privileges: BTreeMap<(Wording<'_>, &str), BTreeSet<String>> = BTreeMap::new();
    for grant in grants {
        let wording = Wording {
            grantor: (grant.by == By::Grantor).then_some(grant.grantor.as_str()),
            kind: if grant.kind == "database" { "DATABASE" } else { "TABLE" },
            grantee: &grant.grantee,
            grantable: grant.grantable,
        };
        let privilege = if grant.attribute.is_empty() {
            grant.privilege.clone()
        } else {
            format!("{} ({})", grant.privilege, grant.attribute)
        };
        privileges.entry((wording, &grant.object)).or_default().insert(privilege);
    }
    let mut objects: BTreeMap<(Wording<'_>, BTreeSet<String>), Vec<&str>> = BTreeMap::new();
    for ((wording, object), privileges) in privileges {
        objects.entry((wording, privileges)).or_default().push(object);
    }
    let statements = objects.into_iter().map(|((wording, privileges), objects)| {
        let Wording { grantor, kind, grantee, grantable } = wording;
        let option = if grantable { " WITH GRANT OPTION" } else { "" };
        let privileges: Vec<String> = privileges.into_iter().collect();
        let statement =
            format!("GRANT {} ON {kind} {} TO {grantee}{option}", privileges.join(", "), objects.join(", "));
        (grantor.map(str::to_owned), statement)
    });
    statements.collect()
}

async fn give(connection: &Connection, grants: &[&Noted]) -> Result<(), Fault> {
    let statements: Vec<String> = grouped(grants)
        .into_iter()
        .map(|(grantor, statement)| match grantor {
            None => statement,
            Some(grantor) => format!("SET LOCAL ROLE {grantor}; {statement}; RESET ROLE"),
        })
        .collect();
    if statements.is_empty() || attempt(connection, &statements.join("; ")).await? {
        return Ok(());
    }
    for statement in &statements {
        attempt(connection, statement).await?;
    }
    Ok(())
}

/// False if the server refused it; the transaction then goes on as if it had not been said.
async fn attempt(connection: &Connection, statements: &str) -> Result<bool, Fault> {
    connection.run("beginning to give back", "SAVEPOINT given_back").await?;
    match connection.run_long("giving privileges back", statements).await {
        Ok(()) => connection.run("giving privileges back", "RELEASE given_back").await.map(|()| true),
        Err(fault) if connection.is_usable() => {
            tracing::warn!(reason = %fault, "a privilege could not be given back as it was");
            let back = "ROLLBACK TO given_back; RELEASE given_back";
            connection.run("going on without it", back).await.map(|()| false)
        }
        Err(fault) => Err(fault),
    }
}
