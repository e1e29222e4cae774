//! The two JSON texts that a task is made with. Pure.
//!
//! Strict throughout: DMS's own defaults log a row that it could not apply and go on, so that the target silently lacks it.

use serde_json::{Value, json};

use crate::api::condition::Reason;
use crate::api::database::{TableSelector, Tuning};
use crate::fault::Blocked;

/// The schema of DMS's own tables on the target; its default would be `public`.
pub const CONTROL_SCHEMA: &str = "awsdms_control";

/// The operator's own table, always replicated: its rows prove that changes arrive.
const MARKER: (&str, &str) = ("slipway", "marker");

/// `ReplicationTaskSettings`.
pub fn task_settings(tuning: &Tuning) -> String {
    let Tuning { parallel_tables, commit_rate, max_lob_kib } = tuning;
    json!({
        "TargetMetadata": {
            "SupportLobs": true,
            "FullLobMode": false,
            // Cuts at the limit, but FailTasksOnLobTruncation of the endpoints stops the task instead.
            "LimitedSizeLobMode": true,
            "LobMaxSize": max_lob_kib,
            // Transactions are applied in the source's order of commits.
            "BatchApplyEnabled": false,
            // The position is stored in the target, in the transaction of the changes themselves.
            "TaskRecoveryTableEnabled": true
        },
        "FullLoadSettings": {
            // The others drop or empty what is there.
            "TargetTablePrepMode": "DO_NOTHING",
            "CreatePkAfterFullLoad": false,
            "StopTaskCachedChangesApplied": false,
            "StopTaskCachedChangesNotApplied": false,
            "MaxFullLoadSubTasks": parallel_tables,
            "TransactionConsistencyTimeout": 600,
            "CommitRate": commit_rate
        },
        "Logging": { "EnableLogging": true },
        "ControlTablesSettings": {
            "ControlSchema": CONTROL_SCHEMA,
            "StatusTableEnabled": true,
            "SuspendedTablesTableEnabled": true,
            "HistoryTableEnabled": true,
            "HistoryTimeslotInMinutes": 5
        },
        "StreamBufferSettings": {
            "StreamBufferCount": 3,
            "StreamBufferSizeInMB": 8,
            "CtrlStreamBufferSizeInMB": 5
        },
        "ErrorBehavior": {
            "DataErrorPolicy": "STOP_TASK",
            "DataTruncationErrorPolicy": "STOP_TASK",
            "DataErrorEscalationPolicy": "STOP_TASK",
            "DataErrorEscalationCount": 1,
            "TableErrorPolicy": "STOP_TASK",
            "TableErrorEscalationPolicy": "STOP_TASK",
            "TableErrorEscalationCount": 1,
            // Outages of the network or of a database are waited out.
            "RecoverableErrorCount": -1,
            "RecoverableErrorInterval": 5,
            "RecoverableErrorThrottling": true,
            "RecoverableErrorThrottlingMax": 1800,
            "ApplyErrorDeletePolicy": "STOP_TASK",
            "ApplyErrorInsertPolicy": "STOP_TASK",
            "ApplyErrorUpdatePolicy": "STOP_TASK",
            "ApplyErrorEscalationPolicy": "STOP_TASK",
            "ApplyErrorEscalationCount": 1,
            "ApplyErrorFailOnTruncationDdl": true,
            "FailOnNoTablesCaptured": true,
            "FullLoadIgnoreConflicts": false
        },
        "ValidationSettings": {
            "EnableValidation": true,
            "ValidationMode": "ROW_LEVEL",
            "ThreadCount": 5,
            "FailureMaxCount": 10_000,
            "TableFailureMaxCount": 1_000,
            "HandleCollationDiff": true
        }
    })
    .to_string()
}

/// `TableMappings`: what is included, what is excluded of that, and always the operator's marker.
pub fn table_mappings(include: &[TableSelector], exclude: &[TableSelector]) -> Result<String, Blocked> {
    let mut rules = Vec::new();
    let mut rule = |action: &str, schema: String, table: String| {
        let id = (rules.len() + 1).to_string();
        rules.push(json!({
            "rule-type": "selection",
            "rule-id": id,
            "rule-name": id,
            "rule-action": action,
            "object-locator": { "schema-name": schema, "table-name": table },
            "filters": []
        }));
    };
    for selector in include {
        rule("include", literal(&selector.schema)?, table(&selector.name)?);
    }
    // Even where a selector covers it: that one may go, the marker may not.
    rule("include", literal(MARKER.0)?, literal(MARKER.1)?);
    for selector in exclude {
        if selector.schema == MARKER.0 && (selector.name == "*" || selector.name == MARKER.1) {
            return Err(Blocked::new(
                Reason::InvalidSpec,
                "spec.tables.exclude leaves out slipway.marker, by which the operator measures replication",
                "Remove that entry",
            ));
        }
        rule("exclude", literal(&selector.schema)?, table(&selector.name)?);
    }
    Ok(json!({ "rules": Value::Array(rules) }).to_string())
}

fn table(name: &str) -> Result<String, Blocked> {
    if name == "*" { Ok("%".to_owned()) } else { literal(name) }
}

/// A name as a pattern that matches only itself. To DMS `%` is any text, `_` any one character, `[_]` an underscore and
/// `[...]` a set (AWS DMS user guide, "Wildcards in table mapping"): an unescaped `pay_2` in `exclude` would also lose
/// `pay12`. For `%` and `[` as themselves the guide knows nothing, so they are refused.
fn literal(name: &str) -> Result<String, Blocked> {
    if name.contains(['%', '[', ']']) {
        return Err(Blocked::new(
            Reason::InvalidSpec,
            format_args!("spec.tables: DMS has no way to write the characters %, [ and ] of the name {name}"),
            "Choose the table with * for its whole schema, or rename it",
        ));
    }
    Ok(name.replace('_', "[_]"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn selector(schema: &str, name: &str) -> TableSelector {
        TableSelector { schema: schema.into(), name: name.into() }
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_settings_are_these() {
        let tuning = Tuning { parallel_tables: 4, commit_rate: 5000, max_lob_kib: 64 };
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/aws/dms/task-settings.golden.json");
        let made = serde_json::to_string_pretty(&parsed(&task_settings(&tuning))).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(golden, &made).unwrap();
        }
        let committed = std::fs::read_to_string(golden).unwrap_or_default();
        assert_eq!(committed, made, "run with UPDATE_GOLDEN=1 if this is meant");
    }

    #[test]
    fn no_policy_is_lenient() {
        let settings = parsed(&task_settings(&Tuning::default()));
        let errors = settings["ErrorBehavior"].as_object().unwrap();
        let policies: Vec<_> = errors.iter().filter(|(key, _)| key.ends_with("Policy")).collect();
        assert!(policies.len() >= 9);
        for (key, policy) in policies {
            assert_eq!(policy, "STOP_TASK", "{key}");
        }
        let text = settings.to_string();
        for lenient in
            ["LOG_ERROR", "IGNORE_RECORD", "SUSPEND_TABLE", "DROP_AND_CREATE", "TRUNCATE_BEFORE_LOAD"]
        {
            assert!(!text.contains(lenient), "{lenient}");
        }
    }

    #[test]
    fn the_numbers_come_from_the_tuning() {
        let settings = parsed(&task_settings(&Tuning { parallel_tables: 3, commit_rate: 7, max_lob_kib: 9 }));
        assert_eq!(settings["FullLoadSettings"]["MaxFullLoadSubTasks"], 3);
        assert_eq!(settings["FullLoadSettings"]["CommitRate"], 7);
        assert_eq!(settings["TargetMetadata"]["LobMaxSize"], 9);
    }

    #[test]
    fn mappings_hold_every_selector_and_the_marker_under_unique_ids() {
        let include = [selector("bank", "*"), selector("audit_log", "entry_2026")];
        let exclude = [selector("bank", "tmp_x")];
        let mappings = parsed(&table_mappings(&include, &exclude).unwrap());
        let rules: Vec<_> = mappings["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| {
                assert_eq!(rule["rule-id"], rule["rule-name"]);
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (
                    text(&rule["rule-id"]),
                    text(&rule["rule-action"]),
                    text(&rule["object-locator"]["schema-name"]),
                    text(&rule["object-locator"]["table-name"]),
                )
            })
            .collect();
        let expected = [
            ("1", "include", "bank", "%"),
            ("2", "include", "audit[_]log", "entry[_]2026"),
            ("3", "include", "slipway", "marker"),
            ("4", "exclude", "bank", "tmp[_]x"),
        ]
        .map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned()));
        assert_eq!(rules, expected);
    }

    #[test]
    fn what_can_not_be_written_is_refused() {
        for (include, exclude) in [
            (vec![selector("bank", "a[b]")], vec![]),
            (vec![selector("ba%k", "*")], vec![]),
            (vec![selector("bank", "*")], vec![selector("slipway", "*")]),
            (vec![selector("bank", "*")], vec![selector("slipway", "marker")]),
        ] {
            let blocked = table_mappings(&include, &exclude).unwrap_err();
            assert_eq!(blocked.reason, Reason::InvalidSpec);
        }
    }
}
