//! A tenant as its sessions hold it: its box and no other, its keys, and whether it is open.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use super::expiry::Expiring;
use super::fences::Access;
use super::generations::Generations;
use super::row::{Epoch, Fence, Row, Speaker, Status};
use crate::audit::Trails;
use crate::cells::{BoxHandle, Cells};
use crate::clock::Deadline;
use crate::engine::{Engine, Keyspace, Reader, View};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{Belief, CachedRing, Loaded, Ring};
use crate::name::{Incarnation, RegionName, TenantName};
use crate::register::Register;

pub(crate) struct Tenant {
    /// The row as it was when this was made. What never changes of it is read here: name, incarnation, place, speakers.
    row: Row,
    keeping: RwLock<Keeping>,
    /// Held by whoever writes the row or the ring slots. Never while a root key is asked.
    row_changes: Mutex<()>,
    status: AtomicU8,
    stamped: AtomicBool,
    /// Set while a custodian's request to purge it stands: nobody gets in, and nothing is destroyed yet.
    to_be_purged: AtomicBool,
    /// Counts the changes of status: a session belongs to one term and does not outlive it.
    term: AtomicU64,
    /// Read-held by every write, so that a deletion and a new generation wait for those under way, and none of before
    /// comes after them.
    writes: RwLock<()>,
    /// The sequence in `keeping`: no ring that is earlier is written under.
    sequence: AtomicU64,
    place: BoxHandle,
    register: Arc<Register>,
    trails: Arc<Trails>,
    keys: CachedRing,
    access: Access,
    generations: Generations,
    expiring: Expiring,
}

/// Leave to write, and the ring to write under, for as long as it lives. Its one constructor proves, while the gate is
/// held, that the ring is the tenant's newest: so when whoever changed the ring has waited for the gate once, nothing is
/// written under the ring of before, ever.
pub(crate) struct Writing<'t> {
    ring: Arc<Ring>,
    _gate: RwLockReadGuard<'t, ()>,
}

impl Writing<'_> {
    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }
}

/// How often a ring is asked for again that has changed while the root keys were asked.
pub(super) const LOADS: u32 = 3;

/// What the row says of the ring, and what may change while the tenant lives.
#[derive(Clone, Debug)]
pub(crate) struct Keeping {
    pub(crate) epoch: Epoch,
    /// The epoch that is being changed to.
    pub(crate) next: Option<Box<Epoch>>,
    pub(crate) sequence: u64,
    pub(crate) last_allowed_secs: u64,
    pub(crate) fence: Option<Fence>,
}

impl Tenant {
    pub(super) fn new(
        row: Row,
        cells: Arc<Cells>,
        (register, trails): (Arc<Register>, Arc<Trails>),
        keys: CachedRing,
    ) -> Self {
        let access = Access::of(&row);
        let status = AtomicU8::new(row.status as u8);
        let place = BoxHandle::new(cells, row.cell, row.box_number);
        Self {
            stamped: AtomicBool::new(row.stamped),
            to_be_purged: AtomicBool::new(false),
            keeping: RwLock::new(Keeping::of(&row)),
            sequence: AtomicU64::new(row.sequence),
            row_changes: Mutex::default(),
            row,
            status,
            term: AtomicU64::new(0),
            writes: RwLock::default(),
            place,
            register,
            trails,
            keys,
            access,
            generations: Generations::default(),
            expiring: Expiring::new(),
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

    /// A snapshot of this tenant's records that nobody waits for: see [`view`](Self::view).
    pub(super) fn undated_view(&self) -> Result<Box<dyn View>> {
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
        for _ in 0..LOADS {
            self.check_active()?;
            let loaded = self.keys.get(|| self.load_if_active());
            // What was loaded while the tenant was being closed goes again.
            self.check_active().inspect_err(|_| self.keys.clear())?;
            let ring = match loaded {
                // The keys were dropped while they were on the way, and the tenant is open all the same.
                Err(error) if error.kind() == ErrorKind::Closed => continue,
                loaded => loaded.map_err(|error| self.advise(error))?,
            };
            if self.is_newest(&ring) {
                return Ok(ring);
            }
            // It was loaded, and not there yet, when somebody changed it; or it is being changed now, and about to be there.
            drop(self.begin_row_change());
            self.keys.forget_before(self.sequence.load(Ordering::SeqCst));
        }
        Err(too_many_changes())
    }

    /// This tenant's ring, if it is in memory and nobody has to be asked or waited for.
    #[cfg(feature = "tokio")]
    pub(crate) fn ring_at_hand(&self) -> Option<Arc<Ring>> {
        self.keys.at_hand().filter(|ring| self.is_newest(ring))
    }

    /// Where this tenant's records are read, if that is open.
    #[cfg(feature = "tokio")]
    pub(crate) fn reader_at_hand(&self) -> Option<Arc<dyn Reader>> {
        self.place.reader_at_hand()
    }

    /// Whether keys and cell are there, so that reading, or writing too, waits for no key service and opens nothing.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_at_hand(&self, for_writing: bool) -> bool {
        let is_open = || match for_writing {
            true => self.place.engine_at_hand().is_some(),
            false => self.place.reader_at_hand().is_some(),
        };
        self.ring_at_hand().is_some() && is_open()
    }

    /// Has the root keys asked now if they would be soon, and returns when they are to be asked next.
    ///
    /// # Errors
    /// As [`ring`](Self::ring).
    pub(crate) fn lease(&self) -> Result<Deadline> {
        for _ in 0..LOADS {
            self.check_active()?;
            let until = self.keys.lease(|| self.load_if_active());
            self.check_active().inspect_err(|_| self.keys.clear())?;
            match until {
                Err(error) if error.kind() == ErrorKind::Closed => {}
                until => return until.map_err(|error| self.advise(error)),
            }
        }
        Err(too_many_changes())
    }

    /// Asked again by whoever loads: none begins once the tenant is closed.
    fn load_if_active(&self) -> Result<Loaded> {
        self.check_active()?;
        self.load()
    }

    /// Whether nobody has changed the ring since this one.
    pub(crate) fn is_newest(&self, ring: &Ring) -> bool {
        ring.sequence() >= self.sequence.load(Ordering::SeqCst)
    }

    /// The ring for an act of custody, which may be of a tenant that is suspended. Asked for anew, and not kept in
    /// memory, unless it is there.
    pub(crate) fn ring_for_custody(&self) -> Result<Arc<Ring>> {
        match self.keys.held_for_custody() {
            Some(ring) if ring.sequence() >= self.keeping().sequence => Ok(ring),
            _ => self.load_for_custody().map(Arc::new),
        }
    }

    /// The ring for work that goes on for long, and until when: then it is asked for again, as sessions do. Kept in memory
    /// while the tenant is active.
    pub(crate) fn ring_for_upkeep(&self) -> Result<(Arc<Ring>, Deadline)> {
        self.check_unfenced()?;
        let asked = Deadline::now(self.register.clock());
        if self.check_active().is_ok() {
            let until = self.keys.lease(|| self.load_for_custody().map(Loaded::Whole));
            self.check_active().inspect_err(|_| self.keys.clear())?;
            match (until, self.keys.held_for_custody()) {
                (Ok(until), Some(ring)) if self.is_newest(&ring) => return Ok((ring, until)),
                (Err(error), _) if error.kind() != ErrorKind::Closed => return Err(error),
                _ => {}
            }
        }
        let ring = self.load_for_custody()?;
        let until = asked.plus(ring.policy().refresh());
        Ok((Arc::new(ring), until))
    }

    /// The ring, if sessions keep it fresh: no root key is asked, and nothing kept in memory for longer.
    pub(crate) fn ring_in_use(&self) -> Option<Arc<Ring>> {
        self.keys.fresh().filter(|ring| self.check_active().is_ok() && self.is_newest(ring))
    }

    /// Whether the ring can be opened. The root keys are asked.
    #[cfg(feature = "backup")]
    pub(super) fn check_ring(&self) -> Result<()> {
        self.load_for_custody().map(drop)
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

    /// Leave to write, and what to write under.
    pub(crate) fn begin_write(&self) -> Result<Writing<'_>> {
        for _ in 0..LOADS {
            // Before the gate, for which suspensions and rotations wait: the root keys may take their time.
            let ring = self.ring()?;
            let gate = self.writes.read().unwrap_or_else(PoisonError::into_inner);
            self.check_active()?;
            if self.is_newest(&ring) {
                return Ok(Writing { ring, _gate: gate });
            }
        }
        Err(too_many_changes())
    }

    /// Leave to write for the upkeep of a tenant, which may be suspended: `None` if the ring has been changed since this
    /// one, so that it must be asked for again.
    pub(crate) fn begin_upkeep(&self, ring: &Arc<Ring>) -> Result<Option<Writing<'_>>> {
        let gate = self.writes.read().unwrap_or_else(PoisonError::into_inner);
        if self.status() == Status::Destroying {
            return Err(Error::denied());
        }
        self.check_unfenced()?;
        Ok(self.is_newest(ring).then(|| Writing { ring: ring.clone(), _gate: gate }))
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
        // It may have been closed since it was looked at, and says why.
        self.check_active()?;
        Err(Error::new(ErrorKind::Closed, "the session ended when its tenant was closed; sign in again"))
    }

    pub(crate) fn check_active(&self) -> Result<()> {
        match self.status() {
            Status::Active if self.is_to_be_purged() => {
                Err(Error::new(ErrorKind::KeyRevoked, "the tenant's custodians have asked for its purge"))
            }
            Status::Active => self.check_unfenced(),
            Status::Suspended => Err(Error::new(ErrorKind::Denied, "the tenant is suspended")),
            Status::Destroying => Err(Error::denied()),
        }
    }

    /// Changes the status at once, then waits for writes under way: whoever begins after that sees the new one.
    pub(super) fn set_status(&self, status: Status) {
        // In this order nobody finds the tenant open in a term that is over, nor an earlier session going on in the next.
        if status == Status::Active {
            self.end_sessions();
        }
        self.status.store(status as u8, Ordering::SeqCst);
        self.end_sessions();
        self.wait_for_writers();
    }

    /// Another term begins: no session of this one goes on.
    pub(super) fn end_sessions(&self) {
        self.term.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until every write that has begun by now has ended. One that begins later sees what was changed before.
    pub(super) fn wait_for_writers(&self) {
        drop(self.writes.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Closes a tenant at once, unless it is being deleted, then waits for writes under way and drops the keys.
    ///
    /// # Errors
    /// `Conflict` if it is being deleted: a suspension must never take that back.
    pub(super) fn suspend(&self) -> Result<()> {
        let close = |status| (status != Status::Destroying as u8).then_some(Status::Suspended as u8);
        let closed = self.status.fetch_update(Ordering::SeqCst, Ordering::SeqCst, close);
        closed.map_err(|_| Error::conflict("the tenant is being deleted"))?;
        self.end_sessions();
        self.wait_for_writers();
        self.keys.clear();
        Ok(())
    }

    pub(crate) fn is_to_be_purged(&self) -> bool {
        self.to_be_purged.load(Ordering::SeqCst)
    }

    /// Ends every session at once, waits for writes under way and drops the keys, because a purge was asked for.
    pub(super) fn close_for_purge(&self) {
        self.end_sessions();
        self.to_be_purged.store(true, Ordering::SeqCst);
        self.wait_for_writers();
        self.keys.clear();
    }

    /// Takes that back. Sessions that had ended stay ended.
    pub(super) fn open_after_purge(&self) {
        self.to_be_purged.store(false, Ordering::SeqCst);
    }

    pub(super) fn row(&self, status: Status) -> Row {
        self.row_with(status, self.keeping())
    }

    pub(super) fn row_with(&self, status: Status, keeping: Keeping) -> Row {
        let Keeping { epoch, next, sequence, last_allowed_secs, fence } = keeping;
        let stamped = self.is_stamped();
        Row { status, epoch, next, sequence, last_allowed_secs, fence, stamped, ..self.row.clone() }
    }

    pub(crate) fn keeping(&self) -> Keeping {
        self.keeping.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leave to write the row or the ring slots, while the guard lives.
    pub(super) fn begin_row_change(&self) -> MutexGuard<'_, ()> {
        self.row_changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Knows what has been written.
    pub(super) fn set_keeping(&self, keeping: Keeping) {
        let mut known = self.keeping.write().unwrap_or_else(PoisonError::into_inner);
        self.sequence.store(keeping.sequence, Ordering::SeqCst);
        *known = keeping;
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn register(&self) -> &Arc<Register> {
        &self.register
    }

    pub(super) fn trails(&self) -> &Trails {
        &self.trails
    }

    pub(super) fn cells(&self) -> &Cells {
        self.place.cells()
    }

    pub(super) fn keys(&self) -> &CachedRing {
        &self.keys
    }

    pub(super) fn generations(&self) -> &Generations {
        &self.generations
    }

    pub(crate) fn expiring(&self) -> &Expiring {
        &self.expiring
    }

    pub(super) fn belief(&self) -> Belief {
        let keeping = self.keeping();
        let epochs = std::iter::once(&keeping.epoch).chain(keeping.next.as_deref()).map(Epoch::to_belief).collect();
        Belief { incarnation: self.row.incarnation, epochs, least_sequence: keeping.sequence }
    }

    pub(super) fn cell_number(&self) -> u32 {
        self.place.cell()
    }

    pub(super) fn box_number(&self) -> u32 {
        self.row.box_number
    }
}

pub(super) fn too_many_changes() -> Error {
    Error::new(ErrorKind::Throttled, "the keys of the tenant are being changed; try again")
}

impl Keeping {
    pub(super) fn of(row: &Row) -> Self {
        let Row { epoch, next, sequence, last_allowed_secs, fence, .. } = row.clone();
        Self { epoch, next, sequence, last_allowed_secs, fence }
    }
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenant").field("incarnation", &self.row.incarnation).finish_non_exhaustive()
    }
}
