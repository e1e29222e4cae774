//! Table mappings: a JSON string of rules.
//!
//! | rule | source |
//! |---|---|
//! | rule ids and names are unique; `%` is the wildcard | user guide, CHAP_Tasks.CustomizingTasks.TableMapping |
//! | at least one selection rule includes something | same |

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::plane::Selection;
use crate::world::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mappings {
    rules: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names of the format")]
struct Rule {
    #[serde(rename = "rule-type")]
    _rule_type: String,
    rule_id: String,
    rule_name: String,
    rule_action: String,
    object_locator: Locator,
    #[serde(default)]
    filters: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Locator {
    schema_name: String,
    table_name: String,
}

/// The selection rules in the order of their ids.
pub(super) fn parse(text: &str) -> Result<Vec<Selection>, Refusal> {
    let refuse = |why: String| Refusal::value(format!("TableMappings: {why}"));
    let mappings: Mappings = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    let mut selections = Vec::new();
    for rule in mappings.rules {
        match rule["rule-type"].as_str() {
            Some("selection") => {}
            Some(other @ ("transformation" | "table-settings" | "validation")) => {
                return Err(Refusal::not_modelled(format!("table mapping rules of type {other}")));
            }
            _ => return Err(refuse(format!("rule-type {} is not known", rule["rule-type"]))),
        }
        let rule: Rule = serde_json::from_value(rule).map_err(|error| refuse(error.to_string()))?;
        let id: u64 = rule
            .rule_id
            .parse()
            .map_err(|_| refuse(format!("rule-id {:?} is not a number", rule.rule_id)))?;
        if !ids.insert(id) || !names.insert(rule.rule_name.clone()) {
            return Err(refuse(format!("rule-id {id} or rule-name {:?} is used twice", rule.rule_name)));
        }
        if !rule.filters.is_empty() {
            return Err(Refusal::not_modelled("column filters in table mappings"));
        }
        let include = match rule.rule_action.as_str() {
            "include" => true,
            "exclude" => false,
            "explicit" => return Err(Refusal::not_modelled("rule-action explicit")),
            other => {
                return Err(refuse(format!("rule-action {other:?} is not include, exclude or explicit")));
            }
        };
        let Locator { schema_name: schema, table_name: table } = rule.object_locator;
        selections.push((id, Selection { include, schema, table }));
    }
    selections.sort_by_key(|(id, _)| *id);
    if !selections.iter().any(|(_, selection)| selection.include) {
        return Err(refuse("no selection rule includes anything".to_owned()));
    }
    Ok(selections.into_iter().map(|(_, selection)| selection).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: &str, action: &str) -> String {
        format!(
            r#"{{"rule-type":"selection","rule-id":"{id}","rule-name":"{id}","rule-action":"{action}",
                "object-locator":{{"schema-name":"bank","table-name":"%"}},"filters":[]}}"#
        )
    }

    #[test]
    fn rules_come_in_the_order_of_their_ids() {
        let text = format!(r#"{{"rules":[{},{}]}}"#, rule("10", "exclude"), rule("9", "include"));
        let actions: Vec<bool> = parse(&text).expect("legal").iter().map(|rule| rule.include).collect();
        assert_eq!(actions, [true, false]);
    }

    #[test]
    fn broken_mappings_are_refused() {
        let twice = format!(r#"{{"rules":[{},{}]}}"#, rule("1", "include"), rule("1", "include"));
        let nothing = format!(r#"{{"rules":[{}]}}"#, rule("1", "exclude"));
        for bad in ["", "{", r#"{"rules":[]}"#, r#"{"rules":[{"rule-type":"x"}]}"#, &twice, &nothing] {
            assert_eq!(parse(bad).expect_err(bad).code, "InvalidParameterValueException");
        }
    }
}
