//! The text that `test_decoding` writes.
//!
//! ```text
//! BEGIN 529
//! table public.t: INSERT: id[integer]:1 name[text]:'it''s' flags[bit(3)]:B'101'
//! table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 name[text]:unchanged-toast-datum
//! table public.t: DELETE: id[integer]:2
//! table public.a, public.b: TRUNCATE: restart_seqs cascade
//! COMMIT 529 (at 2026-01-01 00:00:00.000001+00)
//! ```

use crate::plane::TableName;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Datum {
    /// SQL NULL.
    Null,
    /// A large value that the change did not touch; the log does not hold it.
    Unchanged,
    /// The value in its type's text form.
    Text(String),
}

/// Columns by name, in the table's order. Columns that were NULL are missing from an old key.
pub(super) type Tuple = Vec<(String, Datum)>;

/// What happened to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Insert(Tuple),
    Update {
        /// Present if the replica identity is the whole row, or the key changed.
        old: Option<Tuple>,
        new: Tuple,
    },
    /// `None`: the table has no replica identity, so nothing tells which row.
    Delete(Option<Tuple>),
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Begin,
    /// The commit time as the server wrote it.
    Commit {
        at: String,
    },
    Change {
        table: TableName,
        change: Change,
    },
    Truncate(Vec<TableName>),
    /// A logical message: not a row.
    Message,
}

/// Reads a line; the error says what was expected where.
pub(super) fn parse(text: &str) -> Result<Line, String> {
    let mut reader = Reader { text, at: 0 };
    reader.line().map_err(|expected| {
        let rest: String = text[reader.at..].chars().take(80).collect();
        format!("test_decoding output not understood: {expected} expected at byte {}: {rest:?}", reader.at)
    })
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Expected = &'static str;

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    fn line(&mut self) -> Result<Line, Expected> {
        if self.take("BEGIN") {
            return Ok(Line::Begin);
        }
        if self.take("COMMIT") {
            let start = self.rest().find("(at ").ok_or("a commit time")?;
            let at =
                self.rest()[start + 4..].trim_end().strip_suffix(')').ok_or("the end of a commit time")?;
            return Ok(Line::Commit { at: at.to_owned() });
        }
        if self.take("message:") {
            return Ok(Line::Message);
        }
        if !self.take("table ") {
            return Err("BEGIN, COMMIT, message or table");
        }
        let mut tables = vec![self.table()?];
        while self.take(", ") {
            tables.push(self.table()?);
        }
        if !self.take(": ") {
            return Err("a colon after the table's name");
        }
        if self.take("TRUNCATE:") {
            return Ok(Line::Truncate(tables));
        }
        let change = self.change()?;
        let table = tables.pop().ok_or("a table's name")?;
        if self.rest().is_empty() { Ok(Line::Change { table, change }) } else { Err("the end of the line") }
    }

    fn change(&mut self) -> Result<Change, Expected> {
        if self.take("INSERT:") {
            if self.take(" (no-tuple-data)") {
                return Err("the inserted row");
            }
            return Ok(Change::Insert(self.tuple()?));
        }
        if self.take("UPDATE:") {
            if self.take(" (no-tuple-data)") {
                return Err("the updated row");
            }
            let mut old = None;
            if self.take(" old-key:") {
                old = Some(self.tuple()?);
                if !self.take(" new-tuple:") {
                    return Err("new-tuple");
                }
            }
            return Ok(Change::Update { old, new: self.tuple()? });
        }
        if self.take("DELETE:") {
            if self.take(" (no-tuple-data)") {
                return Ok(Change::Delete(None));
            }
            return Ok(Change::Delete(Some(self.tuple()?)));
        }
        Err("INSERT, UPDATE, DELETE or TRUNCATE")
    }

    fn table(&mut self) -> Result<TableName, Expected> {
        let schema = self.identifier("a schema's name")?;
        if !self.take(".") {
            return Err("a dot between schema and table");
        }
        Ok(TableName { schema, name: self.identifier("a table's name")? })
    }

    /// An identifier as `quote_identifier` writes it.
    fn identifier(&mut self, what: Expected) -> Result<String, Expected> {
        if self.take("\"") {
            return self.quoted('"', what);
        }
        let end = self
            .rest()
            .find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
            .unwrap_or(self.rest().len());
        if end == 0 {
            return Err(what);
        }
        let name = self.rest()[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    /// What follows an opening quote, up to the closing one. A doubled quote is one.
    fn quoted(&mut self, quote: char, what: Expected) -> Result<String, Expected> {
        let mut value = String::new();
        loop {
            let end = self.rest().find(quote).ok_or(what)?;
            value.push_str(&self.rest()[..end]);
            self.at += end + 1;
            if self.rest().starts_with(quote) {
                value.push(quote);
                self.at += 1;
            } else {
                return Ok(value);
            }
        }
    }

    fn tuple(&mut self) -> Result<Tuple, Expected> {
        let mut tuple = Tuple::new();
        while self.rest().starts_with(' ') && !self.rest().starts_with(" new-tuple:") {
            self.at += 1;
            let name = self.identifier("a column's name")?;
            self.skip_type()?;
            tuple.push((name, self.datum()?));
        }
        Ok(tuple)
    }

    /// `[type]:`, where the type may be an array or hold quoted names.
    fn skip_type(&mut self) -> Result<(), Expected> {
        let (mut depth, mut in_quotes) = (0_usize, false);
        for (offset, c) in self.rest().char_indices() {
            match c {
                '"' => in_quotes = !in_quotes,
                '[' if !in_quotes => depth += 1,
                ']' if !in_quotes => depth = depth.checked_sub(1).ok_or("a column's type")?,
                _ => {}
            }
            if depth == 0 {
                if offset == 0 {
                    return Err("a column's type");
                }
                self.at += offset + 1;
                return if self.take(":") { Ok(()) } else { Err("a colon after a column's type") };
            }
        }
        Err("the end of a column's type")
    }

    fn datum(&mut self) -> Result<Datum, Expected> {
        if self.take("'") || self.take("B'") {
            return Ok(Datum::Text(self.quoted('\'', "the end of a quoted value")?));
        }
        // Bare words are NULL, large values untouched, booleans and numbers: none of them holds a blank.
        let end = self.rest().find(' ').unwrap_or(self.rest().len());
        let word = &self.rest()[..end];
        if word.is_empty() {
            return Err("a value");
        }
        self.at += end;
        Ok(match word {
            "null" => Datum::Null,
            "unchanged-toast-datum" => Datum::Unchanged,
            _ => Datum::Text(word.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(schema: &str, name: &str) -> TableName {
        TableName { schema: schema.into(), name: name.into() }
    }

    fn text(column: &str, value: &str) -> (String, Datum) {
        (column.into(), Datum::Text(value.into()))
    }

    fn change(table: TableName, change: Change) -> Line {
        Line::Change { table, change }
    }

    /// Lines that a server, version 15.18, wrote.
    #[test]
    fn reads_what_a_server_writes() {
        let null = |column: &str| (column.to_owned(), Datum::Null);
        let lines = [
            ("BEGIN 734", Line::Begin),
            (
                "COMMIT 741 (at 2026-11-23 21:37:38.76981+00)",
                Line::Commit { at: "2026-11-23 21:37:38.76981+00".into() },
            ),
            (
                r#"table "My Schema"."T""x.y: INSERT:": INSERT: "Id:[x]"[bigint]:-9 "a b"[integer[]]:'{1,NULL,3}' b[bit varying]:B'101' b3[bit]:B'011' f[double precision]:NaN m["My Schema"."mood]:""["[]]:'{"so so"}' n[numeric]:1.10 ok[boolean]:true ts[timestamp with time zone]:'2026-01-01 00:00:00+00' c[character]:'ab   ' by[bytea]:'\x00ff' o[oid]:4294967295 j[jsonb]:'{"a": "it''s"}' iv[interval]:'1 mon -3 days'"#,
                change(
                    name("My Schema", "T\"x.y: INSERT:"),
                    Change::Insert(vec![
                        text("Id:[x]", "-9"),
                        text("a b", "{1,NULL,3}"),
                        text("b", "101"),
                        text("b3", "011"),
                        text("f", "NaN"),
                        text("m", "{\"so so\"}"),
                        text("n", "1.10"),
                        text("ok", "true"),
                        text("ts", "2026-01-01 00:00:00+00"),
                        text("c", "ab   "),
                        text("by", "\\x00ff"),
                        text("o", "4294967295"),
                        text("j", "{\"a\": \"it's\"}"),
                        text("iv", "1 mon -3 days"),
                    ]),
                ),
            ),
            (
                "table public.t: INSERT: id[integer]:2 v[text]:null big[text]:''",
                change(
                    name("public", "t"),
                    Change::Insert(vec![text("id", "2"), null("v"), text("big", "")]),
                ),
            ),
            (
                "table public.t: UPDATE: id[integer]:1 v[text]:'back\\slash\nline' big[text]:unchanged-toast-datum",
                change(
                    name("public", "t"),
                    Change::Update {
                        old: None,
                        new: vec![
                            text("id", "1"),
                            text("v", "back\\slash\nline"),
                            ("big".into(), Datum::Unchanged),
                        ],
                    },
                ),
            ),
            (
                "table public.t: UPDATE: old-key: id[integer]:2 new-tuple: id[integer]:3 v[text]:null big[text]:''",
                change(
                    name("public", "t"),
                    Change::Update {
                        old: Some(vec![text("id", "2")]),
                        new: vec![text("id", "3"), null("v"), text("big", "")],
                    },
                ),
            ),
            (
                "table public.f: UPDATE: old-key: id[integer]:2 v[text]:'x new-tuple: y' new-tuple: id[integer]:2 v[text]:'z'",
                change(
                    name("public", "f"),
                    Change::Update {
                        old: Some(vec![text("id", "2"), text("v", "x new-tuple: y")]),
                        new: vec![text("id", "2"), text("v", "z")],
                    },
                ),
            ),
            (
                "table public.f: DELETE: id[integer]:1 v[text]:'z'",
                change(name("public", "f"), Change::Delete(Some(vec![text("id", "1"), text("v", "z")]))),
            ),
            ("table public.nk: DELETE: (no-tuple-data)", change(name("public", "nk"), Change::Delete(None))),
            (
                r#"table public."B": INSERT: select_[integer]:1 "select"[integer]:2"#,
                change(name("public", "B"), Change::Insert(vec![text("select_", "1"), text("select", "2")])),
            ),
            (
                r#"table public.t, public."B": TRUNCATE: restart_seqs cascade"#,
                Line::Truncate(vec![name("public", "t"), name("public", "B")]),
            ),
            ("table public.f: TRUNCATE: (no-flags)", Line::Truncate(vec![name("public", "f")])),
            ("message: transactional: 1 prefix: p, sz: 1 content:x", Line::Message),
        ];
        for (line, expected) in lines {
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    /// A word that only looks like a mark is a value when quoted.
    #[test]
    fn a_quoted_mark_is_a_value() {
        let line =
            "table public.t: UPDATE: a[text]:'unchanged-toast-datum' b[text]:'null' c[text]:' new-tuple: '";
        let new = vec![text("a", "unchanged-toast-datum"), text("b", "null"), text("c", " new-tuple: ")];
        assert_eq!(parse(line), Ok(change(name("public", "t"), Change::Update { old: None, new })));
    }

    #[test]
    fn says_where_it_was_lost() {
        for (line, at) in [
            ("nonsense", "byte 0"),
            ("table public: INSERT: id[integer]:1", "dot"),
            ("table public.t: UPSERT: id[integer]:1", "byte 16"),
            ("table public.t: INSERT: id[integer:1", "end of a column's type"),
            ("table public.t: INSERT: id[integer]:'1", "end of a quoted value"),
            ("table public.t: UPDATE: old-key: id[integer]:1", "new-tuple"),
            ("COMMIT 1", "commit time"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(at), "{line}: {error}");
        }
    }
}
