//! What `kubectl get dbmigration` prints: the API server makes the table, we only align it.

use axum::http::Request;
use axum::http::header::ACCEPT;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

/// A table as the API server makes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Table {
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    priority: i32,
}

#[derive(Deserialize)]
struct Row {
    cells: Vec<Value>,
}

impl Table {
    /// The columns that are shown without `-o wide`, and the cells of every row.
    fn shown(&self) -> Vec<Vec<String>> {
        let shown = |column: &&Column| column.priority == 0;
        let header = self.column_definitions.iter().filter(shown).map(|column| column.name.to_uppercase());
        let mut lines = vec![header.collect::<Vec<_>>()];
        for row in &self.rows {
            let cells = self.column_definitions.iter().zip(&row.cells);
            lines.push(cells.filter(|(column, _)| shown(column)).map(|(_, cell)| word(cell)).collect());
        }
        lines
    }

    /// The cells of the first row under these headings.
    pub(crate) fn first(&self, headings: &[&str]) -> Vec<String> {
        let row = self.rows.first();
        let cell = |heading: &&str| {
            let place =
                self.column_definitions.iter().position(|column| column.name.eq_ignore_ascii_case(heading));
            place.and_then(|place| row?.cells.get(place)).map_or_else(String::new, word)
        };
        headings.iter().map(cell).collect()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.shown();
        let columns = lines.first().map_or(0, Vec::len);
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in &lines {
            let cells: Vec<String> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", cells.join("   ").trim_end())?;
        }
        Ok(())
    }
}

fn word(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The migrations of a namespace, or one of them.
pub(crate) async fn read(client: &Client, namespace: &str, name: Option<&str>) -> Result<Table, String> {
    let path = format!("/apis/slipway.dev/v1alpha1/namespaces/{namespace}/databasemigrations");
    let path = name.map_or_else(|| path.clone(), |name| format!("{path}/{name}"));
    let request = Request::get(&path)
        .header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .map_err(|error| format!("asking for {path}: {error}"))?;
    client.request(request).await.map_err(|error| format!("reading {path}: {error}"))
}

/// The same, aligned.
pub(crate) async fn get(client: &Client, namespace: &str, name: Option<&str>) -> Result<String, String> {
    Ok(read(client, namespace, name).await?.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_table_is_aligned_and_wide_columns_are_left_out() {
        let table: Table = serde_json::from_value(serde_json::json!({
            "columnDefinitions": [
                {"name": "Name", "priority": 0}, {"name": "Goal", "priority": 1}, {"name": "Lag", "priority": 0}
            ],
            "rows": [{"cells": ["payments-db", "Plan", null]}, {"cells": ["x", "Replicate", "1s"]}]
        }))
        .unwrap();
        assert_eq!(table.to_string(), "NAME          LAG\npayments-db\nx             1s\n");
        assert_eq!(table.first(&["NAME", "GOAL", "NEXT"]), ["payments-db", "Plan", ""]);
    }
}
