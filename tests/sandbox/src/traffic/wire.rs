//! DNS messages (RFC 1035): as much of a question as must be read, and an answer of A, CNAME and TXT records.

use std::net::Ipv4Addr;

use crate::world::route53::{DnsAnswer, DnsRecord};

/// Of a reply whose client did not say that it takes more (RFC 1035, 4.2.1).
const PLAIN_SIZE: usize = 512;
/// The most that is sent to a client that takes more (RFC 6891).
const LARGEST: usize = 4096;

const A: u16 = 1;
const CNAME: u16 = 5;
const TXT: u16 = 16;
const OPT: u16 = 41;

/// One question, and what its reply must repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    id: u16,
    recursion_desired: bool,
    /// As it was asked: a client may look for the case of its letters in the reply.
    asked: Vec<u8>,
    /// In lower case, without the last dot.
    pub(super) name: String,
    kind: u16,
    class: u16,
    /// How large the reply may be.
    size: usize,
}

impl Question {
    /// The type's name; none if nothing has records of it here.
    pub(super) fn kind(&self) -> Option<&'static str> {
        // Only the Internet's class.
        match (self.class, self.kind) {
            (1, A) => Some("A"),
            (1, CNAME) => Some("CNAME"),
            (1, TXT) => Some("TXT"),
            _ => None,
        }
    }

    /// From a message; none if it is not one plain question.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        let mut rest = Bytes(message);
        let (id, flags) = (rest.number()?, rest.number()?);
        let [questions, answers, authorities, additional] =
            [rest.number()?, rest.number()?, rest.number()?, rest.number()?];
        // A query (not a reply) of the standard kind.
        if flags & 0xf800 != 0 || questions != 1 || answers != 0 || authorities != 0 {
            return None;
        }
        let from = rest.0;
        let name = rest.name()?;
        let (kind, class) = (rest.number()?, rest.number()?);
        let asked = from[..from.len() - rest.0.len()].to_vec();
        let mut size = PLAIN_SIZE;
        // What a client takes is said by a record of the root's name.
        if additional > 0 && rest.take(1)? == [0] && rest.number()? == OPT {
            size = usize::from(rest.number()?).clamp(PLAIN_SIZE, LARGEST);
        }
        Some(Self { id, recursion_desired: flags & 0x0100 != 0, asked, name, kind, class, size })
    }

    /// The reply. What does not fit is cut off, and the reply says so.
    pub(super) fn reply(&self, answer: &DnsAnswer) -> Vec<u8> {
        let (code, records): (u16, &[DnsRecord]) = match answer {
            DnsAnswer::Records(records) => (0, records),
            DnsAnswer::NoSuchName => (3, &[]),
            DnsAnswer::Refused => (5, &[]),
        };
        let mut body = self.asked.clone();
        let mut count: u16 = 0;
        let mut cut = false;
        for record in records {
            let mut one = Vec::new();
            if write(record, &mut one).is_none() {
                continue;
            }
            if 12 + body.len() + one.len() > self.size {
                cut = true;
                break;
            }
            body.extend(one);
            count += 1;
        }
        // A reply, authoritative, recursion available.
        let flags = 0x8480 | u16::from(cut) << 9 | u16::from(self.recursion_desired) << 8 | code;
        let header = [self.id, flags, 1, count, 0, 0];
        header.into_iter().flat_map(u16::to_be_bytes).chain(body).collect()
    }
}

/// A reply to what can't be read: format error. None if there is not even an id.
pub(super) fn malformed(message: &[u8]) -> Option<Vec<u8>> {
    let [one, two, flags, ..] = message else { return None };
    // Never reply to a reply.
    (flags & 0x80 == 0).then(|| vec![*one, *two, 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn write(record: &DnsRecord, into: &mut Vec<u8>) -> Option<()> {
    name(&record.name, into);
    let (kind, data) = match record.kind.as_str() {
        "A" => (A, record.values.first()?.parse::<Ipv4Addr>().ok()?.octets().to_vec()),
        "CNAME" => {
            let mut data = Vec::new();
            name(record.values.first()?, &mut data);
            (CNAME, data)
        }
        "TXT" => {
            let mut data = Vec::new();
            for string in &record.values {
                data.push(u8::try_from(string.len()).ok()?);
                data.extend(string.as_bytes());
            }
            (TXT, data)
        }
        _ => return None,
    };
    into.extend(kind.to_be_bytes());
    into.extend(1_u16.to_be_bytes());
    into.extend(record.ttl.to_be_bytes());
    into.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    into.extend(data);
    Some(())
}

/// A name without compression. Route 53 writes odd characters as `\052`.
fn name(name: &str, into: &mut Vec<u8>) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = unescaped(label);
        into.push(u8::try_from(label.len()).unwrap_or(63).min(63));
        into.extend(label.iter().take(63));
    }
    into.push(0);
}

fn unescaped(label: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = label.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// The labels of a question's name, which nobody compresses.
    fn name(&mut self) -> Option<String> {
        let mut labels = Vec::new();
        loop {
            let length = self.take(1)?[0];
            match length {
                0 => break,
                1..=63 => {
                    let label = std::str::from_utf8(self.take(usize::from(length))?).ok()?;
                    labels.push(label.to_ascii_lowercase());
                }
                _ => return None,
            }
        }
        let name = labels.join(".");
        (name.len() <= 253).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question for the TXT records of `a.b`, written by hand.
    const ASKED: &[u8] = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x01a\x01B\0\0\x10\0\x01";

    fn record(kind: &str, values: &[&str]) -> DnsRecord {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        DnsRecord { name: "a.b.".into(), kind: kind.into(), ttl: 30, values }
    }

    #[test]
    fn a_reply_repeats_the_question_and_carries_the_records() {
        let question = Question::read(ASKED).expect("a question");
        assert_eq!((question.name.as_str(), question.kind()), ("a.b", Some("TXT")));
        let reply = question.reply(&DnsAnswer::Records(vec![record("TXT", &["x", "yz"])]));
        let wanted: &[u8] = b"\x12\x34\x85\x80\0\x01\0\x01\0\0\0\0\x01a\x01B\0\0\x10\0\x01\
            \x01a\x01b\0\0\x10\0\x01\0\0\0\x1e\0\x05\x01x\x02yz";
        assert_eq!(reply, wanted);
        let reply =
            question.reply(&DnsAnswer::Records(vec![record("CNAME", &["c."]), record("A", &["127.0.0.2"])]));
        let wanted: &[u8] = b"\x01a\x01b\0\0\x05\0\x01\0\0\0\x1e\0\x03\x01c\0\x01a\x01b\0\0\x01\0\x01\0\0\0\x1e\0\x04\x7f\0\0\x02";
        assert!(reply.ends_with(wanted), "{reply:?}");
        assert_eq!(question.reply(&DnsAnswer::NoSuchName)[3] & 0x0f, 3);
        assert_eq!(question.reply(&DnsAnswer::Refused)[3] & 0x0f, 5);
    }

    #[test]
    fn what_does_not_fit_is_cut_off_and_said_so() {
        let long = DnsAnswer::Records(vec![record("TXT", &["x".repeat(255).as_str(); 2]); 2]);
        let question = Question::read(ASKED).expect("a question");
        let reply = question.reply(&long);
        assert!(reply.len() <= 512);
        assert_eq!(reply[2] & 0x02, 0x02, "truncated");
        let mut asked = ASKED.to_vec();
        asked[11] = 1;
        asked.extend(b"\0\0\x29\x10\0\0\0\0\0\0\0");
        let reply = Question::read(&asked).expect("a question").reply(&long);
        assert!(reply.len() > 1024);
        assert_eq!((reply[2] & 0x02, reply[7]), (0, 2));
    }

    #[test]
    fn escapes_become_bytes_and_rubbish_is_no_question() {
        assert_eq!(unescaped("\\052a"), b"*a");
        assert_eq!(unescaped("a\\"), b"a\\");
        for length in 0..ASKED.len() {
            assert_eq!(Question::read(&ASKED[..length]), None, "{length}");
        }
        let mut reply = ASKED.to_vec();
        reply[2] |= 0x80;
        assert_eq!(Question::read(&reply), None, "a reply");
        assert_eq!(malformed(&reply), None);
        assert_eq!(malformed(ASKED).map(|reply| reply[3]), Some(1));
    }
}
