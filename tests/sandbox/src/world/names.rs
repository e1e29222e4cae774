//! Identifiers, ARNs and the network they live in.
//!
//! | rule | source |
//! |---|---|
//! | identifiers: letter first, letters, digits and single hyphens, none at the end; instance at most 63, others 255 | API model of each create call |
//! | `ResourceIdentifier`: at most 31 characters, same rules | API model of CreateEndpoint |
//! | an ARN's tail is generated unless `ResourceIdentifier` is given | API model of CreateEndpoint |

use super::Refusal;

/// A subnet that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-…`
    pub id: String,
    /// Availability zone.
    pub zone: String,
    /// The VPC it is in.
    pub vpc: String,
}

impl Subnet {
    /// Three subnets in three zones of one VPC.
    pub fn three() -> Vec<Self> {
        ["a", "b", "c"]
            .into_iter()
            .map(|letter| Self {
                id: format!("subnet-0{letter}5a1d0000000000{letter}"),
                zone: format!("eu-central-1{letter}"),
                vpc: "vpc-05a1d000000000001".to_owned(),
            })
            .collect()
    }
}

/// Makes ARNs, and knows account, region and subnets.
#[derive(Clone, Debug)]
pub struct Names {
    account: String,
    region: String,
    seed: u64,
    made: u64,
    pub(super) subnets: Vec<Subnet>,
}

/// The letters of a generated tail.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

impl Names {
    pub(super) fn new(account: String, region: String, seed: u64, subnets: Vec<Subnet>) -> Self {
        Self { account, region, seed, made: 0, subnets }
    }

    /// The account's number.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The ARN of a thing of a service.
    pub fn arn(&self, service: &str, kind: &str, tail: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{kind}:{tail}", self.region, self.account)
    }

    /// A tail as AWS generates them: 26 of `A-Z2-7`.
    pub(super) fn tail(&mut self, wanted: Option<&str>) -> Result<String, Refusal> {
        if let Some(wanted) = wanted {
            check("ResourceIdentifier", wanted, 31)?;
            return Ok(wanted.to_owned());
        }
        let mut tail = String::with_capacity(26);
        while tail.len() < 26 {
            self.made += 1;
            let mut bits = mix(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(self.made));
            for _ in 0..12 {
                tail.push(char::from(LETTERS[usize::from((bits & 31) as u8)]));
                bits >>= 5;
            }
        }
        tail.truncate(26);
        Ok(tail)
    }
}

/// The finishing step of splitmix64: neighbouring counters give unrelated bits.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// Refuses an identifier that AWS refuses.
pub(super) fn check(what: &str, value: &str, longest: usize) -> Result<(), Refusal> {
    let fault = if value.is_empty() || value.len() > longest {
        Some(format!("must have 1 to {longest} characters"))
    } else if !value.starts_with(|first: char| first.is_ascii_alphabetic()) {
        Some("must begin with a letter".to_owned())
    } else if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        Some("must contain only ASCII letters, digits and hyphens".to_owned())
    } else if value.ends_with('-') || value.contains("--") {
        Some("must not end with a hyphen or contain two consecutive hyphens".to_owned())
    } else {
        None
    };
    fault.map_or(Ok(()), |fault| Err(Refusal::value(format!("{what} {value:?} {fault}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_follow_the_api_model() {
        for good in ["a", "replication-instance-prod-eu1", "A9"] {
            check("id", good, 63).expect(good);
        }
        let long = "a".repeat(64);
        for bad in ["", "1a", "a-", "a--b", "a_b", "ä", long.as_str()] {
            assert_eq!(check("id", bad, 63).expect_err(bad).code, "InvalidParameterValueException");
        }
    }

    #[test]
    fn generated_tails_differ_and_repeat_with_the_seed() {
        let new = |seed| Names::new("1".into(), "r".into(), seed, Vec::new());
        let (mut one, mut same, mut other) = (new(1), new(1), new(2));
        let first = one.tail(None).expect("generated");
        assert_eq!(first.len(), 26);
        assert_eq!(first, same.tail(None).expect("generated"));
        assert_ne!(first, other.tail(None).expect("generated"));
        assert_ne!(first, one.tail(None).expect("generated"));
    }
}
