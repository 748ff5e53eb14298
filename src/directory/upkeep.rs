//! What the store does for its tenants by itself, and what it has to remember of it: when a tenant's key is to be rotated,
//! and how far a sweep of its records has come. A row of its own, because few tenants have one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::entries::Entry;
#[cfg(feature = "backup")]
use super::generations::Tally;
use super::{Directory, Status, Tenant};
use crate::engine::{Batch, Durability, Opaque};
use crate::error::Result;
use crate::keys::Ring;
use crate::keys::lifecycle::{Hindrance, Proof};
use crate::name::Incarnation;
use crate::register::Register;
use crate::seal::{self, Place, Table};

/// By incarnation.
const RESEALS: Table = Table { keyspace: 0, collection: 4 };
/// What a cursor is sealed for, in place of an engine key.
const CURSOR: &[u8] = b"cursor";

/// What is to be done for one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upkeep {
    pub(crate) incarnation: Incarnation,
    /// The age at which its newest generation is to be followed by another.
    pub(crate) rotate_after_secs: Option<u64>,
    /// When the newest generation was made, as far as is known without opening the ring.
    pub(crate) newest_secs: Option<u64>,
    /// The sweep that is not finished.
    pub(crate) sweep: Option<SavedSweep>,
}

/// How far a sweep had come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedSweep {
    /// The engine key from which it goes on, sealed under the tenant's own keys: what a record is called is no business
    /// of the store. Empty at the beginning.
    cursor: Vec<u8>,
    rows: u64,
}

/// A sweep under way.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The engine key of the next row to look at, or one before it.
    pub(crate) from: Vec<u8>,
    /// Rows that it has looked at, those of earlier processes included.
    pub(crate) rows: u64,
    /// About how many there are.
    pub(crate) rows_expected: u64,
    /// Bytes of rows since the cursor was last saved.
    pub(crate) bytes_unsaved: u64,
    pub(crate) found: BTreeMap<u32, Found>,
}

/// Records that a sweep has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Those among them that do not authenticate, so that nobody can seal them again.
    pub(crate) unreadable: u64,
}

/// All tenants that something is to be done for.
pub(super) type Upkeeps = HashMap<Incarnation, Upkeep>;

pub(super) fn read_all(register: &Register) -> Result<Upkeeps> {
    let rows: Vec<Upkeep> = register.list(RESEALS, &[])?;
    Ok(rows.into_iter().map(|upkeep| (upkeep.incarnation, upkeep)).collect())
}

impl Directory {
    /// What is to be done for a tenant by the store itself.
    pub(crate) fn upkeep(&self, tenant: &Tenant) -> Upkeep {
        let known = self.upkeeps.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&tenant.incarnation()).cloned().unwrap_or_else(|| Upkeep::none(tenant.incarnation()))
    }

    /// The tenants that something is to be done for.
    pub(crate) fn tenants_in_upkeep(&self) -> Vec<(Arc<Tenant>, Upkeep)> {
        let known = self.upkeeps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_empty() {
            return Vec::new();
        }
        let living = self.list().into_iter().filter(|tenant| tenant.status() != Status::Destroying);
        living.filter_map(|tenant| Some((tenant.clone(), known.get(&tenant.incarnation())?.clone()))).collect()
    }

    /// Changes what is to be done for a tenant, durably if it is something else then.
    pub(crate) fn change_upkeep(&self, tenant: &Tenant, change: impl FnOnce(&mut Upkeep)) -> Result<()> {
        self.change_upkeep_with(None, tenant, change)
    }

    /// The same in one write with other rows and what the trails say of them, which are written in any case.
    pub(super) fn change_upkeep_with(
        &self,
        others: Option<(Batch, Vec<Entry>)>,
        tenant: &Tenant,
        change: impl FnOnce(&mut Upkeep),
    ) -> Result<()> {
        // While the row is written, so that rows and what is known of them change in one order.
        let mut known = self.upkeeps.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&tenant.incarnation()).cloned().unwrap_or_else(|| Upkeep::none(tenant.incarnation()));
        let mut after = before.clone();
        change(&mut after);
        if after == before && others.is_none() {
            return Ok(());
        }
        let (mut batch, entries) = others.unwrap_or_else(|| (Batch::new(Durability::Synced), Vec::new()));
        let incarnation = tenant.incarnation();
        let key: [&[u8]; 1] = [incarnation.as_bytes()];
        match after.is_nothing() {
            true => self.register.delete(&mut batch, RESEALS, &key)?,
            false => self.register.put(&mut batch, RESEALS, &key, &after)?,
        }
        self.trails.apply(batch, entries)?;
        match after.is_nothing() {
            true => drop(known.remove(&tenant.incarnation())),
            false => drop(known.insert(tenant.incarnation(), after)),
        }
        Ok(())
    }

    /// Adds to the batch that ends a tenant that nothing is to be done for it any more.
    pub(super) fn end_upkeep(&self, batch: &mut Batch, tenant: &Tenant) -> Result<()> {
        self.upkeeps.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant.incarnation());
        self.register.delete(batch, RESEALS, &[tenant.incarnation().as_bytes()])
    }

    /// A backup is under way while the tally lives.
    #[cfg(feature = "backup")]
    pub(crate) fn backup_begins(&self) -> Tally<'_> {
        Tally::of(&self.backups)
    }

    /// The proof that the key of a generation can be destroyed, or what is in the way of it.
    pub(crate) fn can_destroy(&self, tenant: &Tenant, generation: u32) -> Result<Result<Proof, Vec<Hindrance>>> {
        let ring = tenant.ring_for_custody()?;
        let backups = self.backups.load(std::sync::atomic::Ordering::SeqCst);
        Ok(tenant.can_destroy(generation, &ring, backups))
    }
}

impl Upkeep {
    fn none(incarnation: Incarnation) -> Self {
        Self { incarnation, rotate_after_secs: None, newest_secs: None, sweep: None }
    }

    /// A sweep is to be made, unless one is under way.
    pub(crate) fn begin_sweep(&mut self) {
        self.sweep.get_or_insert_default();
    }

    fn is_nothing(&self) -> bool {
        self.rotate_after_secs.is_none() && self.sweep.is_none()
    }
}

impl SavedSweep {
    /// How far `sweep` has come.
    pub(crate) fn of(sweep: &Sweep, ring: &Ring, nonce: &[u8; 24]) -> Result<Self> {
        let cursor = match sweep.from.as_slice() {
            [] => Vec::new(),
            from => seal::seal(ring, cursor_place(), nonce, from)?.into_bytes(),
        };
        Ok(Self { cursor, rows: sweep.rows })
    }

    /// The sweep, to be gone on with. From the beginning if the cursor does not open: then its generation was retired,
    /// and looking at a row twice does no harm.
    pub(crate) fn resume(&self, ring: &Ring) -> Sweep {
        if self.cursor.is_empty() {
            return Sweep::default();
        }
        match seal::open(ring, cursor_place(), &self.cursor) {
            Ok(from) => Sweep { from: from.value().to_vec(), rows: self.rows, ..Sweep::default() },
            Err(_) => Sweep::default(),
        }
    }
}

fn cursor_place() -> Place<'static> {
    Place { collection: RESEALS.collection, engine_key: CURSOR }
}

impl Sweep {
    /// 0 to 99 until it has come to its end.
    pub(crate) fn percent(&self) -> u8 {
        let percent = self.rows.saturating_mul(100) / self.rows_expected.max(1);
        u8::try_from(percent.min(99)).unwrap_or(99)
    }
}
