//! Task settings: a JSON string of sections, each with known keys and defaults.
//!
//! | rule | source |
//! |---|---|
//! | an unknown section or key, a wrong type or a value out of range is refused | user guide, CHAP_Tasks.CustomizingTasks.TaskSettings |
//! | what is left out has AWS's default, and describe shows all of it | same |
//! | describe adds read-only keys about logging, and an old spelling of a control table setting | Terraform's provider |

use serde_json::{Map, Value, json};

use crate::plane::Settings;
use crate::world::Refusal;

/// The settings as AWS shows them, and what the data plane obeys.
#[derive(Clone, Debug)]
pub(in crate::world) struct Parsed {
    shown: Value,
    pub(super) plane: Settings,
}

impl Parsed {
    /// The JSON string of a describe.
    pub(super) fn shown(&self, resource_id: &str) -> String {
        let mut shown = self.shown.clone();
        if shown["Logging"]["EnableLogging"] == true {
            shown["Logging"]["CloudWatchLogGroup"] = json!("dms-tasks-stand-in");
            shown["Logging"]["CloudWatchLogStream"] = json!(format!("dms-task-{resource_id}"));
        }
        shown["Logging"]["EnableLogContext"] = json!(false);
        shown["ControlTablesSettings"]["historyTimeslotInMinutes"] =
            shown["ControlTablesSettings"]["HistoryTimeslotInMinutes"].clone();
        shown.to_string()
    }
}

/// Every section and key with its default.
fn defaults() -> Value {
    json!({
        "TargetMetadata": {
            "TargetSchema": "", "SupportLobs": true, "FullLobMode": false, "LobChunkSize": 64,
            "LimitedSizeLobMode": true, "LobMaxSize": 32, "InlineLobMaxSize": 0, "LoadMaxFileSize": 0,
            "ParallelLoadThreads": 0, "ParallelLoadBufferSize": 0, "BatchApplyEnabled": false,
            "TaskRecoveryTableEnabled": false, "ParallelLoadQueuesPerThread": 0, "ParallelApplyThreads": 0,
            "ParallelApplyBufferSize": 0, "ParallelApplyQueuesPerThread": 0
        },
        "FullLoadSettings": {
            "TargetTablePrepMode": "DROP_AND_CREATE", "CreatePkAfterFullLoad": false,
            "StopTaskCachedChangesApplied": false, "StopTaskCachedChangesNotApplied": false,
            "MaxFullLoadSubTasks": 8, "TransactionConsistencyTimeout": 600, "CommitRate": 10000
        },
        "Logging": { "EnableLogging": false, "LogComponents": [] },
        "ControlTablesSettings": {
            "ControlSchema": "", "HistoryTimeslotInMinutes": 5, "HistoryTableEnabled": false,
            "SuspendedTablesTableEnabled": false, "StatusTableEnabled": false, "FullLoadExceptionTableEnabled": false
        },
        "StreamBufferSettings": { "StreamBufferCount": 3, "StreamBufferSizeInMB": 8, "CtrlStreamBufferSizeInMB": 5 },
        "ChangeProcessingTuning": {
            "BatchApplyPreserveTransaction": true, "BatchApplyTimeoutMin": 1, "BatchApplyTimeoutMax": 30,
            "BatchApplyMemoryLimit": 500, "BatchSplitSize": 0, "MinTransactionSize": 1000, "CommitTimeout": 1,
            "MemoryLimitTotal": 1024, "MemoryKeepTime": 60, "StatementCacheSize": 50
        },
        "ChangeProcessingDdlHandlingPolicy": {
            "HandleSourceTableDropped": true, "HandleSourceTableTruncated": true, "HandleSourceTableAltered": true
        },
        "ErrorBehavior": {
            "DataErrorPolicy": "LOG_ERROR", "EventErrorPolicy": "IGNORE", "DataTruncationErrorPolicy": "LOG_ERROR",
            "DataErrorEscalationPolicy": "SUSPEND_TABLE", "DataErrorEscalationCount": 0,
            "TableErrorPolicy": "SUSPEND_TABLE", "TableErrorEscalationPolicy": "STOP_TASK",
            "TableErrorEscalationCount": 0, "RecoverableErrorCount": -1, "RecoverableErrorInterval": 5,
            "RecoverableErrorThrottling": true, "RecoverableErrorThrottlingMax": 1800,
            "RecoverableErrorStopRetryAfterThrottlingMax": true, "ApplyErrorDeletePolicy": "IGNORE_RECORD",
            "ApplyErrorInsertPolicy": "LOG_ERROR", "ApplyErrorUpdatePolicy": "LOG_ERROR",
            "ApplyErrorEscalationPolicy": "LOG_ERROR", "ApplyErrorEscalationCount": 0,
            "ApplyErrorFailOnTruncationDdl": false, "FullLoadIgnoreConflicts": true, "FailOnTransactionConsistencyBreached": false,
            "FailOnNoTablesCaptured": true
        },
        "ValidationSettings": {
            "EnableValidation": false, "ValidationMode": "ROW_LEVEL", "ThreadCount": 5, "PartitionSize": 10000,
            "FailureMaxCount": 10000, "RecordFailureDelayInMinutes": 5, "RecordSuspendDelayInMinutes": 30,
            "MaxKeyColumnSize": 8096, "TableFailureMaxCount": 1000, "ValidationOnly": false,
            "HandleCollationDiff": false, "RecordFailureDelayLimitInMinutes": 0, "SkipLobColumns": false,
            "ValidationPartialLobSize": 0, "ValidationQueryCdcDelaySeconds": 0
        }
    })
}

/// What each policy may say.
const POLICIES: [&str; 5] = ["IGNORE", "IGNORE_RECORD", "LOG_ERROR", "SUSPEND_TABLE", "STOP_TASK"];

/// Settings that the data plane can't carry out otherwise than with this one value.
const FIXED: [(&str, &str, Value); 6] = [
    ("TargetMetadata", "BatchApplyEnabled", Value::Bool(false)),
    ("TargetMetadata", "ParallelApplyThreads", Value::Null),
    ("FullLoadSettings", "CreatePkAfterFullLoad", Value::Bool(false)),
    ("FullLoadSettings", "StopTaskCachedChangesApplied", Value::Bool(false)),
    ("FullLoadSettings", "StopTaskCachedChangesNotApplied", Value::Bool(false)),
    ("ValidationSettings", "ValidationOnly", Value::Bool(false)),
];

/// Reads the settings of a task; all defaults when there are none.
pub(super) fn parse(text: Option<&str>) -> Result<Parsed, Refusal> {
    let refuse = |why: String| Refusal::value(format!("ReplicationTaskSettings: {why}"));
    let given: Map<String, Value> =
        serde_json::from_str(text.unwrap_or("{}")).map_err(|error| refuse(error.to_string()))?;
    let mut shown = defaults();
    for (section, keys) in given {
        let known = shown
            .get_mut(&section)
            .and_then(Value::as_object_mut)
            .ok_or_else(|| refuse(format!("{section} is not known")))?;
        let Value::Object(keys) = keys else {
            return Err(refuse(format!("{section} is not an object")));
        };
        for (key, value) in keys {
            let slot = known.get_mut(&key).ok_or_else(|| refuse(format!("{section}.{key} is not known")))?;
            if std::mem::discriminant(slot) != std::mem::discriminant(&value) {
                return Err(refuse(format!("{section}.{key} {value} has the wrong type")));
            }
            if key.ends_with("Policy") && !POLICIES.iter().any(|policy| value == *policy) {
                return Err(refuse(format!("{section}.{key} {value} is not one of {POLICIES:?}")));
            }
            *slot = value;
        }
    }
    in_range(&shown, "FullLoadSettings", "MaxFullLoadSubTasks", 1..=49).map_err(refuse)?;
    in_range(&shown, "FullLoadSettings", "CommitRate", 1..=50000).map_err(refuse)?;
    for (section, key, only) in &FIXED {
        let value = &shown[*section][*key];
        let fits = if only.is_null() { *value == 0 } else { value == only };
        if !fits {
            return Err(Refusal::not_modelled(format!("task setting {section}.{key} = {value}")));
        }
    }
    if shown["FullLoadSettings"]["TargetTablePrepMode"] != "DO_NOTHING" {
        return Err(Refusal::not_modelled(format!(
            "task setting FullLoadSettings.TargetTablePrepMode = {} (AWS's default is DROP_AND_CREATE); say DO_NOTHING",
            shown["FullLoadSettings"]["TargetTablePrepMode"]
        )));
    }
    let plane = obeyed(&shown);
    Ok(Parsed { shown, plane })
}

fn obeyed(shown: &Value) -> Settings {
    let strict = [
        "DataErrorPolicy",
        "TableErrorPolicy",
        "ApplyErrorDeletePolicy",
        "ApplyErrorInsertPolicy",
        "ApplyErrorUpdatePolicy",
    ];
    let parallel = shown["FullLoadSettings"]["MaxFullLoadSubTasks"].as_u64();
    let schema = shown["ControlTablesSettings"]["ControlSchema"].as_str().filter(|schema| !schema.is_empty());
    Settings {
        parallel_tables: parallel.and_then(|tables| usize::try_from(tables).ok()).unwrap_or(8),
        recovery_table: shown["TargetMetadata"]["TaskRecoveryTableEnabled"] == true,
        control_schema: schema.unwrap_or("public").to_owned(),
        validation: shown["ValidationSettings"]["EnableValidation"] == true,
        strict: strict.iter().all(|policy| shown["ErrorBehavior"][*policy] == "STOP_TASK"),
    }
}

fn in_range(
    shown: &Value,
    section: &str,
    key: &str,
    range: std::ops::RangeInclusive<i64>,
) -> Result<(), String> {
    let value = &shown[section][key];
    match value.as_i64().filter(|value| range.contains(value)) {
        Some(_) => Ok(()),
        None => Err(format!("{section}.{key} {value} is not between {} and {}", range.start(), range.end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = r#"{"FullLoadSettings":{"TargetTablePrepMode":"DO_NOTHING"}}"#;

    #[test]
    fn defaults_are_lenient_and_shown_with_what_aws_adds() {
        let parsed = parse(Some(LEAST)).expect("legal");
        assert!(!parsed.plane.strict);
        assert!(!parsed.plane.recovery_table);
        assert_eq!(parsed.plane.control_schema, "public");
        let shown: Value = serde_json::from_str(&parsed.shown("ID")).expect("JSON");
        assert_eq!(shown["Logging"]["EnableLogContext"], false);
        assert_eq!(shown["ControlTablesSettings"]["historyTimeslotInMinutes"], 5);
        assert_eq!(shown["ErrorBehavior"]["ApplyErrorDeletePolicy"], "IGNORE_RECORD");
    }

    #[test]
    fn unknown_keys_types_and_values_are_refused() {
        for bad in [
            "{",
            r#"{"Nonsense":{}}"#,
            r#"{"TargetMetadata":{"Nonsense":1}}"#,
            r#"{"TargetMetadata":{"SupportLobs":"true"}}"#,
            r#"{"ErrorBehavior":{"DataErrorPolicy":"SHRUG"}}"#,
            r#"{"FullLoadSettings":{"TargetTablePrepMode":"DO_NOTHING","MaxFullLoadSubTasks":50}}"#,
        ] {
            assert_eq!(parse(Some(bad)).expect_err(bad).code, "InvalidParameterValueException");
        }
    }

    #[test]
    fn what_the_data_plane_cannot_do_is_said() {
        assert_eq!(parse(None).expect_err("drops tables").code, "UnknownOperationException");
    }
}
