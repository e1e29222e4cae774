//! The writes themselves, and the dice that choose them.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Statement, Transaction};

use serde::{Deserialize, Serialize};

use crate::bank::journal::Key;

/// What a write was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Insert,
    Update,
    Delete,
    Transfer,
}

/// The key of the row that `$1` picks: the first at or after a place, so that deleted rows leave no holes.
macro_rules! nth {
    ($column:literal, $table:literal) => {
        concat!(
            "(SELECT ",
            $column,
            " FROM ",
            $table,
            " WHERE ",
            $column,
            " >= (SELECT min(",
            $column,
            ") + floor($1 * (max(",
            $column,
            ") - min(",
            $column,
            "))) FROM ",
            $table,
            ")::bigint ORDER BY ",
            $column,
            " LIMIT 1)"
        )
    };
}

/// A write of one statement. `$1` is a fraction that picks a row, `$2` and `$3` make its values.
struct Single {
    kind: Kind,
    /// How often, beside the others.
    weight: u64,
    sql: &'static str,
}

const SINGLES: &[Single] = &[
    Single {
        kind: Kind::Insert,
        weight: 6,
        sql: concat!(
            "INSERT INTO cards (account_id, token, network, expires_on, blocked, daily_limit) SELECT ",
            nth!("id", "accounts"),
            ", md5($3 || $2), 'Visa', date '2030-01-31' + ($2 % 900)::integer,
               CASE $2 % 3 WHEN 0 THEN NULL ELSE $2 % 3 = 1 END, ($2 % 4000) / 100.0"
        ),
    },
    Single {
        kind: Kind::Insert,
        weight: 3,
        sql: "WITH opened AS (
                INSERT INTO customers (id, name, email, phone, profile)
                VALUES (md5($3 || $2)::uuid, '新規 ' || $3 || ' Ünal', CASE WHEN $1 < 0.5 THEN NULL ELSE $3 || $2 || '@bank.example' END,
                        CASE WHEN $1 < 0.3 THEN '' END, jsonb_build_object('since', $2, 'note', $3))
                RETURNING id)
              INSERT INTO accounts (customer_id, iban, currency)
              SELECT id, 'XX' || left(md5($3 || 'iban' || $2), 30), 'EUR' FROM opened",
    },
    Single {
        kind: Kind::Insert,
        weight: 4,
        sql: concat!(
            "INSERT INTO documents (customer_id, title, body, remarks)
             SELECT (SELECT id FROM customers WHERE number = ",
            nth!("number", "customers"),
            "), 'Brief – ' || $3,
             CASE WHEN $2 % 4 = 0
                  THEN (SELECT decode(string_agg(md5($3 || k), ''), 'hex') FROM generate_series(1, 300) AS k)
                  ELSE decode(md5($3), 'hex') END,
             CASE $2 % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE E'\\\\N\\t\\\\.\\n' END"
        ),
    },
    Single {
        kind: Kind::Insert,
        weight: 3,
        sql: "INSERT INTO rates (currency, valid_on, rate, source)
              VALUES ('X' || left(md5($3), 2), date '2026-01-01' + ($2 % 3000)::integer, 1 + $1::numeric(9, 8), $3)
              ON CONFLICT (currency, valid_on) DO UPDATE SET rate = EXCLUDED.rate, source = EXCLUDED.source",
    },
    Single {
        kind: Kind::Insert,
        weight: 2,
        sql: concat!(
            "INSERT INTO standing_orders (account_id, payee, amount, day, note) SELECT ",
            nth!("id", "accounts"),
            ", $3, 1 + $2 % 500, 1 + $2 % 28, 'NULL'"
        ),
    },
    Single {
        kind: Kind::Update,
        weight: 5,
        sql: concat!(
            // A unique column beside the key, and values that come and go.
            "UPDATE customers SET email = CASE WHEN $2 % 5 = 0 THEN NULL ELSE $3 || $2 || '@new.example' END,
                    phone = CASE $2 % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE '+41 ' || $2 END,
                    profile = profile || jsonb_build_object('seen', $2, 'größe', 1.10, 'who', $3),
                    updated_at = now()
             WHERE number = ",
            nth!("number", "customers")
        ),
    },
    Single {
        kind: Kind::Update,
        weight: 4,
        sql: concat!(
            "UPDATE accounts SET credit_limit = CASE WHEN $2 % 4 = 0 THEN NULL ELSE $2 % 10000 + 0.5 END,
                    status = CASE WHEN $2 % 10 = 0 THEN 'blocked' ELSE 'open' END
             WHERE id = ",
            nth!("id", "accounts")
        ),
    },
    Single {
        kind: Kind::Update,
        weight: 4,
        sql: concat!(
            "UPDATE cards SET token = md5('again' || $3 || $2), blocked = CASE $2 % 3 WHEN 0 THEN NULL ELSE true END,
                    pin_tries = ($2 % 3)::smallint
             WHERE id = ",
            nth!("id", "cards")
        ),
    },
    Single {
        kind: Kind::Update,
        weight: 4,
        // The body stays as it is and is not logged again.
        sql: concat!(
            "UPDATE documents SET title = 'Geändert ' || $3 || $2, remarks = CASE WHEN $2 % 2 = 0 THEN NULL ELSE '→' END WHERE id = ",
            nth!("id", "documents")
        ),
    },
    Single {
        kind: Kind::Update,
        weight: 3,
        sql: concat!(
            "UPDATE consents SET granted = NOT granted, revoked_at = CASE WHEN granted THEN now() END,
                    scopes = CASE $2 % 3 WHEN 0 THEN '{}' ELSE ARRAY[$3, NULL, 'x\"y,{z}'] END,
                    limits = CASE WHEN $2 % 2 = 0 THEN NULL ELSE ARRAY[($2 % 100)::integer, NULL] END,
                    score = CASE WHEN $2 % 7 = 0 THEN '-Infinity' ELSE $1 END
             WHERE channel = 'app' AND customer_id = (SELECT id FROM customers WHERE number = ",
            nth!("number", "customers"),
            ")"
        ),
    },
    Single {
        kind: Kind::Delete,
        weight: 3,
        sql: concat!("DELETE FROM cards WHERE id = ", nth!("id", "cards")),
    },
    Single {
        kind: Kind::Delete,
        weight: 2,
        sql: concat!("DELETE FROM documents WHERE id = ", nth!("id", "documents")),
    },
];

/// How often a transfer comes, beside the singles.
const TRANSFER_WEIGHT: u64 = 12;

/// The name that PostgreSQL gives to the constraint which refuses a key that is there.
const KEY_CONSTRAINT: &str = "requests_pkey";

/// One write with all its values, so that it can be sent again as it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Write {
    /// What makes it recognisable, whatever became of its answer.
    pub(super) key: Key,
    kind: Kind,
    work: Work,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Work {
    Single {
        which: usize,
        fraction: f64,
        number: i64,
        word: String,
    },
    Transfer {
        currency: String,
        amount: String,
        purpose: Option<String>,
        reference: String,
        places: [f64; 2],
    },
}

impl Write {
    /// Chosen by the dice.
    pub(super) fn draw(key: Key, dice: &mut Dice) -> Self {
        let all = TRANSFER_WEIGHT + SINGLES.iter().map(|single| single.weight).sum::<u64>();
        let mut chosen = dice.below(all);
        for (which, single) in SINGLES.iter().enumerate() {
            if chosen < single.weight {
                let number = i64::from(dice.small());
                let work = Work::Single { which, fraction: dice.fraction(), number, word: dice.word() };
                return Self { key, kind: single.kind, work };
            }
            chosen -= single.weight;
        }
        let work = Work::Transfer {
            currency: dice.one_of(&["EUR", "USD", "CHF", "JPY"]).to_owned(),
            amount: format!("{}.{:02}", dice.below(500), 1 + dice.below(99)),
            purpose: (dice.below(4) > 0).then(|| format!("Überweisung {} ✓", dice.word())),
            reference: format!("{}{}", dice.word(), dice.small()),
            places: [dice.fraction(), dice.fraction()],
        };
        Self { key, kind: Kind::Transfer, work }
    }
}

/// How a write that was carried out ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Done {
    /// Now; with how many rows changed, beside that of its key.
    Now(Kind, u64),
    /// By an earlier attempt whose answer was lost: its key is there.
    Before,
}

/// All statements of one session, prepared.
pub(super) struct Statements {
    /// Each puts its key down in the same statement.
    singles: Vec<Statement>,
    key: Statement,
    pick: Statement,
    lock: Statement,
    transfer: Statement,
    book: Statement,
    entry: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let mut singles = Vec::new();
        for single in SINGLES {
            singles.push(client.prepare_typed(&with_key(single.sql), &SINGLE_TYPES).await?);
        }
        Ok(Self {
            singles,
            key: client
                .prepare_typed("INSERT INTO requests (key) VALUES ($1::text::uuid)", &[Type::TEXT])
                .await?,
            pick: client
                .prepare_typed(
                    "WITH place AS (SELECT min(id) + floor($2 * (max(id) - min(id)))::bigint AS id FROM accounts)
                     SELECT a.id FROM accounts a, place WHERE a.currency = $1 AND a.id >= place.id ORDER BY a.id LIMIT 1",
                    &[Type::TEXT, Type::FLOAT8],
                )
                .await?,
            // In the order of their ids, or two opposite transfers would wait for each other.
            lock: client.prepare("SELECT id FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR UPDATE").await?,
            transfer: client
                .prepare_typed(
                    "INSERT INTO transfers (reference, debit_account, credit_account, amount, currency, purpose, value_on)
                     VALUES (md5($1)::uuid, $2, $3, $4::text::numeric, $5, $6, current_date) RETURNING id",
                    &[Type::TEXT, Type::INT8, Type::INT8, Type::TEXT, Type::TEXT, Type::TEXT],
                )
                .await?,
            book: client
                .prepare_typed(
                    "UPDATE accounts SET balance = balance + $2::text::numeric WHERE id = $1",
                    &[Type::INT8, Type::TEXT],
                )
                .await?,
            entry: client
                .prepare_typed(
                    "INSERT INTO entries (transfer_id, line, account_id, amount, note) VALUES ($1, $2, $3, $4::text::numeric, $5)",
                    &[Type::INT8, Type::INT2, Type::INT8, Type::TEXT, Type::TEXT],
                )
                .await?,
        })
    }
}

const SINGLE_TYPES: [Type; 4] = [Type::FLOAT8, Type::INT8, Type::TEXT, Type::TEXT];

/// The statement with the key as `$4` put down beside its own work: done together or not at all, without a transaction
/// of several statements.
fn with_key(sql: &str) -> String {
    let key = "WITH request AS (INSERT INTO requests (key) VALUES ($4::text::uuid))";
    match sql.strip_prefix("WITH ") {
        Some(rest) => format!("{key}, {rest}"),
        None => format!("{key} {sql}"),
    }
}

/// Carries out a write that was not sent before.
pub(super) async fn first(
    client: &mut Client,
    statements: &Statements,
    write: &Write,
) -> Result<Done, Error> {
    let rows = match &write.work {
        Work::Single { which, fraction, number, word } => {
            let values: [&(dyn ToSql + Sync); 4] = [fraction, number, word, &write.key.to_string()];
            client.execute(&statements.singles[*which], &values).await?
        }
        Work::Transfer { .. } => {
            let transaction = client.transaction().await?;
            transaction.execute(&statements.key, &[&write.key.to_string()]).await?;
            let rows = transfer(&transaction, statements, &write.work).await?;
            transaction.commit().await?;
            rows
        }
    };
    Ok(Done::Now(write.kind, rows))
}

/// Carries out a write whose first answer was lost, unless it is there. The key goes first, by itself: put down beside
/// the work, some other constraint of a write that was done before could be the one to refuse it.
pub(super) async fn again(
    client: &mut Client,
    statements: &Statements,
    write: &Write,
) -> Result<Done, Error> {
    let transaction = client.transaction().await?;
    // Waits for the first attempt, should the server still be at it.
    match transaction.execute(&statements.key, &[&write.key.to_string()]).await {
        Err(error) if is_known_key(&error) => {
            transaction.rollback().await?;
            return Ok(Done::Before);
        }
        other => other?,
    };
    let rows = match &write.work {
        Work::Single { which, fraction, number, word } => {
            let plain = transaction.prepare_typed(SINGLES[*which].sql, &SINGLE_TYPES[..3]).await?;
            transaction.execute(&plain, &[fraction, number, word]).await?
        }
        Work::Transfer { .. } => transfer(&transaction, statements, &write.work).await?,
    };
    transaction.commit().await?;
    Ok(Done::Now(write.kind, rows))
}

fn is_known_key(error: &Error) -> bool {
    error.as_db_error().is_some_and(|error| error.constraint() == Some(KEY_CONSTRAINT))
}

async fn transfer(transaction: &Transaction<'_>, statements: &Statements, work: &Work) -> Result<u64, Error> {
    let Work::Transfer { currency, amount, purpose, reference, places } = work else { return Ok(0) };
    let minus = format!("-{amount}");
    let mut accounts = Vec::new();
    for place in places {
        accounts.extend(transaction.query_opt(&statements.pick, &[currency, place]).await?);
    }
    let accounts: Vec<i64> = accounts.iter().map(|row| row.get(0)).collect();
    let [debit, credit] = accounts[..] else { return Ok(0) };
    if debit == credit {
        return Ok(0);
    }
    transaction.execute(&statements.lock, &[&debit, &credit]).await?;
    let row = transaction
        .query_one(&statements.transfer, &[reference, &debit, &credit, amount, currency, purpose])
        .await?;
    let id: i64 = row.get(0);
    for (line, account, amount) in [(1i16, debit, &minus), (2i16, credit, amount)] {
        transaction.execute(&statements.book, &[&account, amount]).await?;
        transaction.execute(&statements.entry, &[&id, &line, &account, amount, purpose]).await?;
    }
    Ok(1)
}

/// Numbers that follow from a seed (SplitMix64): a load must be repeatable, nothing more.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64, session: u32) -> Self {
        let mut dice = Self(seed ^ (u64::from(session) << 32));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.next() >> 33).unwrap_or(u32::MAX)
    }

    /// From 0 up to, but not including, 1.
    fn fraction(&mut self) -> f64 {
        f64::from(self.small()) / f64::from(1u32 << 31)
    }

    fn one_of(&mut self, choices: &[&'static str]) -> &'static str {
        // Fewer choices than there are numbers of 32 bits, on any machine.
        choices[usize::try_from(self.small()).unwrap_or(0) % choices.len()]
    }

    /// Text that has not been there before, in several scripts.
    fn word(&mut self) -> String {
        let script = self.one_of(&["ä", "漢", "ж", "ع", "é", "🏦", "'", "\\"]);
        format!("{script}{:016x}", self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_writes_and_sessions_differ() {
        let draw = |seed, session| {
            let mut dice = Dice::new(seed, session);
            (dice.below(100), dice.word(), dice.small())
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
        let mut dice = Dice::new(7, 7);
        assert!((0..10_000).all(|_| (0.0..1.0).contains(&dice.fraction())));
    }
}
