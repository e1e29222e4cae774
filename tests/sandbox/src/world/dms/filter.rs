//! Filters and paging, the same for every describe.
//!
//! | rule | source |
//! |---|---|
//! | a filter's name must be one of the operation's; its values are alternatives; filters are all to hold | API model |
//! | `MaxRecords` 20..100 (table statistics 20..500), default the largest | API model |
//! | a filter that matches nothing is `ResourceNotFoundFault` | `*Deleted` waiters of the API model; switch `empty-list-for-nothing` |

use serde::Deserialize;

use crate::world::{Refusal, Switches};

/// One filter.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Filter {
    /// Which attribute.
    pub name: String,
    /// Any of these.
    pub values: Vec<String>,
}

/// The arguments that every describe shares.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Describe {
    /// What to show; everything without.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Page size.
    pub max_records: Option<usize>,
    /// Where the last page ended.
    pub marker: Option<String>,
}

impl Describe {
    /// Everything whose attribute has this value.
    pub fn one(name: &str, value: &str) -> Self {
        let filter = Filter { name: name.to_owned(), values: vec![value.to_owned()] };
        Self { filters: vec![filter], ..Self::default() }
    }
}

/// One page of an answer.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins, if there is one.
    pub marker: Option<String>,
}

/// Filters and cuts `all` (key, attributes by filter name, item) to one page. `attributes` names every filter known.
pub(super) fn page<T>(
    call: &Describe,
    largest: usize,
    attributes: &[&str],
    switches: Switches,
    what: &str,
    all: impl Iterator<Item = (String, Vec<String>, T)>,
) -> Result<Page<T>, Refusal> {
    let size = call.max_records.unwrap_or(largest);
    if !(20..=largest).contains(&size) {
        return Err(Refusal::value(format!("MaxRecords {size} is not between 20 and {largest}")));
    }
    let mut wanted = Vec::new();
    for filter in &call.filters {
        let position = attributes.iter().position(|name| *name == filter.name).ok_or_else(|| {
            Refusal::value(format!("{what} can't be filtered by {:?}, but by {attributes:?}", filter.name))
        })?;
        wanted.push((position, &filter.values));
    }
    let matches: Vec<(String, T)> = all
        .filter(|(_, have, _)| wanted.iter().all(|(position, values)| values.contains(&have[*position])))
        .map(|(key, _, item)| (key, item))
        .collect();
    if matches.is_empty() && !call.filters.is_empty() && !switches.empty_list_for_nothing {
        return Err(Refusal::not_found(format!("no {what} matches the filters")));
    }
    let rest = matches.into_iter().filter(|(key, _)| call.marker.as_ref().is_none_or(|marker| key > marker));
    let mut taken: Vec<(String, T)> = rest.take(size + 1).collect();
    let more = taken.len() > size;
    taken.truncate(size);
    let marker = taken.last().filter(|_| more).map(|(key, _)| key.clone());
    Ok(Page { items: taken.into_iter().map(|(_, item)| item).collect(), marker })
}
