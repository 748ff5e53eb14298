//! Counting a tenant's records by generation: every envelope says its own, and nothing is opened.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sweep::{PAGE_BYTES, after, size};
use crate::directory::Tenant;
use crate::error::Result;
use crate::seal;

/// A tenant's records, by generation. Counted now, from nothing but the records: there is no counter that could be wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Census {
    /// The generations that records name, oldest first.
    pub generations: Vec<GenerationCensus>,
    /// Rows that are no envelopes.
    pub damaged: u64,
}

/// The records of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GenerationCensus {
    /// Its number.
    pub generation: u32,
    /// How many they are: those of the tenant's collections, chunks of long values, and the catalog's.
    pub records: u64,
    /// Their keys and values as they lie in the box, in bytes.
    pub bytes: u64,
}

/// Counts. Writes go on meanwhile: a record that is written during it may be counted as it was before, as it is after, or
/// not at all if it is new.
pub(crate) fn census(tenant: &Tenant, check: &dyn Fn() -> Result<()>) -> Result<Census> {
    let (mut generations, mut damaged) = (BTreeMap::<u32, GenerationCensus>::new(), 0);
    let mut from = Vec::new();
    loop {
        check()?;
        // A snapshot for each page, so that a long count holds none.
        let page = tenant.reader()?.view()?.page(tenant.keyspace(), &from, None, PAGE_BYTES)?;
        for (key, bytes) in &page.rows {
            let Some(generation) = seal::peek_generation(bytes) else {
                damaged += 1;
                continue;
            };
            let none = GenerationCensus { generation, records: 0, bytes: 0 };
            let counted = generations.entry(generation).or_insert(none);
            counted.records += 1;
            counted.bytes += size(key, bytes);
        }
        match page.rows.last() {
            Some((last, _)) if page.more => from = after(last),
            _ => return Ok(Census { generations: generations.into_values().collect(), damaged }),
        }
    }
}
