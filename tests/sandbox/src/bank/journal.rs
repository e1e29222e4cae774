//! The load's own account of what it wrote, on disk before it counts, and the check of a database against it.
//!
//! A write is put down as sent before it goes out, and its outcome when the answer has come. Three outcomes are told
//! apart: *acknowledged* (it must be there, once), *refused* (it must not be there), *unknown* (the answer was lost: there
//! once or not at all). An unknown write is sent again with the same key, and so becomes *present* (the first attempt had
//! been carried out) or acknowledged. A write without an outcome, as of a load that was killed, is unknown.
//!
//! Each line is one `write` to the file, so it outlives the process that wrote it, however that ends.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tokio_postgres::Client;

use crate::postgres::Error;

/// So many rows are named when a check fails.
const NAMED: usize = 10;

/// The key of one write: the run of a load, its session, and the number of the write in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Key {
    run: u32,
    session: u16,
    number: u64,
}

impl Key {
    pub(super) fn new(run: u32, session: u16, number: u64) -> Self {
        Self { run, session, number: number & 0xFFFF_FFFF_FFFF }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let run = u32::from_str_radix(parts.next()?, 16).ok()?;
        let session = u16::from_str_radix(parts.next()?, 16).ok()?;
        let fixed = (parts.next()?, parts.next()?);
        let number = u64::from_str_radix(parts.next()?, 16).ok()?;
        let key = Self { run, session, number };
        (fixed == FIXED && key.to_string() == text).then_some(key)
    }
}

/// The groups in the middle of every key: they make it a UUID of version 4 by its form.
const FIXED: (&str, &str) = ("4000", "8000");

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, session, number } = self;
        write!(f, "{run:08x}-{session:04x}-{}-{}-{number:012x}", FIXED.0, FIXED.1)
    }
}

/// What is put down of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It goes out now, for the first time.
    Sent,
    /// It was carried out.
    Acknowledged,
    /// It was not carried out.
    Refused,
    /// The answer was lost.
    Unknown,
    /// It was sent again, and had been carried out by an earlier attempt.
    Present,
}

impl Word {
    const ALL: [Self; 5] = [Self::Sent, Self::Acknowledged, Self::Refused, Self::Unknown, Self::Present];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Acknowledged => "acknowledged",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Present => "present",
        }
    }
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Opens the file, and goes on behind what is in it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Puts down one word on one write; it is in the file when this returns.
    pub fn note(&self, key: Key, word: Word) -> io::Result<()> {
        let line = format!("{key} {}\n", word.as_str());
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the disk has it too.
    pub fn sync(&self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).sync_data()
    }
}

/// What a journal says of one write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    /// Acknowledged, refused or present; none while nobody knows.
    outcome: Option<Word>,
    /// Some answer was lost.
    unknown: bool,
}

/// A journal that was read.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: HashMap<Key, Entry>,
}

impl Ledger {
    /// Reads a file. A last line without an end, of a load that was killed while it wrote, does not count.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        Self::parse(&text).map_err(|line| {
            format!("{}, line {line}: no line of a journal; was the file edited?", path.display())
        })
    }

    /// The number of the line that is none, if one is.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut entries: HashMap<Key, Entry> = HashMap::new();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in whole.lines().enumerate() {
            let read = line.split_once(' ').and_then(|(key, word)| {
                Some((Key::parse(key)?, Word::ALL.into_iter().find(|known| known.as_str() == word)?))
            });
            let (key, word) = read.ok_or(number + 1)?;
            let entry = entries.entry(key).or_default();
            match word {
                Word::Sent => {}
                Word::Unknown => entry.unknown = true,
                Word::Acknowledged | Word::Refused | Word::Present => entry.outcome = Some(word),
            }
        }
        Ok(Self { entries })
    }

    /// Writes put down.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing was put down.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Compares with the keys of a database, each with the number of its rows.
    fn compare(&self, rows: &HashMap<Key, i64>, strange: Vec<String>) -> Verdict {
        let mut verdict = Verdict { unexpected: strange, ..Verdict::default() };
        for (key, entry) in &self.entries {
            let found = rows.get(key).copied().unwrap_or(0);
            if found > 1 {
                verdict.duplicated.push(key.to_string());
            }
            match entry.outcome {
                Some(Word::Refused) if found > 0 => {
                    verdict.unexpected.push(format!("{key}, which was refused"));
                }
                Some(Word::Refused) | None => {}
                Some(_) => {
                    verdict.acknowledged += 1;
                    if found > 0 {
                        verdict.found += 1;
                    } else {
                        verdict.missing.push(key.to_string());
                    }
                }
            }
            if entry.unknown || entry.outcome.is_none() {
                let present = match entry.outcome {
                    Some(word) => word == Word::Present,
                    None => found > 0,
                };
                if present {
                    verdict.present += 1;
                } else {
                    verdict.absent += 1;
                }
            }
        }
        let unknown = rows.keys().filter(|key| !self.entries.contains_key(key));
        verdict.unexpected.extend(unknown.map(|key| format!("{key}, which is not in the journal")));
        for list in [&mut verdict.missing, &mut verdict.duplicated, &mut verdict.unexpected] {
            list.sort();
        }
        verdict
    }
}

/// What the check of a database against a journal found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Writes that were acknowledged, at once or when they were sent again.
    pub acknowledged: u64,
    /// Of these, those that are there.
    pub found: u64,
    /// Acknowledged and not there.
    pub missing: Vec<String>,
    /// There more than once.
    pub duplicated: Vec<String>,
    /// There, and should not be: refused, or never sent.
    pub unexpected: Vec<String>,
    /// Writes of which an answer was lost, and that had been carried out all the same.
    pub present: u64,
    /// Writes of which an answer was lost, and that had not been carried out then.
    pub absent: u64,
}

impl Verdict {
    /// Nothing is missing, twice, or there without a reason.
    pub fn holds(&self) -> bool {
        self.missing.is_empty() && self.duplicated.is_empty() && self.unexpected.is_empty()
    }

    /// One line for each row that is not as it should be, the first few of each kind.
    pub fn complaints(&self) -> Vec<String> {
        let lists = [
            ("missing", &self.missing),
            ("duplicated", &self.duplicated),
            ("there without a reason", &self.unexpected),
        ];
        let named = lists.into_iter().flat_map(|(word, keys)| {
            let more = keys.len().saturating_sub(NAMED);
            let rest = (more > 0).then(|| format!("{word}: {more} more"));
            keys.iter().take(NAMED).map(move |key| format!("{word}: {key}")).chain(rest)
        });
        named.collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, found, missing, duplicated, unexpected, present, absent } = self;
        write!(
            f,
            "journal: {acknowledged} acknowledged, {found} found, {} missing, {} duplicated; {} unknown ({present} \
             present, {absent} absent)",
            missing.len(),
            duplicated.len(),
            present + absent
        )?;
        if !unexpected.is_empty() {
            write!(f, "; {} there without a reason", unexpected.len())?;
        }
        Ok(())
    }
}

/// Reads the keys of all requests in a database, and compares them with the journal.
pub async fn check(database: &Client, ledger: &Ledger) -> Result<Verdict, Error> {
    let attempt = "reading the keys of all requests";
    // The rows themselves are asked: an index may hide one that is there twice.
    let settings = "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off";
    database.batch_execute(settings).await.map_err(Error::sql(attempt))?;
    let sql = "SELECT key::text, count(*) FROM public.requests GROUP BY key";
    let mut rows = HashMap::new();
    let mut strange = Vec::new();
    for row in database.query(sql, &[]).await.map_err(Error::sql(attempt))? {
        let (text, count): (&str, i64) = (row.get(0), row.get(1));
        match Key::parse(text) {
            Some(key) => drop(rows.insert(key, count)),
            None => strange.push(format!("{text}, which is not in the journal")),
        }
    }
    Ok(ledger.compare(&rows, strange))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(number: u64) -> Key {
        Key::new(0x5eed, 3, number)
    }

    #[test]
    fn a_key_comes_back_and_nothing_else_is_one() {
        let shown = key(77).to_string();
        assert_eq!(shown, "00005eed-0003-4000-8000-00000000004d");
        assert_eq!(Key::parse(&shown), Some(key(77)));
        for other in ["", "x", "00005eed-0003-4000-8000-4d", "00005eed-0003-4000-9000-00000000004d"] {
            assert_eq!(Key::parse(other), None, "{other}");
        }
    }

    #[test]
    fn each_outcome_is_counted_as_what_it_is() {
        let mut text = String::new();
        for (number, words) in [
            (1, "sent acknowledged"),
            (2, "sent refused"),
            (3, "sent unknown present"),
            (4, "sent unknown unknown acknowledged"),
            (5, "sent unknown"),
            (6, "sent"),
        ] {
            for word in words.split(' ') {
                text += &[&key(number).to_string(), " ", word, "\n"].concat();
            }
        }
        text += "00005eed-00"; // the load was killed here
        let ledger = Ledger::parse(&text).unwrap();
        assert_eq!(ledger.len(), 6);
        let there = |numbers: &[u64]| numbers.iter().map(|number| (key(*number), 1)).collect();
        let verdict = ledger.compare(&there(&[1, 3, 4, 5]), Vec::new());
        assert!(verdict.holds());
        assert_eq!(
            verdict.to_string(),
            "journal: 3 acknowledged, 3 found, 0 missing, 0 duplicated; 4 unknown (2 present, 2 absent)"
        );

        let mut rows: HashMap<Key, i64> = there(&[2, 3, 4, 9]);
        rows.insert(key(4), 2);
        let verdict = ledger.compare(&rows, Vec::new());
        assert!(!verdict.holds());
        assert_eq!(verdict.missing, [key(1).to_string()]);
        assert_eq!(verdict.duplicated, [key(4).to_string()]);
        assert_eq!(verdict.unexpected.len(), 2, "{verdict:?}");
        assert_eq!(verdict.complaints().len(), 4);
    }

    #[test]
    fn what_is_no_journal_is_refused_with_its_line() {
        assert_eq!(Ledger::parse("hello\n").unwrap_err(), 1);
        assert_eq!(Ledger::parse(&format!("{} sent\n{} sold\n", key(1), key(1))).unwrap_err(), 2);
    }
}
