//! What the store knows of its tenants: sealed records of tenant zero, read once at open and kept in memory.

mod charter;
mod create;
mod entries;
mod epochs;
mod generations;
mod escrows;
mod expiry;
mod fences;
mod health;
mod known;
mod loading;
mod past;
mod placement;
mod purge;
mod row;
#[cfg(feature = "backup")]
mod safekeeping;
mod tenant;
mod tombstone;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use charter::{Mandate, check_reason};
pub use charter::{Person, Proposal, ProposedChange, Rules};
pub(crate) use create::{Newcomer, in_specs};
use entries::Entry;
pub(crate) use epochs::{Moved, Pace};
pub(crate) use escrows::Escrow;
use expiry::Expirers;
use known::Known;
pub(crate) use purge::{Purge, Thoroughness};
pub use row::{Fence, Speaker};
pub(crate) use row::{Row, Status, check_speakers};
#[cfg(feature = "backup")]
pub(crate) use safekeeping::{ComesFrom, Export, Imported, Refill};
pub(crate) use tenant::{Tenant, Writing};
use tombstone::entomb;
use upkeep::Upkeeps;
pub(crate) use upkeep::{Found, SavedSweep, Sweep, Upkeep};

use crate::audit::{Act, Actor, Trails};
use crate::cells::{self, CellStats, Cells};
use crate::clock::{Clock, Deadline};
use crate::engine::{Batch, Durability};
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, CachedRing, Policy, Ring};
use crate::kms::RootKeys;
use crate::name::Incarnation;
use crate::register::{Register, STORE};
use crate::seal::Table;

/// Tenants by hidden name.
const TENANTS: Table = Table { keyspace: 0, collection: 1 };
/// Boxes whose tenants have gone and that are not clean yet: cell and box.
const DIRTY: Table = Table { keyspace: 0, collection: 2 };
const NEXT_CELL: &[u8] = b"next cell";

/// How often keys past their hard expiry are dropped from memory.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What a store holds and takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Tenants that the store knows.
    pub tenants: usize,
    /// Boxes of its cells in which a tenant can be made.
    pub free_boxes: usize,
    /// Boxes of deleted tenants that a scan keeps from being wiped whole. They are tried again when a tenant is deleted,
    /// when there is no free box, and when the store is opened.
    pub unclean_boxes: usize,
    /// Its cells.
    pub cells: CellStats,
}

/// The tenants of a store, where they live and who may speak for them.
pub(crate) struct Directory {
    register: Arc<Register>,
    trails: Arc<Trails>,
    cells: Arc<Cells>,
    clock: Arc<dyn Clock>,
    known: RwLock<Known>,
    /// When the rings of idle tenants are next looked through.
    next_sweep: Mutex<Deadline>,
    /// Held by whoever carries a purge out.
    purging: Mutex<()>,
    /// Purges that were asked for and have no receipt yet.
    unfinished_purges: Mutex<BTreeSet<Incarnation>>,
    /// Held by whoever changes the list of tenants.
    changes: Mutex<()>,
    upkeeps: Mutex<Upkeeps>,
    expirers: Expirers,
    /// How many backups are under way.
    backups: AtomicUsize,
}

impl Directory {
    /// Opens tenant zero, making its ring in a new store, reads every row, and finishes what a crash left undone.
    pub(crate) fn open(
        cells: Arc<Cells>,
        roots: Arc<dyn RootKeys>,
        policy: Policy,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>> {
        let register = Arc::new(Register::open(&cells, roots, policy, clock.clone(), entropy)?);
        let directory = Self {
            known: RwLock::default(),
            changes: Mutex::default(),
            upkeeps: Mutex::new(upkeep::read_all(&register)?),
            expirers: Expirers::default(),
            backups: AtomicUsize::new(0),
            purging: Mutex::default(),
            unfinished_purges: Mutex::default(),
            next_sweep: Mutex::new(Deadline::after(&*clock, SWEEP_EVERY)),
            trails: Arc::new(Trails::new(register.clone())),
            register,
            cells,
            clock,
        };
        directory.confirm_store()?;
        directory.read_rows()?;
        directory.read_expirers()?;
        directory.read_purges()?;
        directory.clean_boxes()?;
        directory.finish_deletions();
        directory.cells.begin_housekeeping()?;
        Ok(Arc::new(directory))
    }

    /// The tenant of this name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Tenant>> {
        self.known().get(name).cloned()
    }

    /// The tenants that an issuer's tenant claim may speak for.
    pub(crate) fn of_speaker(&self, speaker: &Speaker) -> Vec<Arc<Tenant>> {
        self.known().of_speaker(speaker).cloned().collect()
    }

    /// Drops the keys of tenants that have been idle past their hard expiry, and writes the refusals of the last minute, if
    /// it is time to look.
    pub(crate) fn sweep(&self) {
        self.trails.write_refusals(Some(self.register.now_ms()));
        self.trails.write_calls();
        let mut next = self.next_sweep.lock().unwrap_or_else(PoisonError::into_inner);
        if !next.has_passed(&*self.clock) {
            return;
        }
        *next = Deadline::after(&*self.clock, SWEEP_EVERY);
        drop(next);
        self.register.expire();
        self.known().iter().for_each(|tenant| tenant.keys().expire());
    }

    /// Tries again to wipe the boxes that somebody's scan kept from being wiped, if there are any.
    pub(crate) fn try_unclean_boxes(&self) {
        if self.stats().unclean_boxes == 0 {
            return;
        }
        let _changes = self.begin_change();
        if let Err(error) = self.clean_boxes() {
            tracing::warn!(%error, "boxes that are to be wiped cannot be looked through now");
        }
    }

    /// What the store holds and takes.
    pub(crate) fn stats(&self) -> Stats {
        let known = self.known();
        let (tenants, (free_boxes, occupied)) = (known.len(), known.placement.count());
        let unclean_boxes = occupied.saturating_sub(tenants);
        drop(known);
        Stats { tenants, free_boxes, unclean_boxes, cells: self.cells.stats() }
    }

    /// Where root keys are asked, outside of this process.
    pub(crate) fn connections(&self) -> Vec<crate::kms::Connection> {
        self.register.roots().connections()
    }

    /// Every tenant, by name.
    pub(crate) fn list(&self) -> Vec<Arc<Tenant>> {
        let mut tenants: Vec<_> = self.known().iter().cloned().collect();
        tenants.sort_by(|a, b| a.name().cmp(b.name()));
        tenants
    }

    /// Closes a tenant, then writes it down. After an error it is closed in this process; calling again writes again.
    pub(crate) fn suspend(&self, name: &str, by: &Actor) -> Result<()> {
        // At once, though a backup or the making of many tenants holds the directory.
        self.find_living(name)?.suspend()?;
        let _changes = self.begin_change();
        // Again: somebody may have resumed it meanwhile, or deleted it and made another.
        let tenant = self.find_living(name)?;
        tenant.suspend()?;
        tracing::info!(incarnation = ?tenant.incarnation(), "a tenant is suspended");
        let _row = tenant.begin_row_change();
        self.write(&tenant.row(Status::Suspended), [Self::entry_of(&tenant, Act::TENANT_SUSPENDED, by)])
    }

    /// Writes down that a tenant is open, then opens it.
    pub(crate) fn resume(&self, name: &str, by: &Actor) -> Result<()> {
        let _changes = self.begin_change();
        let tenant = self.find_living(name)?;
        if tenant.status() != Status::Active {
            let _row = tenant.begin_row_change();
            self.write(&tenant.row(Status::Active), [Self::entry_of(&tenant, Act::TENANT_RESUMED, by)])?;
            tenant.set_status(Status::Active);
            tracing::info!(incarnation = ?tenant.incarnation(), "a tenant is active again");
        }
        Ok(())
    }

    /// The tenant of this name, unless it is being deleted.
    pub(crate) fn find_living(&self, name: &str) -> Result<Arc<Tenant>> {
        let tenant = self.find(name).ok_or_else(no_such_tenant)?;
        if tenant.status() == Status::Destroying {
            return Err(Error::conflict("the tenant is being deleted"));
        }
        Ok(tenant)
    }

    /// Notes in a tenant's row that its box has a catalog. After a crash before it, the next session notes it.
    pub(crate) fn stamp(&self, tenant: &Tenant) -> Result<()> {
        if tenant.is_stamped() {
            return Ok(());
        }
        let _changes = self.begin_change();
        if tenant.is_stamped() || tenant.status() == Status::Destroying {
            return Ok(());
        }
        let _row = tenant.begin_row_change();
        self.write(&Row { stamped: true, ..tenant.row(tenant.status()) }, [])?;
        tenant.set_stamped();
        Ok(())
    }

    /// Deletes a tenant: closed, row `destroying` with a tombstone (the commit point), both slots overwritten, its box wiped, its row
    /// gone. After a crash the next opening of the store goes on where it stopped.
    pub(crate) fn delete(&self, name: &str, by: &Actor) -> Result<()> {
        let _changes = self.begin_change();
        let tenant = self.find(name).ok_or_else(no_such_tenant)?;
        if tenant.is_to_be_purged() {
            return Err(Error::conflict("the tenant is to be purged, and its custodians will have a receipt"));
        }
        self.delete_found(&tenant, Some(by))
    }

    /// Deletes a tenant that has been found since the directory stands still, ordered by somebody unless it never was one.
    fn delete_found(&self, tenant: &Tenant, by: Option<&Actor>) -> Result<()> {
        tenant.set_status(Status::Destroying);
        tenant.keys().clear();
        let row_change = tenant.begin_row_change();
        let (mut batch, ring) = (Batch::new(Durability::Synced), self.ring()?);
        let row = tenant.row(Status::Destroying);
        self.register.put(&mut batch, TENANTS, &[row.name.as_str().as_bytes()], &row)?;
        entomb(&mut batch, &ring, self.entropy(), row.incarnation, self.clock.wall_ms() / 1000)?;
        self.trails.apply(batch, by.map_or_else(Vec::new, |by| self.entries_of_deletion(&row, by, None)))?;
        drop(row_change);
        self.finish_deletion(tenant)?;
        // What somebody's scan kept from being wiped before may be free by now.
        if let Err(error) = self.clean_boxes() {
            tracing::warn!(%error, "boxes that are to be wiped cannot be looked through now");
        }
        Ok(())
    }

    /// The store's own ring.
    fn ring(&self) -> Result<Arc<Ring>> {
        self.register.ring()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    pub(crate) fn has_passed(&self, deadline: &Deadline) -> bool {
        deadline.has_passed(&*self.clock)
    }

    /// Has the store's own root keys asked ahead of time, and returns when they are to be asked next.
    pub(crate) fn lease(&self) -> Result<Deadline> {
        self.register.lease()
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &**self.register.entropy()
    }

    fn begin_change(&self) -> MutexGuard<'_, ()> {
        // Not while others wait. If the root keys refuse, whoever asks for the store's ring next hears of it.
        drop(self.register.refresh());
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a row with what the trails say of it, durably.
    fn write(&self, row: &Row, entries: impl IntoIterator<Item = Entry>) -> Result<()> {
        let mut batch = Batch::new(Durability::Synced);
        self.register.put(&mut batch, TENANTS, &[row.name.as_str().as_bytes()], row)?;
        self.trails.apply(batch, entries)
    }

    /// Makes a row known to this process.
    fn admit(&self, row: Row) -> Arc<Tenant> {
        let keys = CachedRing::new(self.clock.clone());
        let mut known = self.known_mut();
        known.placement.occupy(row.cell, row.box_number);
        let tenant = Arc::new(Tenant::new(row, self.cells.clone(), (self.register.clone(), self.trails.clone()), keys));
        known.insert(tenant.clone());
        tenant
    }

    /// A new store gets its record; one whose record is gone while cells are there has lost its directory.
    fn confirm_store(&self) -> Result<()> {
        if self.register.get::<u64>(STORE, &[b"created"])?.is_some() {
            return Ok(());
        }
        let rows_left = !self.register.view()?.page(0, &[], None, 1)?.rows.is_empty();
        if rows_left || !self.cells.numbers().is_empty() {
            return Err(Error::corrupt("the directory of the store is gone, and its cells are not"));
        }
        self.register.write(STORE, &[b"created"], &self.register.now_secs())
    }

    fn read_rows(&self) -> Result<()> {
        let mut lived_in = BTreeMap::new();
        TENANTS.for_each(&*self.register.view()?, &*self.ring()?, &[], |row: Row| {
            row.region.iter().for_each(|region| *lived_in.entry(region.clone()).or_default() += 1);
            if self.known().placement.is_occupied(row.cell, row.box_number) {
                return Err(Error::corrupt("two tenants of the directory have the same box"));
            }
            self.admit(row);
            Ok(())
        })?;
        if let Some(next) = self.register.get(STORE, &[NEXT_CELL])? {
            self.known_mut().placement.reserve_cells(next);
        }
        self.cells.open_regions(self.register.store_id(), &lived_in);
        for number in self.cells.numbers() {
            match self.cells.boxes(number).and_then(|boxes| Ok((boxes, self.cells.region(number)?))) {
                Ok((boxes, region)) => self.known_mut().placement.add_cell(number, boxes, region),
                // Its tenants hear of it; the others have nothing to do with it.
                Err(error) => cells::report_failure(number, &error),
            }
        }
        Ok(())
    }

    fn finish_deletions(&self) {
        let known = self.known();
        let destroying = known.iter().filter(|tenant| tenant.status() == Status::Destroying);
        let destroying: Vec<_> = destroying.cloned().collect();
        drop(known);
        destroying.into_iter().for_each(|tenant| {
            if let Err(error) = self.finish_deletion(&tenant) {
                tracing::error!(kind = %error.kind(), "a deletion could not be finished; the next opening tries again");
            }
        });
    }

    fn finish_deletion(&self, tenant: &Tenant) -> Result<()> {
        // The keys first: they go even if the cell's database cannot be opened.
        let place = (tenant.cell_number(), tenant.box_number());
        tenant.check_home()?;
        self.cells.with_rings(place.0, |rings| keys::purge(rings, place.1, &tenant.belief()))?;
        let is_clean = self.cells.engine(place.0)?.wipe(place.1)?;
        let mut batch = Batch::new(Durability::Synced);
        self.register.delete(&mut batch, TENANTS, &[tenant.name().as_str().as_bytes()])?;
        self.end_upkeep(&mut batch, tenant)?;
        self.end_expiring(&mut batch, tenant)?;
        self.forget_past_roots(&mut batch, tenant)?;
        let [cell, number] = dirty_key(place);
        match is_clean {
            // A mark that is older than this deletion must not outlive it: the box is about to be somebody's.
            true => self.register.delete(&mut batch, DIRTY, &[&cell, &number])?,
            false => self.register.put(&mut batch, DIRTY, &[&cell, &number], &place)?,
        }
        self.register.apply(batch)?;
        let mut known = self.known_mut();
        known.remove(tenant);
        if is_clean {
            known.placement.release(place.0, place.1);
        }
        tracing::info!(incarnation = ?tenant.incarnation(), is_clean, "deleted a tenant");
        Ok(())
    }

    /// Wipes the boxes that somebody's snapshot kept from being wiped whole when their tenants were deleted, and hands
    /// out those that are clean now. A box that a row names is that tenant's, whatever its mark says.
    fn clean_boxes(&self) -> Result<()> {
        let dirty: HashSet<(u32, u32)> = self.register.list(DIRTY, &[])?.into_iter().collect();
        let lived_in = self.status_in(&dirty);
        for place in dirty {
            match lived_in.get(&place) {
                Some(Status::Destroying) => {}
                Some(Status::Active | Status::Suspended) => {
                    tracing::error!(cell = place.0, "the box of a living tenant was to be wiped; its mark is removed");
                    self.unmark(place)?;
                }
                None => {
                    self.known_mut().placement.occupy(place.0, place.1);
                    if self.cells.engine(place.0).and_then(|engine| engine.wipe(place.1)).unwrap_or(false) {
                        self.unmark(place)?;
                        self.known_mut().placement.release(place.0, place.1);
                    }
                }
            }
        }
        Ok(())
    }

    /// The status of the tenants who live in these boxes.
    fn status_in(&self, places: &HashSet<(u32, u32)>) -> HashMap<(u32, u32), Status> {
        if places.is_empty() {
            return HashMap::new();
        }
        let known = self.known();
        let status = known.iter().map(|tenant| ((tenant.cell_number(), tenant.box_number()), tenant.status()));
        status.filter(|(place, _)| places.contains(place)).collect()
    }

    /// Whether a box is yet to be wiped, whoever lived there.
    fn is_dirty(&self, place: (u32, u32)) -> Result<bool> {
        let [cell, number] = dirty_key(place);
        Ok(self.register.get::<(u32, u32)>(DIRTY, &[&cell, &number])?.is_some())
    }

    fn unmark(&self, place: (u32, u32)) -> Result<()> {
        let mut batch = Batch::new(Durability::Synced);
        let [cell, number] = dirty_key(place);
        self.register.delete(&mut batch, DIRTY, &[&cell, &number])?;
        self.register.apply(batch)
    }
}

fn dirty_key((cell, number): (u32, u32)) -> [[u8; 4]; 2] {
    [cell.to_be_bytes(), number.to_be_bytes()]
}

fn no_such_tenant() -> Error {
    Error::new(ErrorKind::NotFound, "there is no tenant of this name")
}
