//! A tenant as its sessions hold it: its box and no other, its keys, and whether it is open.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::row::{Row, Speaker, Status};
use crate::cells::{BoxHandle, Cells};
use crate::engine::{Engine, Keyspace, Reader, View};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, Belief, CachedRing, Ring};
use crate::kms::RootKeys;
use crate::name::{Incarnation, RegionName, TenantName};

pub(crate) struct Tenant {
    row: Row,
    status: AtomicU8,
    stamped: AtomicBool,
    /// Counts the changes of status: a session belongs to one term and does not outlive it.
    term: AtomicU64,
    /// Read-held by every write, so that a deletion waits for those under way and none comes after it.
    writes: RwLock<()>,
    place: BoxHandle,
    roots: Arc<dyn RootKeys>,
    keys: CachedRing,
}

impl Tenant {
    pub(super) fn new(row: Row, cells: Arc<Cells>, roots: Arc<dyn RootKeys>, keys: CachedRing) -> Self {
        let status = AtomicU8::new(row.status as u8);
        let place = BoxHandle::new(cells, row.cell, row.box_number);
        Self {
            stamped: AtomicBool::new(row.stamped),
            row,
            status,
            term: AtomicU64::new(0),
            writes: RwLock::default(),
            place,
            roots,
            keys,
        }
    }

    pub(crate) fn name(&self) -> &TenantName {
        &self.row.name
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.row.incarnation
    }

    pub(crate) fn speakers(&self) -> &[Speaker] {
        &self.row.speakers
    }

    pub(crate) fn created_secs(&self) -> u64 {
        self.row.created_secs
    }

    pub(crate) fn status(&self) -> Status {
        match self.status.load(Ordering::SeqCst) {
            status if status == Status::Active as u8 => Status::Active,
            status if status == Status::Suspended as u8 => Status::Suspended,
            _ => Status::Destroying,
        }
    }

    pub(crate) fn region(&self) -> Option<&RegionName> {
        self.row.region.as_ref()
    }

    /// Whether this tenant's cell lies where the tenant may live, and its disk is there.
    pub(super) fn check_home(&self) -> Result<()> {
        self.place.cells().check_cell(self.row.cell, self.region())
    }

    /// The keyspace of this tenant's box in its cell's engine: the only one that a session can name.
    pub(crate) fn keyspace(&self) -> Keyspace {
        self.place.number()
    }

    /// Where this tenant's records are read. Asked for anew for every operation, and not kept beyond it: a cell is
    /// closed when nobody uses it.
    pub(crate) fn reader(&self) -> Result<Arc<dyn Reader>> {
        self.place.reader()
    }

    /// A snapshot of this tenant's records.
    pub(crate) fn view(&self) -> Result<Box<dyn View>> {
        self.place.view()
    }

    /// Where this tenant's records are written, and read by whoever writes. Not kept either.
    pub(crate) fn writer(&self) -> Result<Arc<dyn Engine>> {
        self.place.engine()
    }

    /// This tenant's ring.
    ///
    /// # Errors
    /// `Denied` unless the tenant is active; else as [`keys::load`].
    pub(crate) fn ring(&self) -> Result<Arc<Ring>> {
        self.check_active()?;
        let ring = self.keys.get(|| {
            // Asked again by whoever loads: none begins once a deletion has waited for the one under way.
            self.check_active()?;
            self.check_home()?;
            let load = |rings: &_| keys::load(rings, self.row.box_number, &self.row.belief(), &*self.roots);
            self.place.cells().with_rings(self.row.cell, load)
        })?;
        // What was loaded while the tenant was being closed goes again.
        self.check_active().inspect_err(|_| self.keys.clear())?;
        Ok(ring)
    }

    /// Drops the keys, to be loaded again when they are asked for.
    pub(crate) fn forget_keys(&self) {
        self.keys.clear();
    }

    /// Whether the directory says that the box has a catalog.
    pub(crate) fn is_stamped(&self) -> bool {
        self.stamped.load(Ordering::SeqCst)
    }

    pub(super) fn set_stamped(&self) {
        self.stamped.store(true, Ordering::SeqCst);
    }

    /// Leave to write, while the guard lives.
    pub(crate) fn begin_write(&self) -> Result<RwLockReadGuard<'_, ()>> {
        let guard = self.writes.read().unwrap_or_else(PoisonError::into_inner);
        self.check_active()?;
        Ok(guard)
    }

    /// Leave to write to a tenant that nobody can sign in to yet, while the guard lives. A deletion waits for it, and
    /// none is given after it.
    #[cfg(feature = "backup")]
    pub(crate) fn begin_veiled_write(&self) -> Result<RwLockReadGuard<'_, ()>> {
        let guard = self.writes.read().unwrap_or_else(PoisonError::into_inner);
        if self.term() == 0 { Ok(guard) } else { Err(Error::conflict("the tenant was deleted while it was restored")) }
    }

    /// The term that sessions made now belong to.
    pub(crate) fn term(&self) -> u64 {
        self.term.load(Ordering::SeqCst)
    }

    /// Whether sessions of `term` go on: the tenant is active, and has been ever since.
    pub(crate) fn check_term(&self, term: u64) -> Result<()> {
        self.check_active()?;
        if self.term() == term {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Closed, "the session ended when its tenant was suspended; sign in again"))
    }

    pub(crate) fn check_active(&self) -> Result<()> {
        match self.status() {
            Status::Active => Ok(()),
            Status::Suspended => Err(Error::new(ErrorKind::Denied, "the tenant is suspended")),
            Status::Destroying => Err(Error::denied()),
        }
    }

    /// Changes the status at once, then waits for writes under way: whoever begins after that sees the new one.
    pub(super) fn set_status(&self, status: Status) {
        self.term.fetch_add(1, Ordering::SeqCst);
        self.status.store(status as u8, Ordering::SeqCst);
        drop(self.writes.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Closes a tenant at once, unless it is being deleted, then waits for writes under way and drops the keys.
    ///
    /// # Errors
    /// `Conflict` if it is being deleted: a suspension must never take that back.
    pub(super) fn suspend(&self) -> Result<()> {
        self.term.fetch_add(1, Ordering::SeqCst);
        let close = |status| (status != Status::Destroying as u8).then_some(Status::Suspended as u8);
        let closed = self.status.fetch_update(Ordering::SeqCst, Ordering::SeqCst, close);
        closed.map_err(|_| Error::conflict("the tenant is being deleted"))?;
        drop(self.writes.write().unwrap_or_else(PoisonError::into_inner));
        self.keys.clear();
        Ok(())
    }

    pub(super) fn row(&self, status: Status) -> Row {
        Row { status, stamped: self.is_stamped(), ..self.row.clone() }
    }

    pub(super) fn keys(&self) -> &CachedRing {
        &self.keys
    }

    pub(super) fn belief(&self) -> Belief {
        self.row.belief()
    }

    pub(super) fn cell_number(&self) -> u32 {
        self.place.cell()
    }

    pub(super) fn box_number(&self) -> u32 {
        self.row.box_number
    }
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenant").field("incarnation", &self.row.incarnation).finish_non_exhaustive()
    }
}
