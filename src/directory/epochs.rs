//! Changing the rings of living tenants: another epoch, another generation, one generation fewer.
//!
//! Root keys are asked first, while nothing is held. Then, with the directory standing still: the row says which epoch
//! comes next (synced), slot A, slot B, the row says that it has come (synced). A crash anywhere leaves a ring that
//! opens in the old epoch or in the new one, and the row allows both until it has been opened.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::charter::Mandate;
use super::entries::Entry;
use super::past::PastRoot;
use super::row::{Epoch, Fence};
use super::tenant::{Keeping, Tenant};
use super::{Directory, Status, TENANTS};
use crate::audit::{Act, Actor, Event, Outcome};
use crate::clock::Deadline;
use crate::engine::{Batch, Durability};
use crate::error::{Error, Result};
use crate::keys::lifecycle::{Event as Step, Proof};
use crate::keys::{self, Change, Leave, Policy, RecoveryOrder, Ring};
use crate::kms::{Call, RootId, WrapContext, WrapSecret, check_root};
use crate::secret::Key32;

/// Tenants whose epochs change with the syncs of one.
const TOGETHER: usize = 512;

/// A tenant and the ring that it is about to have.
struct Turn {
    tenant: Arc<Tenant>,
    change: Change,
    /// What it is under now.
    past: Vec<PastRoot>,
}

/// Who has keys changed.
enum Authority<'m> {
    /// A custodian of the tenant, perhaps by a proposal.
    Own(Option<&'m Mandate<'m>>),
    /// The service's custodians.
    Service,
}

impl Authority<'_> {
    /// What a tenant's custodians have revoked is theirs alone to touch.
    fn check(&self, tenant: &Tenant) -> Result<()> {
        match self {
            Self::Service if tenant.fence() == Some(Fence::Ordered) => tenant.check_unfenced(),
            Self::Service | Self::Own(_) => Ok(()),
        }
    }
}

/// What became of one tenant's ring in a run over many.
#[derive(Debug)]
pub(crate) enum Moved {
    /// It is in a new epoch, under the newest version of its root keys.
    Now,
    /// It was already.
    Before,
    /// It stays in its epoch.
    Not(Error),
}

/// How a run over many tenants is watched and slowed down.
pub(crate) trait Pace {
    /// How many tenants move together, and in a second.
    fn together(&self) -> usize;
    /// Called after so many tenants have been seen, with those that depend on the root key. An error ends the run; what
    /// has moved has moved.
    fn moved(&mut self, seen: usize, tenants: &[(Arc<Tenant>, Moved)]) -> Result<()>;
    /// Waits until a moment has passed.
    fn wait(&self, until: Deadline);
}

impl Directory {
    /// Begins a new epoch, under the same policy or another one: every root of it wraps a fresh secret. Durable when
    /// this returns, and `event` stands in the tenant's trail.
    ///
    /// # Errors
    /// As the root keys answer; `Conflict` if the tenant's ring was changed by somebody else at the same time. The old
    /// epoch is whole then, unless the error is the disk's: then it is one or the other.
    pub(crate) fn begin_epoch(
        &self,
        tenant: &Arc<Tenant>,
        change: Option<(Policy, &Mandate<'_>)>,
        event: &Event,
    ) -> Result<()> {
        let ring = tenant.ring_for_custody()?;
        let (policy, mandate) = change.unzip();
        self.commit_epoch(self.prepare_epoch(tenant, &ring, policy)?, mandate, event)
    }

    /// Begins an epoch under another policy though the root keys of this one do not open the ring: by the recovery root, on
    /// the order of two custodians. The ring is opened for that, and for nobody else.
    ///
    /// # Errors
    /// `Conflict` if the root keys do open it; else as the recovery root answers, and as
    /// [`begin_epoch`](Self::begin_epoch).
    pub(crate) fn recover(
        &self,
        tenant: &Arc<Tenant>,
        (policy, mandate): (Policy, &Mandate<'_>),
        order: RecoveryOrder,
        event: &Event,
    ) -> Result<()> {
        if tenant.ask_roots()?.is_ok() {
            return Err(Error::conflict("the root keys of the tenant open its keys; propose a policy instead"));
        }
        self.prove_new_roots(tenant, &policy)?;
        let ring = tenant.open_by_recovery(&Leave::Order(order), &event.actor)?;
        self.commit_epoch(self.prepare_epoch(tenant, &ring, Some(policy))?, Some(mandate), event)
    }

    fn commit_epoch(&self, turn: Turn, mandate: Option<&Mandate<'_>>, event: &Event) -> Result<()> {
        let moved = self.commit_epochs(vec![turn], Authority::Own(mandate), event)?;
        match moved.into_iter().next() {
            Some((_, Moved::Not(error))) => Err(error),
            Some(_) => Ok(()),
            None => Err(Error::internal("no epoch was begun")),
        }
    }

    /// Moves every tenant whose policy names `root`, and the store itself, to a new epoch under the newest version of
    /// its roots, unless it is there already. So a run that was cut short is begun again and goes on where it stopped.
    pub(crate) fn move_to_newest(&self, root: &RootId, newest: &str, by: &Actor, pace: &mut dyn Pace) -> Result<()> {
        let event = Event::new(Act::ROOTS_ROTATED, by.clone()).detail("root", root.as_str()).detail("version", newest);
        let is_behind = |(named, version): &(RootId, String)| named == root && version != newest;
        if self.register.root_versions()?.iter().any(is_behind) {
            // The store's own ring has no row: that its epoch begins is in the trail before it does.
            let record = |event| self.trails.record(self.register.store_id(), event, Durability::Synced);
            record(event.clone().outcome(Outcome::Begun))?;
            if let Err(error) = self.register.begin_epoch() {
                record(event.outcome(Outcome::Failed).detail("error", error.kind()))?;
                return Err(error);
            }
            record(event.clone())?;
        }
        let mut tenants = self.list();
        // Those of one cell together, because they share its syncs.
        tenants.sort_by_key(|tenant| (tenant.cell_number(), tenant.box_number()));
        for tenants in tenants.chunks(TOGETHER.min(pace.together())) {
            let second = Deadline::after(&*self.clock, Duration::from_secs(1));
            let (mut turns, mut moved) = (Vec::with_capacity(tenants.len()), Vec::new());
            for tenant in tenants {
                match self.is_at(tenant, root, newest) {
                    Ok(None) => {}
                    Ok(Some(true)) => moved.push((tenant.clone(), Moved::Before)),
                    Ok(Some(false)) => {
                        match Authority::Service.check(tenant).and_then(|()| self.prepare_newest(tenant)) {
                            Ok(turn) => turns.push(turn),
                            Err(error) => moved.push((tenant.clone(), Moved::Not(error))),
                        }
                    }
                    Err(error) => moved.push((tenant.clone(), Moved::Not(error))),
                }
            }
            moved.extend(self.commit_epochs(turns, Authority::Service, &event)?);
            let paused = !turns_are_free(&moved) && pace.together() < TOGETHER;
            pace.moved(tenants.len(), &moved)?;
            if paused {
                pace.wait(second);
            }
        }
        Ok(())
    }

    /// Adds a generation, which everything is written under from the moment this returns: writers that had begun under
    /// the one before have ended. No root key is asked if the ring is in memory.
    pub(crate) fn add_generation(&self, tenant: &Tenant, by: &Actor) -> Result<u32> {
        let now_secs = self.register.now_secs();
        let event = Event::new(Act::GENERATION_ADDED, by.clone());
        let add = |ring: &Ring| Change::generation(ring, &**self.register.entropy(), now_secs);
        let ring = self.change_keyset(tenant, event, add, |ring| Step::Added(ring.write_generation()))?;
        tenant.drain(&ring)?;
        Ok(ring.write_generation())
    }

    /// Destroys the key of a generation that nothing needs.
    ///
    /// # Errors
    /// `Conflict` if the proof is not of the ring as it is now, or something has come in the way since.
    pub(crate) fn retire_generation(&self, tenant: &Tenant, proof: Proof, by: &Actor) -> Result<Arc<Ring>> {
        let generation = proof.generation();
        let event = Event::new(Act::GENERATION_RETIRED, by.clone()).detail("retired", generation);
        let retire = |ring: &Ring| {
            let backups = self.backups.load(std::sync::atomic::Ordering::SeqCst);
            let is_proven = proof.is_of(tenant.incarnation(), ring.sequence())
                && tenant.can_destroy(generation, ring, backups).is_ok();
            match is_proven {
                true => Change::retirement(ring, generation, &**self.register.entropy()),
                false => Err(Error::conflict("what was proven of the generation does not hold any more; ask again")),
            }
        };
        self.change_keyset(tenant, event, retire, |_| Step::Retired(generation))
    }

    /// Has every root of `policy` that the tenant does not depend on yet wrap and unwrap something of no use.
    ///
    /// # Errors
    /// As the root key answers, or as it is proven not to do what is asked of one.
    pub(crate) fn prove_new_roots(&self, tenant: &Tenant, policy: &Policy) -> Result<()> {
        let known = self.with_outline(tenant, |outline| outline.policy.clone())?;
        let new = policy.roots().into_iter().filter(|root| !known.roots().contains(root));
        new.into_iter().try_for_each(|root| check_root(&**self.register.roots(), root)?.prove())
    }

    /// The policy, epoch and root versions of a tenant's ring, and whatever else can be read without a root key.
    pub(crate) fn with_outline<T>(&self, tenant: &Tenant, read: impl FnOnce(&keys::Outline<'_>) -> T) -> Result<T> {
        let (place, belief) = ((tenant.cell_number(), tenant.box_number()), tenant.belief());
        let found = self.cells.with_rings(place.0, |rings| keys::read(rings, place.1, &belief))?;
        Ok(read(&found.outline()))
    }

    /// Writes another keyset of the same epoch, and lets the lifecycle of the generations know. Returns the new ring.
    fn change_keyset(
        &self,
        tenant: &Tenant,
        event: Event,
        change: impl FnOnce(&Ring) -> Result<Change>,
        step: impl FnOnce(&Ring) -> Step,
    ) -> Result<Arc<Ring>> {
        tenant.check_unfenced()?;
        let ring = tenant.ring_for_custody()?;
        // What is known of the generations is known of the ring of before, whatever comes now.
        tenant.lifecycle(&ring);
        let change = change(&ring)?;
        let _changes = self.begin_change();
        let _row = tenant.begin_row_change();
        tenant.check_unfenced()?;
        let mut keeping = check_unchanged(tenant, &change)?;
        let place = (tenant.cell_number(), tenant.box_number());
        self.cells.with_rings(place.0, |rings| keys::write_all(rings, [(place.1, &change)]))?;
        keeping.sequence = change.sequence();
        let ring = Arc::new(change.into_ring());
        let event = event.detail("generation", ring.write_generation());
        let batch = Batch::new(Durability::Synced);
        self.write_keepings(batch, [(tenant, keeping)], [(tenant.incarnation(), event)])?;
        tenant.keys().replace(&ring);
        tenant.happened(step(&ring), &ring)?;
        Ok(ring)
    }

    fn prepare_newest(&self, tenant: &Arc<Tenant>) -> Result<Turn> {
        self.prepare_epoch(tenant, &*tenant.ring_for_custody()?, None)
    }

    fn prepare_epoch(&self, tenant: &Arc<Tenant>, ring: &Ring, policy: Option<Policy>) -> Result<Turn> {
        let keeping = tenant.keeping();
        let newest = keeping.next.as_ref().map_or(keeping.epoch.number, |next| next.number.max(keeping.epoch.number));
        let policy = policy.unwrap_or_else(|| ring.policy().clone());
        let change = Change::epoch(ring, policy, newest + 1, &**self.register.roots(), self.entropy())?;
        Ok(Turn { tenant: tenant.clone(), change, past: PastRoot::all_of(ring) })
    }

    /// Begins the epochs that were prepared, with the syncs of one for each cell. Those tenants are left out whose rings
    /// somebody else has changed since.
    fn commit_epochs(
        &self,
        turns: Vec<Turn>,
        authority: Authority<'_>,
        event: &Event,
    ) -> Result<Vec<(Arc<Tenant>, Moved)>> {
        if turns.is_empty() {
            return Ok(Vec::new());
        }
        let _changes = self.begin_change();
        // What goes with the rows once the slots are written. Asked now, when nobody can take the proposal back.
        let mut last = Batch::new(Durability::Synced);
        if let (Authority::Own(Some(mandate)), [turn]) = (&authority, turns.as_slice()) {
            self.use_mandate(&mut last, &turn.tenant, mandate)?;
        }
        let tenants: Vec<Arc<Tenant>> = turns.iter().map(|turn| turn.tenant.clone()).collect();
        let _rows: Vec<MutexGuard<'_, ()>> = tenants.iter().map(|tenant| tenant.begin_row_change()).collect();
        let (mut moved, mut cells) = (Vec::with_capacity(turns.len()), BTreeMap::<u32, Vec<Turn>>::new());
        let (mut rows, mut batch) = (Vec::with_capacity(turns.len()), Batch::new(Durability::Synced));
        for turn in turns {
            let unchanged = authority.check(&turn.tenant).and_then(|()| check_unchanged(&turn.tenant, &turn.change));
            match unchanged {
                Ok(keeping) => {
                    let next = Epoch::from_belief(turn.change.epoch_belief()).map(Box::new);
                    rows.push((turn.tenant.clone(), Keeping { next, ..keeping }));
                    self.put_past_roots(&mut batch, &turn.past)?;
                    // This one too: a crash may leave it in one slot, and the next attempt another in its place.
                    self.put_past_roots(&mut batch, &PastRoot::all_of(turn.change.ring()))?;
                    cells.entry(turn.tenant.cell_number()).or_default().push(turn);
                }
                Err(error) => moved.push((turn.tenant, Moved::Not(error))),
            }
        }
        self.write_keepings(batch, rows.iter().map(|(tenant, keeping)| (&**tenant, keeping.clone())), [])?;
        if cells.is_empty() {
            // Nothing is done, so that no proposal has been.
            return Ok(moved);
        }
        let mut rows = Vec::new();
        for (cell, turns) in &cells {
            let changes = turns.iter().map(|turn| (turn.tenant.box_number(), &turn.change));
            match self.cells.with_rings(*cell, |rings| keys::write_all(rings, changes)) {
                Ok(()) => rows.extend(turns.iter().map(|turn| (turn, turn.kept()))),
                Err(error) => {
                    let failed = |turn: &Turn| {
                        let error = Error::new(error.kind(), "the ring file of its cell cannot be written");
                        (turn.tenant.clone(), Moved::Not(error))
                    };
                    moved.extend(turns.iter().map(failed));
                }
            }
        }
        if rows.is_empty() {
            return Ok(moved);
        }
        let entries: Vec<Entry> = rows.iter().map(|(turn, _)| turn.entry(event)).collect();
        moved.extend(rows.iter().map(|(turn, _)| (turn.tenant.clone(), Moved::Now)));
        self.write_keepings(last, rows.into_iter().map(|(turn, keeping)| (&*turn.tenant, keeping)), entries)?;
        for Turn { tenant, change, .. } in cells.into_values().flatten() {
            if tenant.keeping().epoch.number == change.epoch_belief().epoch {
                tenant.keys().replace(&Arc::new(change.into_ring()));
                // How long the recovery root may serve is for the new policy to say.
                tenant.recovery_ends(None);
            }
        }
        Ok(moved)
    }

    /// Adds rows and what the trails say of them to a batch, writes it, and then knows them.
    fn write_keepings<'t>(
        &self,
        mut batch: Batch,
        rows: impl IntoIterator<Item = (&'t Tenant, Keeping)>,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<()> {
        let rows: Vec<_> = rows.into_iter().collect();
        for (tenant, keeping) in &rows {
            let row = tenant.row_with(tenant.status(), keeping.clone());
            self.register.put(&mut batch, TENANTS, &[row.name.as_str().as_bytes()], &row)?;
        }
        self.trails.apply(batch, entries)?;
        rows.into_iter().for_each(|(tenant, keeping)| tenant.set_keeping(keeping));
        Ok(())
    }

    /// Whether a tenant's ring is under this version of `root`; `None` if it does not depend on that root.
    fn is_at(&self, tenant: &Tenant, root: &RootId, version: &str) -> Result<Option<bool>> {
        if tenant.status() == Status::Destroying {
            return Ok(None);
        }
        self.with_outline(tenant, |outline| outline.versions.get(root).map(|&found| found == version))
    }

    /// The version under which a root key wraps now: it is asked to wrap something of no use.
    pub(crate) fn newest_version(&self, root: &RootId) -> Result<String> {
        let secret = WrapSecret::new(Key32::random(self.entropy())?);
        let context = WrapContext::new(*self.register.store_id().as_bytes(), root.clone(), 0, Call::new()?);
        Ok(self.register.roots().wrap(root, &secret, &context)?.version)
    }
}

/// What the row says now, if the ring is still the one that `change` was made from.
fn check_unchanged(tenant: &Tenant, change: &Change) -> Result<Keeping> {
    let keeping = tenant.keeping();
    if tenant.status() == Status::Destroying || keeping.sequence + 1 != change.sequence() {
        return Err(Error::conflict("the keys of the tenant were changed by somebody else; try again"));
    }
    Ok(keeping)
}

/// Whether no root key was asked for these.
fn turns_are_free(moved: &[(Arc<Tenant>, Moved)]) -> bool {
    moved.iter().all(|(_, moved)| matches!(moved, Moved::Before))
}

impl Turn {
    /// What the trail says of it: which key moved, and under what it is now.
    fn entry(&self, event: &Event) -> Entry {
        let versions = self.change.ring().root_versions().map(|(root, version)| format!("{} {version}", root.as_str()));
        let event = event.clone().detail("epoch", self.change.ring().epoch());
        (self.tenant.incarnation(), event.detail("roots", versions.collect::<Vec<_>>().join(", ")))
    }

    /// What the row says once the slots are written.
    fn kept(&self) -> Keeping {
        let keeping = self.tenant.keeping();
        let sequence = self.change.sequence();
        match keeping.next {
            Some(next) => Keeping { epoch: *next, next: None, sequence, ..keeping },
            None => keeping,
        }
    }
}
