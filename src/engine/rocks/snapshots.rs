//! The snapshots of a database's scans: counted, handed over when a cell opens for writing, and taken back from a
//! scan that stands still while its cell is to be closed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use super::super::{Keyspace, Page, View};
use super::database::{Database, OwnedSnapshot};
use super::shared::Ticks;
use crate::error::{Error, ErrorKind, Result};

/// The scans that hold on to one database.
#[derive(Default)]
pub(super) struct Snapshots {
    held: Mutex<Vec<Weak<Held>>>,
}

/// One scan's snapshot.
struct Held {
    /// `None` once it has been taken back.
    snapshot: RwLock<Option<Arc<OwnedSnapshot>>>,
    ticks: Ticks,
    since: u64,
    last_used: AtomicU64,
}

pub(super) struct RocksView(Arc<Held>);

/// What is put up with of scans in a database that is to be closed, in ticks: standing still for less than this, and
/// being younger than that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) still: u64,
    pub(crate) old: u64,
}

impl Patience {
    /// Every scan has to go.
    pub(crate) const NONE: Self = Self { still: 0, old: 0 };
}

impl Snapshots {
    pub(super) fn take(&self, database: &Arc<Database>, ticks: &Ticks) -> RocksView {
        let now = ticks.now();
        let held = Arc::new(Held {
            snapshot: RwLock::new(Some(OwnedSnapshot::take(database))),
            ticks: ticks.clone(),
            since: now,
            last_used: AtomicU64::new(now),
        });
        self.add([Arc::downgrade(&held)]);
        RocksView(held)
    }

    /// Takes over the scans of a reader whose database holds, at this moment, exactly what `database` holds.
    pub(super) fn take_over(&self, others: &Self, database: &Arc<Database>) {
        let others = std::mem::take(&mut *others.lock());
        let living: Vec<_> = others.iter().filter_map(Weak::upgrade).collect();
        if living.is_empty() {
            return;
        }
        let snapshot = OwnedSnapshot::take(database);
        for held in &living {
            let mut theirs = held.write();
            if theirs.is_some() {
                *theirs = Some(snapshot.clone());
            }
        }
        self.add(living.iter().map(Arc::downgrade));
    }

    /// Takes back the snapshots of scans that try one's patience. False if others are left.
    pub(super) fn revoke(&self, patience: Patience) -> bool {
        let mut are_gone = true;
        for held in self.living() {
            let now = held.ticks.now();
            let stood_still = now.saturating_sub(held.last_used.load(Ordering::Relaxed));
            if stood_still >= patience.still || now.saturating_sub(held.since) >= patience.old {
                *held.write() = None;
            } else {
                are_gone &= held.write().is_none();
            }
        }
        are_gone
    }

    /// When one of them was last read, in ticks; 0 if there is none.
    pub(super) fn last_used(&self) -> u64 {
        self.living().iter().map(|held| held.last_used.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    pub(super) fn are_there(&self) -> bool {
        self.living().iter().any(|held| held.write().is_some())
    }

    /// Those whose scans have not been dropped. The list is not locked while they are looked at.
    fn living(&self) -> Vec<Arc<Held>> {
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn add(&self, new: impl IntoIterator<Item = Weak<Held>>) {
        let mut held = self.lock();
        if held.len() == held.capacity() {
            held.retain(|held| held.strong_count() > 0);
        }
        held.extend(new);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Option<Arc<OwnedSnapshot>>> {
        self.snapshot.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Result<Arc<OwnedSnapshot>> {
        self.last_used.store(self.ticks.now(), Ordering::Relaxed);
        let snapshot = self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone();
        snapshot.ok_or_else(|| {
            Error::new(ErrorKind::Closed, "the scan stood still while its cell was needed; begin it again")
                .answered(503)
        })
    }
}

impl View for RocksView {
    fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.0.snapshot()?.get(keyspace, key, read)
    }

    fn page(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, limit_bytes: usize) -> Result<Page> {
        self.0.snapshot()?.page(keyspace, from, to, limit_bytes)
    }
}
