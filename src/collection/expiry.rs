//! Removing records that have expired: the collections that have such records are looked through, page by page, and
//! what has expired is removed as it was found. What was written anew meanwhile is another record, and stays.

use std::sync::Arc;

use super::catalog::{CATALOG, EXPIRING};
use super::chunks::Object;
use super::write::is_damage;
use crate::directory::{Directory, Tenant};
use crate::engine::{Batch, Durability, Row, end_of_prefix};
use crate::error::{ErrorKind, Result};
use crate::keys::Ring;
use crate::seal::{self, Place, Record, Table};

/// Bytes of rows that are looked at in one step.
const PAGE_BYTES: usize = 128 << 10;
/// Rows that are removed in one batch; the last record's chunks come on top.
const ROWS_PER_BATCH: usize = 1024;

/// What one step has done.
pub(crate) struct Collected {
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Whether the round goes on.
    pub(crate) goes_on: bool,
}

/// A record that has expired, as it was found.
struct Expired {
    key: Vec<u8>,
    head: Vec<u8>,
    object: Option<Object>,
    expires_ms: u64,
}

/// Looks at the next page of a tenant's records that may expire, of the round that is under way or a new one.
///
/// # Errors
/// Those of the engine and of the tenant's status: the page is looked at again then.
pub(crate) fn collect_page(directory: &Directory, tenant: &Tenant, ring: &Arc<Ring>) -> Result<Collected> {
    let mut round = tenant.expiring().go_on();
    let from = round.from.clone().unwrap_or_default();
    let (view, catalog) = (tenant.view()?, Table { keyspace: tenant.keyspace(), collection: CATALOG });
    let mut collections: Vec<u32> = catalog.list(&*view, ring, &[EXPIRING])?;
    collections.sort_unstable();
    let ranges = collections.iter().map(|id| (id.to_be_bytes(), end_of_prefix(&id.to_be_bytes())));
    let next = ranges.into_iter().find(|(_, end)| end.as_ref().is_none_or(|end| from < *end));
    let Some((begin, end)) = next else {
        directory.round_ended(tenant, round)?;
        return Ok(Collected { bytes: 0, goes_on: false });
    };
    let page = view.page(tenant.keyspace(), from.as_slice().max(&begin), end.as_deref(), PAGE_BYTES)?;
    drop(view);
    let bytes = page.rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
    let last = page.rows.last().map(|(key, _)| [key, &[0][..]].concat()).filter(|_| page.more);
    let expired = find_expired(tenant, ring, directory.now_ms(), page.rows)?;
    if remove(tenant, ring, &expired)? {
        round.from = last.or(end);
    }
    Ok(Collected { bytes, goes_on: true })
}

/// The records among these rows that have expired. When the others do is noted.
fn find_expired(tenant: &Tenant, ring: &Ring, now_ms: u64, rows: Vec<Row>) -> Result<Vec<Expired>> {
    let mut expired = Vec::new();
    for (key, bytes) in rows {
        let head = seal::peek_head(&bytes).to_vec();
        let Some(collection) = key.first_chunk().map(|id| u32::from_be_bytes(*id)) else { continue };
        let found = seal::open_record(ring, Place { collection, engine_key: &key }, bytes).and_then(|record| {
            let object = match &record {
                Record::Whole(_) => None,
                Record::Head(head) => Some(Object::of_head(collection, head)?),
            };
            Ok((record.expires_ms(), object))
        });
        match found {
            Ok((Some(expires_ms), object)) if expires_ms <= now_ms => {
                expired.push(Expired { key, head, object, expires_ms });
            }
            Ok((expires_ms, _)) => expires_ms.into_iter().for_each(|at| tenant.expiring().note(at)),
            // Whether it has expired nobody can tell: it stays, and whoever reads it hears of it.
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(expired)
}

/// Removes records, each only if it is what was found. False if the tenant's ring has been changed meanwhile: then nothing
/// was, or not all.
fn remove(tenant: &Tenant, ring: &Arc<Ring>, mut expired: &[Expired]) -> Result<bool> {
    if expired.is_empty() {
        return Ok(true);
    }
    // Before the gate, for which a suspension waits: a cell that is shut may take its time.
    let engine = tenant.writer()?;
    let Some(_writing) = tenant.begin_upkeep(ring)? else { return Ok(false) };
    let mut alone = 0;
    while !expired.is_empty() {
        let (mut batch, mut rows, mut count) = (Batch::new(Durability::Buffered), 0, 0);
        for record in expired {
            rows += record.delete(&mut batch, tenant);
            count += 1;
            if rows >= ROWS_PER_BATCH || alone > 0 {
                break;
            }
        }
        let (these, rest) = expired.split_at(count);
        match engine.apply(batch) {
            Ok(()) => metrics::counter!("strongroom_expired_total").increment(count as u64),
            // Somebody has changed one of them: one by one, then, to find which.
            Err(error) if error.kind() == ErrorKind::Conflict && count > 1 => {
                alone = count;
                continue;
            }
            // Written anew, and noted by whoever wrote it, or sealed again, and to be looked at in the next round.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                these.iter().for_each(|record| tenant.expiring().note(record.expires_ms));
            }
            Err(error) => return Err(error),
        }
        (expired, alone) = (rest, alone.saturating_sub(1));
    }
    Ok(true)
}

impl Expired {
    /// Adds the removal of the record and its chunks to `batch`. Returns how many rows that are.
    fn delete(&self, batch: &mut Batch, tenant: &Tenant) -> usize {
        let keyspace = tenant.keyspace();
        batch.expect_head(keyspace, self.key.clone(), self.head.clone());
        batch.delete(keyspace, self.key.clone());
        1 + self.object.map_or(0, |object| object.delete(batch, keyspace))
    }
}

#[cfg(test)]
mod tests;
