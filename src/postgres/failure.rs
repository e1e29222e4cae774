//! What a failed connection or statement means for the next step.

use std::error::Error as _;
use std::io;
use std::net::IpAddr;

use rustls::CertificateError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::connect::ConnectSpec;
use crate::api::condition::Reason;
use crate::fault::Fault;
use crate::side::Side;

/// The host leads to a service of the machine that asks.
pub(super) fn misleading(spec: &ConnectSpec, address: IpAddr) -> Fault {
    let ConnectSpec { side, host, .. } = spec;
    Fault::blocked(
        Reason::InvalidSpec,
        format_args!(
            "The host of spec.{side}, {host}, leads to {address}, a link-local, multicast or metadata address"
        ),
        "Correct the host, or what the DNS has for it",
    )
}

/// A connection could not be made.
pub(super) fn connecting(spec: &ConnectSpec, error: &Error) -> Fault {
    let (side, host, port) = (spec.side, &spec.host, spec.port);
    let (role, database) = (format!("{} role {}", spec.whose.possessive(), spec.username), &spec.database);
    let field = format!("spec.{side}.{}", spec.whose.field());
    let server = format!("the {side} at {host}:{port}");
    let it = format!("The {side} at {host}:{port}");
    if let Some(refusal) = error.as_db_error() {
        let said = refusal.message();
        return match *refusal.code() {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Fault::blocked(
                Reason::LoginRefused,
                format_args!("{it} refuses the login of {role}: {said}"),
                format_args!(
                    "Correct the username and password in the Secret that {field} names, or the role and pg_hba.conf \
                     on the server"
                ),
            ),
            SqlState::INVALID_CATALOG_NAME => Fault::blocked(
                Reason::DatabaseMissing,
                format_args!("{it} has no database {database}"),
                format_args!("Correct {}, or create it", database_field(side)),
            ),
            SqlState::INSUFFICIENT_PRIVILEGE => Fault::blocked(
                Reason::PrivilegeMissing,
                format_args!("{it} does not let {role} into database {database}: {said}"),
                format_args!("GRANT CONNECT ON DATABASE \"{database}\" TO \"{}\"", spec.username),
            ),
            SqlState::TOO_MANY_CONNECTIONS => Fault::blocked(
                Reason::Unreachable,
                format_args!("{it} has no connection left for {role}: {said}"),
                "Raise max_connections or the role's CONNECTION LIMIT, or let applications hold fewer",
            ),
            _ => Fault::Again(format!(
                "connecting to database {database} of {server} failed: {said} (SQLSTATE {})",
                refusal.code().code()
            )),
        };
    }
    if let Some(why) = certificate(error) {
        return refused_certificate(spec, &server, why);
    }
    // The kinds below can't be matched: the crate keeps them to itself and shows them by their text alone.
    let kind = error.to_string();
    let cause = error.source().map_or_else(|| kind.clone(), ToString::to_string);
    if cause == "server does not support TLS" {
        return Fault::blocked(
            Reason::Unreachable,
            format_args!("{it} does not offer TLS, and Slipway connects in no other way"),
            "Set ssl = on with a certificate there, and check that host and port lead to PostgreSQL",
        );
    }
    if kind.starts_with("authentication error") {
        return Fault::blocked(
            Reason::LoginRefused,
            format_args!("The login of {role} on {server} failed: {cause}"),
            format_args!(
                "Let the server ask for scram-sha-256 in pg_hba.conf, and check the password in the Secret that \
                 {field} names"
            ),
        );
    }
    if kind.starts_with("error connecting to server") {
        return unreachable(spec, &cause);
    }
    Fault::Again(format!("the connection to {server} was lost while it was being made: {kind}: {cause}"))
}

/// Nothing answers.
pub(super) fn unreachable(spec: &ConnectSpec, why: &str) -> Fault {
    let ConnectSpec { side, host, port, .. } = spec;
    Fault::blocked(
        Reason::Unreachable,
        format_args!("The {side} does not answer at {host}:{port}: {why}"),
        format_args!(
            "Check {}, that the server runs, and that network policies, firewalls and security groups let the operator \
             through",
            address_field(*side)
        ),
    )
}

/// Where the spec has a side's address.
fn address_field(side: Side) -> &'static str {
    match side {
        Side::Source => "spec.source.endpoint",
        Side::Target => "spec.target.endpoint or spec.target.rdsInstanceIdentifier",
    }
}

/// Where the spec has the name of a side's database.
fn database_field(side: Side) -> &'static str {
    match side {
        Side::Source => "spec.source.endpoint.database",
        Side::Target => "spec.target.database",
    }
}

/// The reason why a certificate was refused, if that is what happened.
fn certificate(error: &Error) -> Option<&rustls::Error> {
    // `io::Error::source` skips the error that it wraps, so the chain can't simply be walked.
    error.source()?.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<rustls::Error>()
}

fn refused_certificate(spec: &ConnectSpec, server: &str, error: &rustls::Error) -> Fault {
    let (side, host) = (spec.side, &spec.host);
    let remedy = match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "Use a name that the certificate carries, issue one for {host}, or set spec.{side}.tls.mode to VerifyCA"
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "Renew the server's certificate".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "Check the clocks, or wait until the certificate becomes valid".to_owned(),
        rustls::Error::InvalidCertificate(_) => {
            format!("Let spec.{side}.tls.caRef hold the authority that issued the server's certificate")
        }
        _ => "Check the TLS settings of the server: Slipway speaks TLS 1.2 and 1.3".to_owned(),
    };
    let what = match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::NotValidForName => format!("it is not made out to {host}"),
            CertificateError::NotValidForNameContext { presented, .. } => {
                format!("it is not made out to {host}, but to {}", presented.join(", "))
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet".to_owned()
            }
            // The latter is what an authority of the same name but with another key gives.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!("its issuer is unknown to the authorities in spec.{side}.tls.caRef")
            }
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    Fault::blocked(
        Reason::CertificateRefused,
        format_args!("The certificate of {server} is refused: {what}"),
        remedy,
    )
}

/// What tells of a statement that failed: the place, the role, what was attempted, and the error.
pub(super) type Teller = fn(&str, &str, &str, &Error) -> Fault;

/// A question that a person wrote failed. The server's own words may quote the data that it met.
pub(super) fn questioning(at: &str, role: &str, doing: &str, error: &Error) -> Fault {
    let Some(refusal) = error.as_db_error() else { return asking(at, role, doing, error) };
    let code = refusal.code().code();
    Fault::Again(format!(
        "{doing} on {at} failed with SQLSTATE {code}; ask it in psql as {role} to see why: the server's words may hold data, \
         and are not repeated"
    ))
}

/// A statement failed. `doing` says what was attempted, `at` on which database.
pub(super) fn asking(at: &str, role: &str, doing: &str, error: &Error) -> Fault {
    let Some(refusal) = error.as_db_error() else {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        return Fault::Again(format!("{doing} on {at} failed: {error}{cause}"));
    };
    // Only the message: a detail may quote a row.
    let said = refusal.message();
    if *refusal.code() == SqlState::INSUFFICIENT_PRIVILEGE {
        return Fault::blocked(
            Reason::PrivilegeMissing,
            format_args!("{doing} on {at} is not permitted to the operator's role {role}: {said}"),
            "Grant what examples/sql/roles-source.sql and roles-target.sql grant to the operator's role",
        );
    }
    Fault::Again(format!("{doing} on {at} failed: {said} (SQLSTATE {})", refusal.code().code()))
}
