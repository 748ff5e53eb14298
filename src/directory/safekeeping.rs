//! What backups and escrows ask of the directory: a moment in which nothing changes, who is covered by an escrow, who
//! has been deleted, and rows that come back.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::escrows::{EXPORT_COUNT, Escrow};
use super::purge::{PURGES, RECEIPTS};
use super::tombstone::{TOMBSTONES, Tombstone, entomb};
use super::{
    Arc, Batch, Cells, DIRTY, Directory, Durability, Error, Newcomer, Result, Ring, Row, STORE, Status, TENANTS, Table,
    Tenant, dirty_key, keys,
};
use crate::audit::{Act, Actor, Event};
use crate::cells::Cell;
use crate::engine::View;
use crate::error::ErrorKind;
use crate::name::{Incarnation, TenantName};
use crate::seal::{Envelope, HiddenNames};
use crate::secret::Key32;

/// Incarnations whose rings have been exported, and as what.
const EXPORTS: Table = Table { keyspace: 0, collection: 8 };
/// Rows changed at once.
const BATCH_ROWS: usize = 1024;

/// What the store remembers of an exported ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Export {
    pub(crate) incarnation: Incarnation,
    epoch: u32,
    sequence: u64,
    exported_secs: u64,
    /// SHA-256 of the escrow.
    escrow: [u8; 32],
}

impl Directory {
    /// The store's id: the incarnation of tenant zero.
    pub(crate) fn store_id(&self) -> Incarnation {
        self.register.store_id()
    }

    pub(crate) fn cells(&self) -> &Arc<Cells> {
        &self.cells
    }

    /// Where root keys lie, if they are files.
    pub(crate) fn roots_locations(&self) -> Vec<&std::path::Path> {
        self.register.roots().locations()
    }

    /// Lends the rows while no tenant is made, deleted, suspended, resumed or stamped. Records are written all the
    /// while.
    pub(crate) fn hold_still<T>(&self, work: impl FnOnce(&[Row]) -> Result<T>) -> Result<T> {
        let _changes = self.begin_change();
        let rows: Vec<Row> = self.list().iter().map(|tenant| tenant.row(tenant.status())).collect();
        work(&rows)
    }

    /// A snapshot of the store's own records.
    pub(crate) fn zero_view(&self) -> Result<Box<dyn View>> {
        self.register.view()
    }

    /// The first bytes of every engine key of the store's own rows that belong to no tenant in particular.
    pub(crate) fn store_prefix() -> [u8; 4] {
        STORE.collection.to_be_bytes()
    }

    /// The engine key of a tenant's row.
    pub(crate) fn row_key(&self, name: &TenantName) -> Result<Vec<u8>> {
        let names = HiddenNames::new(&*self.ring()?, TENANTS.collection)?;
        Ok(names.encode(std::iter::once(name.as_str().as_bytes())))
    }

    /// A row of the directory, from the bytes in which it was stored.
    pub(crate) fn open_row(&self, key: &[u8], sealed: &[u8]) -> Result<Row> {
        let place = crate::seal::Place { collection: TENANTS.collection, engine_key: key };
        crate::metadata::decode(crate::seal::open(&*self.ring()?, place, sealed)?.value())
    }

    /// The secret half of the key that signs what leaves the store, made at first need.
    pub(crate) fn signing_seed(&self) -> Result<Key32> {
        self.register.signing_seed()
    }

    /// Whether that key has been made.
    pub(crate) fn has_signing_key(&self) -> Result<bool> {
        self.register.has_signing_key()
    }

    /// The number of an export that begins now.
    pub(crate) fn begin_export(&self) -> Result<u64> {
        let _changes = self.begin_change();
        let number = self.export_count()? + 1;
        self.register.write(STORE, &[EXPORT_COUNT], &number)?;
        Ok(number)
    }

    /// Hands the slots of the store and of every tenant that is not being deleted to `take`, with what to remember of
    /// them once they lie safe. Tenants whose ring is damaged are handed over without slots, and counted.
    pub(crate) fn export_rings(
        &self,
        mut take: impl FnMut(Incarnation, Vec<Vec<u8>>) -> Result<()>,
    ) -> Result<(Vec<Row>, usize)> {
        self.hold_still(|rows| {
            take(self.store_id(), keys::export(&self.register.cell().rings, 0, &self.register.belief())?)?;
            let (mut exported, mut damaged) = (Vec::new(), 0);
            for row in rows.iter().filter(|row| row.status != Status::Destroying) {
                let slots = self.cells.with_rings(row.cell, |rings| keys::export(rings, row.box_number, &row.belief()));
                match slots {
                    Ok(slots) => {
                        take(row.incarnation, slots)?;
                        exported.push(row.clone());
                    }
                    Err(error) => {
                        tracing::error!(incarnation = ?row.incarnation, %error, "a ring cannot be exported");
                        take(row.incarnation, Vec::new())?;
                        damaged += 1;
                    }
                }
            }
            Ok((exported, damaged))
        })
    }

    /// Remembers which rings lie in the escrow of this number and digest; which lay in earlier ones of tenants that are
    /// gone is forgotten.
    pub(crate) fn remember_exports(&self, rows: &[Row], number: u64, escrow: [u8; 32]) -> Result<()> {
        let _changes = self.begin_change();
        let (ring, exported_secs) = (self.ring()?, self.register.now_secs());
        let before = self.exports()?;
        let there: HashSet<Incarnation> = rows.iter().map(|row| row.incarnation).collect();
        let gone: Vec<&Export> = before.values().filter(|export| !there.contains(&export.incarnation)).collect();
        for exports in gone.chunks(BATCH_ROWS) {
            let mut batch = Batch::new(Durability::Synced);
            for export in exports {
                EXPORTS.delete(&mut batch, &ring, &[export.incarnation.as_bytes()])?;
                self.delete_first_escrow(&mut batch, export.incarnation)?;
            }
            self.register.apply(batch)?;
        }
        for rows in rows.chunks(BATCH_ROWS) {
            let mut batch = Batch::new(Durability::Synced);
            for row in rows {
                let (incarnation, epoch, sequence) = (row.incarnation, row.epoch.number, row.sequence);
                let export = Export { incarnation, epoch, sequence, exported_secs, escrow };
                EXPORTS.put(&mut batch, &ring, self.entropy(), &[incarnation.as_bytes()], &export)?;
                self.put_first_escrow(&mut batch, incarnation, number)?;
            }
            self.register.apply(batch)?;
        }
        // Last: until then it counts as one that may hold anybody.
        let mut batch = Batch::new(Durability::Synced);
        self.put_escrow(&mut batch, &Escrow { number, exported_secs, sha256: escrow })?;
        self.register.apply(batch)
    }

    /// What has been exported, by incarnation.
    pub(crate) fn exports(&self) -> Result<HashMap<Incarnation, Export>> {
        let exports: Vec<Export> = self.register.list(EXPORTS, &[])?;
        Ok(exports.into_iter().map(|export| (export.incarnation, export)).collect())
    }

    /// What a deleted tenant is called in lists that leave the store: the hidden name of its incarnation, which only
    /// the store's ring can make, and makes always alike.
    pub(crate) fn grave(&self, incarnation: Incarnation) -> Result<Vec<u8>> {
        let names = HiddenNames::new(&*self.ring()?, TOMBSTONES.collection)?;
        Ok(names.encode(std::iter::once(&incarnation.as_bytes()[..])))
    }

    /// Where a snapshot has the graves, and what is said of those that were purged: the keys from here to there.
    pub(crate) fn graves() -> [([u8; 4], [u8; 4]); 3] {
        [RECEIPTS, TOMBSTONES, PURGES]
            .map(|Table { collection, .. }| (collection.to_be_bytes(), (collection + 1).to_be_bytes()))
    }

    /// Whether the engine key of one of the store's own rows is that of what is said of a purge.
    pub(crate) fn is_of_purge(key: &[u8]) -> bool {
        [RECEIPTS, PURGES].iter().any(|table| key.starts_with(&table.collection.to_be_bytes()))
    }

    /// Writes an exported ring into the slots of a tenant whose own do not open.
    ///
    /// # Errors
    /// `KeyDestroyed` if the tenant is gone, or going; as the root keys answer, if there is a ring.
    pub(crate) fn import_ring(&self, tenant: &Tenant, slots: &[Vec<u8>], by: &Actor) -> Result<Imported> {
        match tenant.check_ring() {
            Ok(()) => return Ok(Imported::IsWhole),
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Tampered) => {}
            Err(error) => return Err(error),
        }
        let _changes = self.begin_change();
        if !self.knows(tenant) || tenant.status() == Status::Destroying || self.is_entombed(tenant.incarnation())? {
            return Err(Error::new(ErrorKind::KeyDestroyed, "the tenant has been deleted, and does not come back"));
        }
        let _row = tenant.begin_row_change();
        let (place, belief) = ((tenant.cell_number(), tenant.box_number()), tenant.belief());
        if !keys::is_believed(slots, &belief) {
            return Ok(Imported::IsNotThere);
        }
        self.cells.with_rings(place.0, |rings| keys::import(rings, place.1, &belief, slots))?;
        tenant.keys().clear();
        let event = Event::new(Act::RINGS_IMPORTED, by.clone());
        self.trails.apply(Batch::new(Durability::Synced), [(tenant.incarnation(), event)])?;
        Ok(Imported::Now)
    }

    /// Whether a tenant was deleted, as far as this store knows.
    pub(crate) fn is_entombed(&self, incarnation: Incarnation) -> Result<bool> {
        Ok(self.register.get::<Tombstone>(TOMBSTONES, &[incarnation.as_bytes()])?.is_some())
    }

    /// Removes a tenant whose row came back with a backup after it had been deleted: its row goes, and its box is
    /// wiped before it is used again.
    pub(crate) fn bury(&self, row: &Row) -> Result<()> {
        let _changes = self.begin_change();
        let (mut batch, ring) = (Batch::new(Durability::Synced), self.ring()?);
        TENANTS.delete(&mut batch, &ring, &[row.name.as_str().as_bytes()])?;
        self.mark_dirty(&mut batch, &ring, (row.cell, row.box_number))?;
        entomb(&mut batch, &ring, self.entropy(), row.incarnation, self.register.now_secs())?;
        let because = Some("it had been deleted since the backup was made");
        self.trails.apply(batch, self.entries_of_deletion(row, &Actor::Store, because))?;
        self.forget(row);
        Ok(())
    }

    fn mark_dirty(&self, batch: &mut Batch, ring: &Ring, place: (u32, u32)) -> Result<()> {
        let [cell, number] = dirty_key(place);
        DIRTY.put(batch, ring, self.entropy(), &[&cell, &number], &place)
    }

    fn forget(&self, row: &Row) {
        let mut known = self.known_mut();
        if let Some(tenant) = known.get(row.name.as_str()).cloned() {
            known.remove(&tenant);
        }
    }

    /// Whether the engine key of one of the store's own rows is that of a tenant's row.
    pub(crate) fn is_row_key(key: &[u8]) -> bool {
        key.starts_with(&TENANTS.collection.to_be_bytes())
    }

    /// Takes back that a tenant's box has a catalog: it comes back as it was before it had one.
    pub(crate) fn unstamp(&self, row: &Row) -> Result<()> {
        let _changes = self.begin_change();
        self.write(&Row { stamped: false, ..row.clone() }, [])
    }

    /// Marks boxes that no row names as not clean: they are wiped before they are used.
    pub(crate) fn soil(&self, cell: u32, boxes: &[u32]) -> Result<()> {
        let _changes = self.begin_change();
        let (mut batch, ring) = (Batch::new(Durability::Synced), self.ring()?);
        boxes.iter().try_for_each(|&number| self.mark_dirty(&mut batch, &ring, (cell, number)))?;
        self.register.apply(batch)
    }

    /// Makes a tenant that nobody can sign in to until [`unveil`](Self::unveil): as one that is being deleted, so that
    /// the next opening removes it if a crash comes first.
    pub(crate) fn create_veiled(&self, newcomer: &Newcomer) -> Result<(Arc<Tenant>, Ring)> {
        self.cells.check_region(newcomer.region.as_ref())?;
        let made = self.create_in_one_cell(&[newcomer], Status::Destroying, None)?;
        made.into_iter().next().ok_or_else(|| Error::internal("no tenant was made"))
    }

    /// Deletes a tenant that was made under a veil, and never another that has taken its name since.
    pub(crate) fn delete_veiled(&self, tenant: &Tenant) -> Result<()> {
        let _changes = self.begin_change();
        if self.knows(tenant) { self.delete_found(tenant, None) } else { Ok(()) }
    }

    /// Whether this very tenant is there still.
    fn knows(&self, tenant: &Tenant) -> bool {
        self.find(tenant.name().as_str()).is_some_and(|known| known.incarnation() == tenant.incarnation())
    }

    /// Whether a tenant shares its cell with nobody.
    pub(crate) fn has_own_cell(&self, tenant: &Tenant) -> bool {
        self.known().placement.is_single(tenant.cell_number())
    }

    /// Opens a tenant that was made under a veil.
    ///
    /// # Errors
    /// `Conflict` if somebody has begun to delete it, though the deletion is not finished yet.
    pub(crate) fn unveil(&self, tenant: &Tenant, stamped: bool, comes_from: &ComesFrom<'_>) -> Result<()> {
        let _changes = self.begin_change();
        if !self.knows(tenant) || tenant.term() != 0 {
            return Err(Error::conflict("the tenant was deleted while it was restored"));
        }
        let known = self.known();
        let original = known.iter().find(|tenant| tenant.incarnation() == comes_from.original).cloned();
        drop(known);
        // It may have been closed since the first look: what its custodians or owners shut does not open as a copy.
        let original = original.ok_or_else(|| Error::conflict("the original was deleted meanwhile"))?;
        original.check_active()?;
        if original.keeping().epoch.policy_digest != tenant.keeping().epoch.policy_digest {
            return Err(Error::conflict("whose consent the original needs has changed meanwhile; restore again"));
        }
        let row_change = tenant.begin_row_change();
        let (row, mut batch) = (Row { stamped, ..tenant.row(Status::Active) }, Batch::new(Durability::Synced));
        self.adopt_rules(&mut batch, tenant, comes_from.original)?;
        self.register.put(&mut batch, TENANTS, &[row.name.as_str().as_bytes()], &row)?;
        self.trails.apply(batch, self.entries_of_restore(tenant, comes_from))?;
        drop(row_change);
        if stamped {
            tenant.set_stamped();
        }
        tenant.set_status(Status::Active);
        Ok(())
    }

    /// The engine of the box of a tenant under a veil.
    pub(crate) fn engine_of(&self, tenant: &Tenant) -> Result<Arc<dyn crate::engine::Engine>> {
        self.cells.engine(tenant.cell_number())
    }
}

/// Whose records a restored tenant has.
pub(crate) struct ComesFrom<'a> {
    pub(crate) original: Incarnation,
    pub(crate) backup: u64,
    /// Who ordered it.
    pub(crate) by: &'a Actor,
}

/// What became of a tenant's ring when it was looked for in an escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Imported {
    Now,
    /// The tenant's own ring opens, and was left alone.
    IsWhole,
    /// The escrow has none that the directory describes.
    IsNotThere,
}

impl Export {
    /// Whether this covers the ring that a row describes.
    pub(crate) fn covers(&self, row: &Row) -> bool {
        row.next.is_none() && self.epoch == row.epoch.number && self.sequence == row.sequence
    }
}

/// Puts rows back as they were stored, into a store that has none yet.
pub(crate) struct Refill<'z> {
    zero: &'z Cell,
    batch: Batch,
    held: usize,
}

impl<'z> Refill<'z> {
    pub(crate) fn new(zero: &'z Cell) -> Self {
        Self { zero, batch: Batch::new(Durability::Synced), held: 0 }
    }

    pub(crate) fn push(&mut self, key: Vec<u8>, row: Envelope) -> Result<()> {
        self.batch.put(0, key, row);
        self.held += 1;
        if self.held == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    /// Every row is on the disk when this returns.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.held = 0;
        self.zero.engine.apply(std::mem::replace(&mut self.batch, Batch::new(Durability::Synced)))
    }
}
