//! The engine in memory: for tests, fuzzing, Miri, and services' own tests. Nothing outlives it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

#[cfg(feature = "tokio")]
use super::AtHand;
use super::{Batch, Engine, Keyspace, Op, Page, Reader, View};
use crate::error::{Error, Result};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// Keyspaces as copy-on-write maps: a view holds on to the maps of its moment.
pub(crate) struct MemoryEngine {
    tables: RwLock<Vec<Arc<Table>>>,
}

struct MemoryView {
    tables: Vec<Arc<Table>>,
}

impl MemoryEngine {
    pub(crate) fn new(keyspaces: u32) -> Self {
        Self { tables: RwLock::new((0..keyspaces).map(|_| Arc::default()).collect()) }
    }

    fn table(&self, keyspace: Keyspace) -> Result<Arc<Table>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.get(keyspace as usize).cloned().ok_or_else(no_such_keyspace)
    }
}

impl Reader for MemoryEngine {
    fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.table(keyspace)?.get(key).map(|value| read(value)).is_some())
    }

    #[cfg(feature = "tokio")]
    fn get_at_hand(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<AtHand> {
        // A writer may be copying a table that somebody has a snapshot of.
        let Ok(table) = self.tables.try_read().map(|tables| tables.get(keyspace as usize).cloned()) else {
            return Ok(AtHand::Unknown);
        };
        let found = table.ok_or_else(no_such_keyspace)?.get(key).map(|value| read(value));
        Ok(found.map_or(AtHand::Absent, |()| AtHand::Found))
    }

    fn multi_get(&self, keyspace: Keyspace, keys: &[Vec<u8>], read: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let table = self.table(keyspace)?;
        for (place, key) in keys.iter().enumerate() {
            if let Some(value) = table.get(key) {
                read(place, value);
            }
        }
        Ok(())
    }

    fn estimate_rows(&self, keyspace: Keyspace) -> Result<u64> {
        Ok(self.table(keyspace)?.len() as u64)
    }

    fn view(&self) -> Result<Box<dyn View>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Box::new(MemoryView { tables }))
    }
}

impl Engine for MemoryEngine {
    fn apply(&self, batch: Batch) -> Result<()> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let count = tables.len();
        if batch.ops.iter().any(|op| op.keyspace() as usize >= count) {
            return Err(no_such_keyspace());
        }
        for expectation in &batch.expectations {
            let table = tables.get(expectation.keyspace as usize).ok_or_else(no_such_keyspace)?;
            if !expectation.holds_for(table.get(&expectation.key).map(Vec::as_slice)) {
                return Err(Error::conflict("the record is not as expected"));
            }
        }
        for op in batch.ops {
            let table = Arc::make_mut(&mut tables[op.keyspace() as usize]);
            match op {
                Op::Put { key, value, .. } => drop(table.insert(key, value)),
                Op::Delete { key, .. } => drop(table.remove(&key)),
                Op::DeleteRange { from, to, .. } => {
                    table.retain(|key, _| key < &from || to.as_ref().is_some_and(|to| key >= to));
                }
            }
        }
        Ok(())
    }

    fn wipe(&self, keyspace: Keyspace) -> Result<bool> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        *tables.get_mut(keyspace as usize).ok_or_else(no_such_keyspace)? = Arc::default();
        Ok(true)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    #[cfg(feature = "backup")]
    fn checkpoint(&self, _: &std::path::Path) -> Result<()> {
        Err(Error::invalid("a store in memory has no files to back up"))
    }
}

impl MemoryView {
    fn table(&self, keyspace: Keyspace) -> Result<&Table> {
        self.tables.get(keyspace as usize).map(Arc::as_ref).ok_or_else(no_such_keyspace)
    }
}

impl View for MemoryView {
    fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.table(keyspace)?.get(key).map(|value| read(value)).is_some())
    }

    fn page(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, limit_bytes: usize) -> Result<Page> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Page::default());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let mut page = Page::default();
        let mut held = 0;
        for (key, value) in self.table(keyspace)?.range::<[u8], _>(bounds) {
            if held >= limit_bytes {
                page.more = true;
                break;
            }
            held += key.len() + value.len();
            page.rows.push((key.clone(), value.clone()));
        }
        Ok(page)
    }
}

fn no_such_keyspace() -> Error {
    Error::internal("no such keyspace")
}
