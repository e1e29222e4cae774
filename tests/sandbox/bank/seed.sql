-- About {rows} rows, the same in every run: nothing here depends on a clock or on chance. Run as payments_owner.
-- {rows} is replaced before it is run; one part is a hundredth of it.

BEGIN;
SET LOCAL synchronous_commit = off;
SET LOCAL TimeZone = 'UTC';

INSERT INTO customers (id, number, name, email, phone, segment, vip, born_on, profile, created_at, updated_at)
SELECT md5('customer ' || n)::uuid,
       n,
       (ARRAY['Zoë Müller', 'José Ñandú', '李明', 'Владимир Петров', 'محمد علي', 'Ólafur Þórðarson', 'Ngô Thị Hồng',
              'Anna O''Brien', 'e' || U&'\0301' || 'tienne', '🏦 Bank & Söhne "GmbH"', E'tab\tand\\backslash'])[1 + n % 11]
         || ' ' || n,
       CASE WHEN n % 9 = 0 THEN NULL ELSE 'customer' || n || '@bank.example' END,
       CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE '+49 30 ' || n END,
       (ARRAY['retail', 'private', 'business'])[1 + n % 3],
       n % 50 = 0,
       date '1940-01-01' + (n * 37 % 23000)::integer,
       jsonb_build_object('language', (ARRAY['de', 'fr', 'zh', 'ar'])[1 + n % 4], 'risk', (n % 700) / 100.0,
                          'nested', jsonb_build_array(n, NULL, '☃')),
       timestamptz '2015-01-01' + n * interval '7 minutes 13.000421 seconds',
       NULL
FROM generate_series(1, {rows} * 10 / 100) AS n;

INSERT INTO accounts (id, customer_id, iban, currency, balance, credit_limit, status, opened_at)
SELECT n,
       md5('customer ' || (1 + (n * 7919) % ({rows} * 10 / 100)))::uuid,
       'DE' || lpad(n::text, 20, '0'),
       (ARRAY['EUR', 'USD', 'CHF', 'JPY'])[1 + n % 4],
       10000 + (n * 104729 % 9000000) / 10000.0,
       CASE WHEN n % 4 = 0 THEN NULL ELSE (n % 20) * 500 END,
       CASE WHEN n % 97 = 0 THEN 'blocked' ELSE 'open' END,
       timestamptz '2016-01-01' + n * interval '11 minutes 0.5 seconds'
FROM generate_series(1, {rows} * 12 / 100) AS n;

INSERT INTO cards (id, account_id, token, network, expires_on, blocked, daily_limit)
SELECT n, 1 + (n * 6151) % ({rows} * 12 / 100), md5('card ' || n), (ARRAY['Visa', 'Mastercard', 'girocard'])[1 + n % 3],
       date '2026-01-31' + (n % 1500)::integer,
       CASE n % 3 WHEN 0 THEN NULL ELSE n % 3 = 1 END,
       CASE WHEN n % 5 = 0 THEN NULL ELSE (n % 40) * 50.50 END
FROM generate_series(1, {rows} * 10 / 100) AS n;

-- The trigger on transfers would stamp its audit rows with the clock; the history gets its audit rows below.
ALTER TABLE transfers DISABLE TRIGGER transfer_booked;
INSERT INTO transfers (id, reference, debit_account, credit_account, amount, currency, purpose, value_on, booked_at)
SELECT n, md5('transfer ' || n)::uuid,
       1 + (n * 13) % ({rows} * 12 / 100), 1 + (n * 13 + 4) % ({rows} * 12 / 100),
       (1 + n % 100000) / 100.0,
       (ARRAY['EUR', 'USD', 'CHF', 'JPY'])[1 + (1 + (n * 13) % ({rows} * 12 / 100)) % 4],
       CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'Miete für März – ' || n ELSE '給料 ' || n END,
       date '2020-01-01' + (n % 1800)::integer,
       timestamptz '2020-01-01' + n * interval '51.000001 seconds'
FROM generate_series(1, {rows} * 15 / 100) AS n;
ALTER TABLE transfers ENABLE TRIGGER transfer_booked;

INSERT INTO entries (transfer_id, line, account_id, amount, note)
SELECT id, 1, debit_account, -amount, CASE WHEN id % 6 = 0 THEN 'Lastschrift' END FROM transfers
UNION ALL
SELECT id, 2, credit_account, amount, NULL FROM transfers;

INSERT INTO standing_orders (account_id, payee, amount, day, last_run, note)
SELECT 1 + (n * 31) % ({rows} * 12 / 100), 'Stadtwerke Köln №' || n, 10 + n % 300, 1 + n % 28,
       CASE WHEN n % 2 = 0 THEN timestamptz '2025-01-01' + n * interval '1 hour' END,
       CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'NULL' END
FROM generate_series(1, {rows} * 2 / 100) AS n;

INSERT INTO consents (customer_id, channel, granted, granted_at, revoked_at, scopes, limits, score)
SELECT md5('customer ' || (1 + n / 2))::uuid, (ARRAY['app', 'post'])[1 + n % 2], n % 3 <> 0,
       timestamptz '2022-01-01' + n * interval '3 minutes',
       CASE WHEN n % 3 = 0 THEN timestamptz '2024-01-01' + n * interval '3 minutes' END,
       CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['marketing', 'a,b "c"'] ELSE ARRAY['profiling', NULL, ''] END,
       CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '{}' ELSE ARRAY[n::integer, NULL, -1] END,
       CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN '-0' ELSE n / 7.0::double precision END
FROM generate_series(0, {rows} * 8 / 100 - 1) AS n;

-- Every tenth body is 4 kB that does not compress, and goes out of line.
INSERT INTO documents (customer_id, title, body, remarks, filed_at)
SELECT md5('customer ' || (1 + (n * 17) % ({rows} * 10 / 100)))::uuid, 'Kontoauszug ' || n || ' 📄',
       CASE WHEN n % 10 = 0
            THEN (SELECT decode(string_agg(md5(n || '/' || k), '' ORDER BY k), 'hex') FROM generate_series(1, 256) AS k)
            ELSE decode(md5(n::text), 'hex') END,
       CASE WHEN n % 2 = 0 THEN NULL ELSE E'line one\nline two\\' END,
       timestamptz '2023-01-01' + n * interval '5 minutes'
FROM generate_series(1, {rows} * 3 / 100) AS n;

INSERT INTO rates (currency, valid_on, rate, source)
SELECT c.currency, date '2010-01-01' + d::integer, 1 + (d * c.factor % 99999) / 100000000.0,
       CASE WHEN d % 7 = 0 THEN '' ELSE 'ECB' END
FROM (VALUES ('USD', 7), ('CHF', 11), ('JPY', 13), ('GBP', 17)) AS c (currency, factor),
     generate_series(0, {rows} * 2 / 400 - 1) AS d;

INSERT INTO audit (at, actor, action, subject, detail)
SELECT timestamptz '2024-01-01' + n * interval '1.25 seconds', 'payments_app', (ARRAY['login', 'transfer', 'export'])[1 + n % 3],
       CASE WHEN n % 4 = 0 THEN NULL ELSE md5('customer ' || n) END,
       CASE n % 3 WHEN 0 THEN NULL
                  WHEN 1 THEN 'null'::jsonb
                  ELSE jsonb_build_object('ip', '10.0.' || n % 256 || '.7', 'amount', 1.10, 'größe', n) END
FROM generate_series(1, {rows} * 10 / 100) AS n;

-- Rows above came with numbers of their own; the next must be beyond them.
SELECT setval(pg_get_serial_sequence('customers', 'number'), (SELECT max(number) FROM customers)),
       setval(pg_get_serial_sequence('accounts', 'id'), (SELECT max(id) FROM accounts)),
       setval(pg_get_serial_sequence('cards', 'id'), (SELECT max(id) FROM cards)),
       setval(pg_get_serial_sequence('transfers', 'id'), (SELECT max(id) FROM transfers));

COMMIT;
ANALYZE;
