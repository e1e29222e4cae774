//! The writes themselves, and the dice that choose them.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

/// What a write was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// All statements of one session, prepared.
pub(super) struct Statements {
    singles: Vec<Statement>,
    pick: Statement,
    lock: Statement,
    transfer: Statement,
    book: Statement,
    entry: Statement,
}

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        use tokio_postgres::types::Type;
        let mut singles = Vec::new();
        for single in SINGLES {
            singles.push(client.prepare_typed(single.sql, &[Type::FLOAT8, Type::INT8, Type::TEXT]).await?);
        }
        Ok(Self {
            singles,
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

/// One write, chosen by the dice; gives its kind and how many rows it changed.
pub(super) async fn one(
    client: &mut Client,
    statements: &Statements,
    dice: &mut Dice,
) -> Result<(Kind, u64), Error> {
    let all = TRANSFER_WEIGHT + SINGLES.iter().map(|single| single.weight).sum::<u64>();
    let mut chosen = dice.below(all);
    for (single, statement) in SINGLES.iter().zip(&statements.singles) {
        if chosen < single.weight {
            let number = i64::from(dice.small());
            let values: [&(dyn ToSql + Sync); 3] = [&dice.fraction(), &number, &dice.word()];
            return Ok((single.kind, client.execute(statement, &values).await?));
        }
        chosen -= single.weight;
    }
    transfer(client, statements, dice).await
}

async fn transfer(
    client: &mut Client,
    statements: &Statements,
    dice: &mut Dice,
) -> Result<(Kind, u64), Error> {
    let currency = dice.one_of(&["EUR", "USD", "CHF", "JPY"]);
    let amount = format!("{}.{:02}", dice.below(500), 1 + dice.below(99));
    let minus = format!("-{amount}");
    let purpose = (dice.below(4) > 0).then(|| format!("Überweisung {} ✓", dice.word()));
    let reference = format!("{}{}", dice.word(), dice.small());
    let places = [dice.fraction(), dice.fraction()];

    let transaction = client.transaction().await?;
    let mut accounts = Vec::new();
    for place in &places {
        accounts.extend(transaction.query_opt(&statements.pick, &[&currency, place]).await?);
    }
    let accounts: Vec<i64> = accounts.iter().map(|row| row.get(0)).collect();
    let [debit, credit] = accounts[..] else { return Ok((Kind::Transfer, 0)) };
    if debit == credit {
        return Ok((Kind::Transfer, 0));
    }
    transaction.execute(&statements.lock, &[&debit, &credit]).await?;
    let row = transaction
        .query_one(&statements.transfer, &[&reference, &debit, &credit, &amount, &currency, &purpose])
        .await?;
    let id: i64 = row.get(0);
    for (line, account, amount) in [(1i16, debit, &minus), (2i16, credit, &amount)] {
        transaction.execute(&statements.book, &[&account, amount]).await?;
        transaction.execute(&statements.entry, &[&id, &line, &account, amount, &purpose]).await?;
    }
    transaction.commit().await?;
    Ok((Kind::Transfer, 1))
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
