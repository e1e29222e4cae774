//! How one row becomes one number: exactly, alike on every server, and quickly.

/// How a row's bytes are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// PostgreSQL's own, four times as fast; it promises nothing between major versions or kinds of processors.
    Own,
    /// The first half of MD5, which is the same everywhere.
    Md5,
}

/// What [`Hash::agreed`] compares. Both sides evaluate it; NULL where the server does not know the function.
pub(super) const PROBE_SUPPORTED: &str =
    "SELECT to_regprocedure('pg_catalog.hash_record_extended(record, bigint)') IS NOT NULL";
/// A row of many types, hashed.
pub(super) const PROBE: &str = "SELECT hash_record_extended(ROW(record_send(ROW(1::bigint, 2::integer, \
     'Käse 🧀'::text, 1.50::numeric, '-0'::float8, true, '{\"a\": 1.0}'::jsonb, '[2:3]={1,2}'::integer[], \
     '1 day'::interval, '2001-02-03 04:05:06.789+00'::timestamptz, '\\x00ff'::bytea))), 0)";

impl Hash {
    /// The server's own where both gave the same for the same row.
    pub(super) fn agreed(one: Option<i64>, other: Option<i64>) -> Self {
        if one.is_some() && one == other { Self::Own } else { Self::Md5 }
    }

    /// The hash of `row`, which is an expression of a row type, as a number.
    fn of(self, row: &str) -> String {
        match self {
            Self::Own => format!("hash_record_extended(ROW(record_send({row})), 0)"),
            Self::Md5 => format!("('x' || substr(md5(record_send({row})), 1, 16))::bit(64)::bigint"),
        }
    }

    /// Count and sum over `rows`, in which `row` is an expression. A sum, and not XOR: two equal rows too many would
    /// cancel there.
    pub(super) fn sum(self, row: &str, rows: &str) -> String {
        format!("SELECT count(*), coalesce(sum({}), 0)::text FROM {rows}", self.of(row))
    }
}

/// One column and how its value can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// As in `format_type`.
    pub(super) kind: String,
    /// Quoted.
    pub(super) quoted: String,
    pub(super) form: Form,
}

/// In which form a value is the same on every server. Rows and arrays carry the numbers of their types, which differ for all
/// types that PostgreSQL did not bring along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Binary,
    /// As the built-in type below a domain.
    Base(String),
    /// As text, by a cast that is known to be the type's own output.
    Text,
    /// As text where someone made a cast of his own.
    Output,
}

impl Form {
    /// From the words of [`super::tables`]'s query.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "binary" => Self::Binary,
            "text" => Self::Text,
            "output" => Self::Output,
            base => Self::Base(base.to_owned()),
        }
    }
}

impl Column {
    fn expression(&self) -> String {
        let column = format!("t.{}", self.quoted);
        match &self.form {
            Form::Binary => column,
            Form::Base(base) => format!("{column}::{base}"),
            Form::Text => format!("{column}::text"),
            // A row of NULLs is not NULL, though IS NULL says so.
            Form::Output => format!("CASE num_nulls({column}) WHEN 0 THEN format('%s', {column}) END"),
        }
    }
}

/// The row of a table with these columns, in this order. `whole` says that the table has just these, in this order.
pub(super) fn row(columns: &[Column], whole: bool) -> String {
    if whole && columns.iter().all(|column| column.form == Form::Binary) {
        // Cheaper than to take the row apart and put it together again. Without the star, a column of that name would be meant.
        return "t.*".to_owned();
    }
    let columns: Vec<String> = columns.iter().map(Column::expression).collect();
    format!("ROW({})", columns.join(", "))
}
