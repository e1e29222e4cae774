//! What the CRD's CEL rules ask for, asked once more. They are not part of its schema, and an object may have come past
//! them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::SignedDuration;

use crate::address;
use crate::api::database::{DatabaseMigrationSpec, TableSelector};
use crate::api::schema;
use crate::duration;

/// The first field that is wrong, and what is wrong with it.
pub(super) fn wrong(spec: &DatabaseMigrationSpec) -> Option<(String, String)> {
    if let Some(misfit) = schema::DATABASE.misfit(spec) {
        return Some((misfit.field, misfit.wrong));
    }
    sides(spec)
        .or_else(|| tables(spec))
        .or_else(|| invariants(spec))
        .or_else(|| lag_threshold(spec))
        .or_else(|| record(spec))
        .map(|(field, wrong)| (field, wrong.to_owned()))
}

type Wrong = Option<(String, &'static str)>;

fn sides(spec: &DatabaseMigrationSpec) -> Wrong {
    let (source, target) = (&spec.source, &spec.target);
    if let Some(wrong) = host(&source.endpoint.host) {
        return Some(("spec.source.endpoint.host".to_owned(), wrong));
    }
    if let Some(wrong) = target.endpoint.as_ref().and_then(|endpoint| host(&endpoint.host)) {
        return Some(("spec.target.endpoint.host".to_owned(), wrong));
    }
    for (side, operator, replication) in [
        ("source", &source.operator_credentials_ref, &source.replication_credentials.secret_ref),
        ("target", &target.operator_credentials_ref, &target.replication_credentials.secret_ref),
    ] {
        if operator == replication {
            return Some((
                format!("spec.{side}.operatorCredentialsRef"),
                "must name another Secret than replicationCredentials: the operator and DMS need roles of their own",
            ));
        }
    }
    let same = target.endpoint.as_ref().is_some_and(|endpoint| {
        endpoint.host.eq_ignore_ascii_case(&source.endpoint.host)
            && endpoint.port == source.endpoint.port
            && target.database == source.endpoint.database
    });
    same.then(|| ("spec.target".to_owned(), "must not be the source's own database"))
}

/// What is wrong with a host that fits the schema's pattern. A name is not resolved here.
fn host(host: &str) -> Option<&'static str> {
    let lower = host.to_ascii_lowercase();
    let last = lower.rsplit('.').next().unwrap_or(&lower);
    let ends_in_a_number = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let given = if lower.contains(':') {
        lower.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    } else if ends_in_a_number {
        lower.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    } else {
        return name(&lower);
    };
    match given {
        None => Some("must be written in the usual way if it is an address, such as 10.0.0.5 or 2001:db8::5"),
        Some(address) if address::is_local(address) => Some(BEYOND),
        Some(_) => None,
    }
}

const BEYOND: &str =
    "must be the database's own address, and not a loopback, link-local, multicast or metadata address";

fn name(lower: &str) -> Option<&'static str> {
    let metadata = ["metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"];
    if metadata.contains(&lower) {
        return Some(BEYOND);
    }
    let of_the_cluster = [".svc", ".cluster.local"].iter().any(|end| lower.ends_with(end))
        || ["kubernetes", "kubernetes.default"].contains(&lower);
    of_the_cluster.then_some("must resolve in the VPC too: DMS does not know the names of this cluster")
}

fn tables(spec: &DatabaseMigrationSpec) -> Wrong {
    let lists = [
        ("include", spec.tables.include.as_slice()),
        ("exclude", spec.tables.exclude.as_deref().unwrap_or_default()),
    ];
    for (list, selectors) in lists {
        for (index, TableSelector { schema, .. }) in selectors.iter().enumerate() {
            let of_the_system = ["pg_", "awsdms"].iter().any(|start| schema.starts_with(start))
                || ["slipway", "information_schema"].contains(&schema.as_str());
            if of_the_system {
                return Some((
                    format!("spec.tables.{list}[{index}].schema"),
                    "must be a schema of the application: PostgreSQL's, DMS's and Slipway's own are never carried",
                ));
            }
        }
    }
    None
}

fn invariants(spec: &DatabaseMigrationSpec) -> Wrong {
    for (index, invariant) in spec.verification.invariants.iter().enumerate() {
        let first: String =
            invariant.sql.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !["select", "with", "values", "table"].contains(&first.to_ascii_lowercase().as_str()) {
            return Some((
                format!("spec.verification.invariants[{index}].sql"),
                "must be one query that begins with SELECT, WITH, VALUES or TABLE",
            ));
        }
    }
    None
}

fn lag_threshold(spec: &DatabaseMigrationSpec) -> Wrong {
    let threshold = duration::parse(&spec.alarms.as_ref()?.lag_threshold);
    let fits = threshold.is_some_and(|threshold| threshold >= SignedDuration::from_secs(1));
    (!fits).then(|| ("spec.alarms.lagThreshold".to_owned(), "must be a duration of at least 1s, such as 60s"))
}

/// A CNAME leads to a name alone: all else must be the same on both sides.
fn record(spec: &DatabaseMigrationSpec) -> Wrong {
    let record = spec.cutover.connection.as_ref()?.record.as_ref()?;
    let (source, target) = (&spec.source.endpoint, spec.target.endpoint.as_ref());
    let wrong = |field: &str, wrong| Some((field.to_owned(), wrong));
    let hosts = [("spec.source.endpoint.host", &source.host)]
        .into_iter()
        .chain(target.map(|target| ("spec.target.endpoint.host", &target.host)));
    for (field, host) in hosts {
        if host.parse::<IpAddr>().is_ok() {
            return wrong(
                field,
                "must be a name and no address with spec.cutover.connection.record: a CNAME leads to a name",
            );
        }
        if host.eq_ignore_ascii_case(&record.name) {
            return wrong(
                "spec.cutover.connection.record.name",
                "must be another than spec.source.endpoint.host and spec.target.endpoint.host: it leads from the one to the other",
            );
        }
    }
    if spec.target.database != source.database {
        return wrong(
            "spec.target.database",
            "must be spec.source.endpoint.database with spec.cutover.connection.record: a CNAME carries no database name",
        );
    }
    let target = target?;
    if target.host.eq_ignore_ascii_case(&source.host) {
        return wrong(
            "spec.target.endpoint.host",
            "must be another than spec.source.endpoint.host with spec.cutover.connection.record: a CNAME carries no port",
        );
    }
    if target.port != source.port {
        return wrong(
            "spec.target.endpoint.port",
            "must be spec.source.endpoint.port with spec.cutover.connection.record: a CNAME carries no port",
        );
    }
    None
}

/// What is wrong with an ARN for those who call AWS in this region, and for an instance of our own in this account.
pub(crate) fn arn(arn: &str, region: &str, account: Option<&str>) -> Option<String> {
    let mut parts = arn.split(':').skip(3);
    let (of_region, of_account) = (parts.next()?, parts.next()?);
    if of_region != region {
        return Some(format!("is in region {of_region}, and the operator uses {region} for this namespace"));
    }
    account.filter(|account| *account != of_account).map(|account| {
        format!("is in account {of_account}, and the operator uses {account} for this namespace")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_lead_somewhere_else_are_refused() {
        for bad in [
            "169.254.169.254",
            "169.254.170.23",
            "127.0.0.1",
            "127.1",
            "0.0.0.0",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0x7f.0x0.0x0.0x1",
            "10.0.0.256",
            "1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:169.254.169.254",
            "0:0:0:0:0:0:0:1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "FD00:EC2::254",
            "1:2",
            "metadata.google.internal",
            "METADATA",
            "db.payments.svc",
            "db.payments.svc.cluster.local",
            "kubernetes.default",
        ] {
            assert!(host(bad).is_some(), "{bad}");
        }
        for good in [
            "pg01.bank.example",
            "10.0.0.5",
            "192.168.1.10",
            "2001:db8::5",
            "fd12:3456::1",
            "localhost",
            "db",
            "0.pool.example",
            "ff.example",
            "svc.example",
            "169.254.example",
        ] {
            assert_eq!(host(good), None, "{good}");
        }
    }

    #[test]
    fn an_arn_of_another_region_or_account_is_refused() {
        let topic = "arn:aws:sns:us-east-1:111122223333:alerts";
        assert_eq!(arn(topic, "us-east-1", None), None);
        assert_eq!(arn(topic, "us-east-1", Some("111122223333")), None);
        assert!(arn(topic, "eu-west-1", None).is_some_and(|wrong| wrong.contains("us-east-1")));
        assert!(arn(topic, "us-east-1", Some("999999999999")).is_some());
    }
}
