//! What is in the way is named, changes nothing, and is no obstacle any more once it is mended: no restart, no second
//! apply.

mod along_the_way;
mod beside;
mod case;

use std::net::{Ipv4Addr, TcpListener};

use sandbox::certificates::Authority;
use sandbox::sandbox::RDS_INSTANCE;
use sandbox::world::Meddling;
use serde_json::json;

use crate::journey::{Journey, NAME, View};
use case::{Case, Deed};

/// Kubernetes' and AWS's side of it: what the spec refers to.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_reference_or_login_is_named_and_waited_for() {
    let mut journey = Journey::begin("references").await;
    journey.start_operator();
    let cases = logins().into_iter().chain(authorities()).chain(references());
    for case in cases {
        Box::pin(case.live_through(&mut journey)).await;
    }
    // All of it without a restart.
    assert!(journey.operator().unwrap().is_running(), "{}", journey.operator_log());
    journey.end().await;
}

/// The databases' side of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unfit_database_is_named_and_waited_for() {
    let mut journey = Journey::begin("unfit").await;
    journey.start_operator();
    for case in tables().into_iter().chain(servers()) {
        Box::pin(case.live_through(&mut journey)).await;
    }
    Box::pin(one_after_the_other(&mut journey)).await;
    // All of it without a restart.
    assert!(journey.operator().unwrap().is_running(), "{}", journey.operator_log());
    journey.end().await;
}

/// Everything is found at once and told in the order in which to mend it; with the last of it gone the migration begins.
async fn one_after_the_other(journey: &mut Journey) {
    let wrong = [
        Deed::Secret("source-dms", &[("username", "slipway_dms"), ("password", "kanarienvogel-wrong")]),
        Deed::Owner("CREATE TABLE notes (id bigint, text text)"),
        Deed::Target("INSERT INTO rates (currency, valid_on, rate) VALUES ('EUR', '2026-01-01', 1)"),
    ];
    for deed in wrong {
        deed.done(journey, NAME).await;
    }
    journey.apply(|_| {}).await;
    let found = ["1. LoginRefused: ", "2. TableWithoutKey: ", "3. TargetNotEmpty: "];
    let listed = |view: &View| found.iter().all(|found| view.message("Assessed").contains(found));
    journey.until(NAME, "three findings", listed).await;
    let mended = [
        ("LoginRefused", Deed::Secrets),
        ("TableWithoutKey", Deed::Owner("ALTER TABLE notes ADD PRIMARY KEY (id)")),
        ("TargetNotEmpty", Deed::Target("TRUNCATE rates")),
    ];
    for (reason, mend) in mended {
        journey.until(NAME, reason, |view| view.is("Stalled", "True", reason)).await;
        mend.done(journey, NAME).await;
    }
    journey.until_replicating(NAME).await;
}

fn logins() -> Vec<Case> {
    const DMS: &[(&str, &str)] = &[("username", "slipway_dms"), ("password", "kanarienvogel-wrong")];
    const OPERATOR: &[(&str, &str)] =
        &[("username", "slipway_operator"), ("password", "kanarienvogel-wrong")];
    let wrong = |name, secret, username: &'static [(&str, &str)], says| Case {
        name,
        wrong: vec![Deed::Secret(secret, username)],
        reason: "LoginRefused",
        says,
        mend: vec![Deed::Secrets],
        after: vec![],
    };
    let operators = "the operator's role slipway_operator";
    let dms = "DMS's role slipway_dms";
    vec![
        wrong(
            "login-a",
            "source-operator",
            OPERATOR,
            vec!["The source at", operators, "spec.source.operatorCredentialsRef"],
        ),
        wrong(
            "login-b",
            "target-operator",
            OPERATOR,
            vec!["The target at", operators, "spec.target.operatorCredentialsRef"],
        ),
        wrong(
            "login-c",
            "source-dms",
            DMS,
            vec!["The source at", dms, "spec.source.replicationCredentials.secretRef"],
        ),
        wrong(
            "login-d",
            "target-dms",
            DMS,
            vec!["The target at", dms, "spec.target.replicationCredentials.secretRef"],
        ),
    ]
}

fn authorities() -> Vec<Case> {
    let stranger = || Authority::new("stranger").unwrap().pair().certificate.clone();
    let case = |name, wrong, reason, says| Case {
        name,
        wrong: vec![wrong],
        reason,
        says,
        mend: vec![Deed::Secrets],
        after: vec![],
    };
    vec![
        case(
            "ca-a",
            Deed::Authority("onprem-ca", stranger()),
            "CertificateRefused",
            vec!["The certificate of the source", "spec.source.tls.caRef"],
        ),
        case(
            "ca-b",
            Deed::Authority("rds-ca", stranger()),
            "CertificateRefused",
            vec!["The certificate of the target", "spec.target.tls.caRef"],
        ),
        case(
            "ca-c",
            Deed::Authority("rds-ca", "change-me".to_owned()),
            "CertificateAuthorityInvalid",
            vec!["spec.target.tls.caRef", "ConfigMap rds-ca", "BEGIN CERTIFICATE"],
        ),
        case(
            "ca-d",
            Deed::NoConfigMap("onprem-ca"),
            "SecretMissing",
            vec!["spec.source.tls.caRef: there is no ConfigMap onprem-ca in namespace default"],
        ),
    ]
}

fn references() -> Vec<Case> {
    // Free a moment ago, and nobody else on this machine has a reason to take it.
    let closed =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).unwrap().port();
    let named = |database| Deed::Spec(json!({"source": {"endpoint": {"database": database}}}));
    let rds = |identifier| Deed::Spec(json!({"target": {"rdsInstanceIdentifier": identifier}}));
    let encrypted = |on| {
        Deed::Aws(Meddling::Database {
            identifier: RDS_INSTANCE.to_owned(),
            status: None,
            parameter_apply_status: None,
            encrypted: Some(on),
        })
    };
    let case = |name, wrong, reason, says, mend| Case {
        name,
        wrong: vec![wrong],
        reason,
        says,
        mend: vec![mend],
        after: vec![],
    };
    vec![
        case(
            "secret-a",
            Deed::NoSecret("source-dms"),
            "SecretMissing",
            vec![
                "spec.source.replicationCredentials.secretRef: there is no Secret source-dms in namespace default",
            ],
            Deed::Secrets,
        ),
        case(
            "secret-b",
            Deed::Secret("target-operator", &[("username", "slipway_operator")]),
            "SecretKeyMissing",
            vec!["spec.target.operatorCredentialsRef: Secret target-operator", "Add the key password"],
            Deed::Secrets,
        ),
        Case {
            name: "unreachable",
            wrong: vec![Deed::Spec(json!({"target": {
                "rdsInstanceIdentifier": null, "endpoint": {"host": "localhost", "port": closed}}}))],
            reason: "Unreachable",
            says: vec!["The target does not answer at localhost", "spec.target.endpoint"],
            mend: vec![Deed::Spec(
                json!({"target": {"rdsInstanceIdentifier": RDS_INSTANCE, "endpoint": null}}),
            )],
            after: vec![],
        },
        case(
            "database",
            named("nowhere"),
            "DatabaseMissing",
            vec!["The source at", "nowhere"],
            named("payments"),
        ),
        case(
            "rds-a",
            rds("rds-elsewhere"),
            "InstanceMissing",
            vec!["spec.target.rdsInstanceIdentifier", "rds-elsewhere"],
            rds(RDS_INSTANCE),
        ),
        case(
            "rds-b",
            encrypted(false),
            "InstanceUnfit",
            vec!["spec.target.rdsInstanceIdentifier", "not encrypted"],
            encrypted(true),
        ),
    ]
}

fn tables() -> Vec<Case> {
    let drop = || vec![Deed::Owner("DROP TABLE IF EXISTS notes")];
    let include = |schema| Deed::Spec(json!({"tables": {"include": [{"schema": schema}]}}));
    vec![
        Case {
            name: "key",
            wrong: vec![Deed::Owner("CREATE TABLE notes (id bigint, text text)")],
            reason: "TableWithoutKey",
            says: vec!["1 table", "public.notes", "primary key", "spec.tables.exclude"],
            mend: vec![Deed::Owner("ALTER TABLE notes ADD PRIMARY KEY (id)")],
            after: drop(),
        },
        Case {
            name: "unlogged",
            wrong: vec![Deed::Owner("CREATE UNLOGGED TABLE notes (id bigint PRIMARY KEY)")],
            reason: "TableUnsupported",
            says: vec![
                "1 table is UNLOGGED on the source: public.notes",
                "SET LOGGED",
                "spec.tables.exclude",
            ],
            mend: vec![Deed::Spec(json!({"tables": {"exclude": [{"schema": "public", "name": "notes"}]}}))],
            after: drop(),
        },
        Case {
            name: "none",
            wrong: vec![include("nowhere")],
            reason: "NoTables",
            says: vec!["spec.tables.include selects no table"],
            mend: vec![include("public")],
            after: vec![],
        },
        Case {
            name: "schema",
            wrong: vec![
                Deed::Owner("CREATE TABLE notes (id bigint PRIMARY KEY, text varchar(80))"),
                Deed::Target("DROP TABLE notes"),
            ],
            reason: "TargetSchemaMissing",
            says: vec![
                "1 table missing on the target: public.notes",
                r#"pg_dump --schema-only --table='"public"."notes"' --host="#,
            ],
            mend: vec![Deed::Target(
                "SET ROLE payments_owner; CREATE TABLE notes (id bigint PRIMARY KEY, text varchar(80))",
            )],
            after: drop(),
        },
        Case {
            name: "column",
            wrong: vec![
                Deed::Owner("CREATE TABLE notes (id bigint PRIMARY KEY, text varchar(80))"),
                Deed::Target("ALTER TABLE notes ALTER text TYPE varchar(40)"),
            ],
            reason: "TargetSchemaMissing",
            says: vec![
                "public.notes",
                "text is character varying(40) on the target and character varying(80) on the source",
                "Alter them there",
            ],
            mend: vec![Deed::Target("ALTER TABLE notes ALTER text TYPE varchar(80)")],
            after: drop(),
        },
        Case {
            name: "filled",
            wrong: vec![Deed::Target(
                "INSERT INTO rates (currency, valid_on, rate) VALUES ('EUR', '2026-01-01', 1)",
            )],
            reason: "TargetNotEmpty",
            says: vec!["1 table on the target", "public.rates", "TRUNCATE"],
            mend: vec![Deed::Target("TRUNCATE rates")],
            after: vec![],
        },
    ]
}

fn servers() -> Vec<Case> {
    // Each is mended by the very statement of its message.
    const SELECT: &str = "GRANT SELECT ON TABLE public.rates TO slipway_dms";
    const REPLICATION: &str = "ALTER ROLE slipway_dms REPLICATION";
    const SIGNAL: &str = "GRANT pg_signal_backend TO slipway_operator";
    const OWNER: &str = "GRANT payments_owner TO slipway_operator";
    let lack = |name, wrong, says: [&'static str; 2], mend| Case {
        name,
        wrong: vec![wrong],
        reason: "PrivilegeMissing",
        says: says.to_vec(),
        mend: vec![mend],
        after: vec![],
    };
    vec![
        lack(
            "privilege-a",
            Deed::Source("REVOKE SELECT ON rates FROM slipway_dms"),
            ["On the source, slipway_dms lacks SELECT on public.rates", SELECT],
            Deed::Source(SELECT),
        ),
        lack(
            "privilege-b",
            Deed::Source("ALTER ROLE slipway_dms NOREPLICATION"),
            ["On the source, slipway_dms", REPLICATION],
            Deed::Source(REPLICATION),
        ),
        lack(
            "privilege-c",
            Deed::Target("REVOKE pg_signal_backend FROM slipway_operator"),
            ["On the target, slipway_operator", SIGNAL],
            Deed::Target(SIGNAL),
        ),
        lack(
            "privilege-d",
            Deed::Target("REVOKE payments_owner FROM slipway_operator"),
            ["On the target, slipway_operator", OWNER],
            Deed::Target(OWNER),
        ),
        Case {
            name: "wal-level",
            wrong: vec![Deed::Source("ALTER SYSTEM SET wal_level = replica"), Deed::RestartSource],
            reason: "WalLevelNotLogical",
            says: vec![
                "wal_level of the source is replica",
                "ALTER SYSTEM SET wal_level = logical",
                "restart",
            ],
            mend: vec![Deed::Source("ALTER SYSTEM SET wal_level = logical"), Deed::RestartSource],
            after: vec![],
        },
    ]
}
