//! Purging a tenant: who wants it, when its time has come, and the order in which it is carried out.
//!
//! ```text
//!  request: closed in memory, ROW ----> approve: ROW ----> the cooling-off ends
//!     ^                |                                         |
//!     +--- cancel: row gone, opened                              v
//!            closed, writers drained, traces collected, DIRECTORY ROW `destroying`, TOMBSTONE AND ROW (one batch)
//!            both slots overwritten, box wiped, directory row gone (as every deletion; an opening resumes it)
//!            every file searched, RECEIPT AND ROW (one batch)
//! ```
//!
//! Every step has its entry in the tenant's trail in the same batch.

mod proof;
mod row;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use self::row::Destruction;
pub(crate) use self::row::Purge;
pub(super) use self::row::{PURGES, RECEIPTS};
use super::charter::check_reason;
use super::entries::Entry;
use super::{Directory, Status, TENANTS, Tenant, entomb};
use crate::audit::{Act, Actor, Event};
use crate::engine::{Batch, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, Remains};
use crate::name::Incarnation;
use crate::purge::{Escrowed, PurgeStatus, Statement};
use crate::traces::Progress;

/// Sealed records that are set aside before a purge, and how many bytes of them at most.
const SAMPLES: usize = 4;
const SAMPLE_BYTES: usize = 64 << 10;
/// Escrows that a receipt lists one by one.
const ESCROWS_LISTED: usize = 100;
/// Bytes of a receipt in one row.
const RECEIPT_PART: usize = 32 << 10;

/// Sealed records, each under its engine key.
type Samples = Vec<(Vec<u8>, Vec<u8>)>;

/// How the store is searched for what was destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thoroughness {
    /// For every secret that there was, in one pass.
    Linear,
    /// Also for keys that nobody knew of: everything is tried.
    Exhaustive,
}

impl Directory {
    /// Every purge that was asked for and not taken back, in the order of their tenants.
    pub(crate) fn purges(&self) -> Result<Vec<Purge>> {
        let mut purges: Vec<Purge> = self.register.list(PURGES, &[])?;
        purges.sort_by(|a, b| (&a.tenant, a.destroyed_secs()).cmp(&(&b.tenant, b.destroyed_secs())));
        Ok(purges)
    }

    pub(crate) fn purge(&self, incarnation: Incarnation) -> Result<Option<Purge>> {
        self.register.get(PURGES, &[incarnation.as_bytes()])
    }

    /// The last purge that was carried out of a tenant of this name.
    pub(crate) fn purge_of(&self, name: &str) -> Result<Option<Purge>> {
        let purges = self.purges()?.into_iter();
        Ok(purges.filter(|purge| purge.is_of(name) && purge.is_carried_out()).max_by_key(Purge::destroyed_secs))
    }

    /// Ends all access to a tenant at once, and writes down that it is to be purged.
    pub(crate) fn request_purge(&self, tenant: &Tenant, by: &Actor, requested: Statement) -> Result<PurgeStatus> {
        check_reason(&requested.reason)?;
        let _changes = self.begin_change();
        check_purgeable(tenant)?;
        if self.purge(tenant.incarnation())?.is_some() {
            return Err(Error::conflict("a purge of the tenant has been requested already"));
        }
        let cooling_off_secs = self.charter(tenant)?.rules.cooling_off_secs;
        let purge = Purge {
            tenant: tenant.name().clone(),
            incarnation: tenant.incarnation(),
            speakers: tenant.speakers().to_vec(),
            due_secs: requested.at_secs.saturating_add(cooling_off_secs),
            requested,
            approved: None,
            destruction: None,
            receipts: 0,
            verdict: None,
        };
        tenant.close_for_purge();
        self.unfinished_purges().insert(purge.incarnation);
        let event = Event::new(Act::PURGE_REQUESTED, by.clone());
        let event = event.detail("reason", &purge.requested.reason).detail("not before", purge.due_secs);
        let outcome = self.write_purge(Batch::new(Durability::Synced), &purge, self.to_both_trails(&purge, event));
        if outcome.is_err() && self.purge(tenant.incarnation()).is_ok_and(|found| found.is_none()) {
            tenant.open_after_purge();
        }
        outcome.map(|()| purge.status())
    }

    /// Writes down that a second custodian wants it too.
    ///
    /// # Errors
    /// `Denied` for the one who has asked for it.
    pub(crate) fn approve_purge(&self, tenant: &Tenant, by: &Actor, approved: Statement) -> Result<PurgeStatus> {
        check_reason(&approved.reason)?;
        let _changes = self.begin_change();
        let mut purge = self.pending(tenant)?;
        if purge.requested.is_by_same_person(&approved) {
            return Err(Error::new(ErrorKind::Denied, "another custodian than the one who asked has to approve it"));
        }
        if purge.approved.is_none() {
            let event = Event::new(Act::PURGE_APPROVED, by.clone()).detail("reason", &approved.reason);
            purge.approved = Some(approved);
            self.write_purge(Batch::new(Durability::Synced), &purge, self.to_both_trails(&purge, event))?;
        }
        Ok(purge.status())
    }

    /// Takes a purge back that has not been carried out, and opens the tenant again, unless something else keeps it
    /// shut.
    pub(crate) fn cancel_purge(&self, tenant: &Tenant, by: &Actor, reason: &str) -> Result<()> {
        check_reason(reason)?;
        let _changes = self.begin_change();
        let purge = self.pending(tenant)?;
        let mut batch = Batch::new(Durability::Synced);
        self.register.delete(&mut batch, PURGES, &[purge.incarnation.as_bytes()])?;
        let event = Event::new(Act::PURGE_CANCELLED, by.clone()).detail("reason", reason);
        self.trails.apply(batch, self.to_both_trails(&purge, event))?;
        self.unfinished_purges().remove(&purge.incarnation);
        tenant.open_after_purge();
        Ok(())
    }

    /// Carries a purge out whose time has come, or goes on with one that has begun. One that has its receipt stays as it
    /// is.
    ///
    /// # Errors
    /// `NotFound` if nobody has asked for it; `Conflict` before its time. After any other error it goes on when this is
    /// called again.
    pub(crate) fn execute_purge(
        &self,
        incarnation: Incarnation,
        by: &Actor,
        thoroughness: Thoroughness,
        progress: Progress<'_>,
    ) -> Result<PurgeStatus> {
        let _one = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
        let purge = self.purge(incarnation)?.ok_or_else(no_such_purge)?;
        match purge.verdict {
            Some(_) => Ok(purge.status()),
            None => self.carry_out(purge, by, thoroughness, progress),
        }
    }

    /// The same, and searches the store again for what was destroyed.
    pub(crate) fn search_again(
        &self,
        incarnation: Incarnation,
        by: &Actor,
        progress: Progress<'_>,
    ) -> Result<PurgeStatus> {
        let _one = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
        self.carry_out(self.purge(incarnation)?.ok_or_else(no_such_purge)?, by, Thoroughness::Linear, progress)
    }

    fn carry_out(
        &self,
        mut purge: Purge,
        by: &Actor,
        thoroughness: Thoroughness,
        progress: Progress<'_>,
    ) -> Result<PurgeStatus> {
        let incarnation = purge.incarnation;
        let tenant = self.list().into_iter().find(|tenant| tenant.incarnation() == incarnation);
        let samples = match (purge.is_carried_out(), tenant) {
            (true, None) => Samples::new(),
            (true, Some(tenant)) => {
                let _changes = self.begin_change();
                let samples = self.samples(&tenant);
                self.finish_deletion(&tenant)?;
                samples
            }
            (false, Some(tenant)) => {
                purge.check_due(self.register.now_secs())?;
                self.destroy(&tenant, &mut purge, by)?
            }
            (false, None) => return Err(Error::corrupt("the tenant that is to be purged is gone")),
        };
        self.prove_purge(&mut purge, &samples, by, thoroughness, progress)?;
        Ok(purge.status())
    }

    /// Carries out every purge whose time has come, and goes on with those that a crash or an error has left, for as long as
    /// `goes_on` says so. Returns what has become of each.
    pub(crate) fn run_purges(
        &self,
        by: &Actor,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Vec<(Purge, Result<PurgeStatus>)>> {
        let now_secs = self.register.now_secs();
        let waits = |purge: &Purge| match purge.is_carried_out() {
            true => purge.verdict.is_none(),
            false => purge.check_due(now_secs).is_ok(),
        };
        let unfinished: Vec<Incarnation> = self.unfinished_purges().iter().copied().collect();
        let purges = unfinished.into_iter().filter_map(|incarnation| self.purge(incarnation).transpose());
        let purges: Vec<Purge> = purges.collect::<Result<_>>()?;
        let purges = purges.into_iter().filter(waits).take_while(|_| goes_on());
        let execute =
            |purge: &Purge| self.execute_purge(purge.incarnation, by, Thoroughness::Linear, &mut |_| goes_on());
        Ok(purges.map(|purge| (purge.clone(), execute(&purge))).collect())
    }

    /// A receipt of a purge, by its number.
    pub(crate) fn receipt(&self, incarnation: Incarnation, number: u32) -> Result<Option<String>> {
        let mut note = Vec::new();
        for part in 0u32.. {
            let key: [&[u8]; 3] = [incarnation.as_bytes(), &number.to_be_bytes(), &part.to_be_bytes()];
            match self.register.get::<Vec<u8>>(RECEIPTS, &key)? {
                Some(bytes) => note.extend_from_slice(&bytes),
                None => break,
            }
        }
        let note = String::from_utf8(note).map_err(|_| Error::corrupt("a receipt cannot be read"))?;
        Ok(Some(note).filter(|note| !note.is_empty()))
    }

    fn put_receipt(&self, batch: &mut Batch, incarnation: Incarnation, number: u32, note: &str) -> Result<()> {
        for (part, bytes) in (0u32..).zip(note.as_bytes().chunks(RECEIPT_PART)) {
            let key: [&[u8]; 3] = [incarnation.as_bytes(), &number.to_be_bytes(), &part.to_be_bytes()];
            self.register.put(batch, RECEIPTS, &key, &bytes)?;
        }
        Ok(())
    }

    /// Writes down that somebody vouches for the end of an escrow. The next receipt tells of it.
    pub(crate) fn declare_escrow_destroyed(
        &self,
        incarnation: Incarnation,
        number: u64,
        by: &Actor,
        statement: Statement,
    ) -> Result<PurgeStatus> {
        check_reason(&statement.reason)?;
        let _changes = self.begin_change();
        let mut purge = self.purge(incarnation)?.ok_or_else(no_such_purge)?;
        let event = Event::new(Act::PURGE_STEP, by.clone()).detail("step", "escrow declared destroyed");
        let event = event.detail("escrow", number).detail("reason", &statement.reason);
        purge.declare(number, &statement)?;
        self.write_purge(Batch::new(Durability::Synced), &purge, [(incarnation, event)])?;
        Ok(purge.status())
    }

    /// At opening: closes the tenants that are to be purged. What had been carried out and not ended is resumed by the
    /// deletions; the search is for whoever asks for the receipt.
    pub(super) fn read_purges(&self) -> Result<()> {
        let purges: Vec<Purge> = self.register.list(PURGES, &[])?;
        let unfinished = purges.iter().filter(|purge| purge.verdict.is_none());
        self.unfinished_purges().extend(unfinished.map(|purge| purge.incarnation));
        for tenant in self.list() {
            let Some(purge) = purges.iter().find(|purge| purge.incarnation == tenant.incarnation()) else { continue };
            tenant.close_for_purge();
            if purge.is_carried_out() && tenant.status() != Status::Destroying {
                tracing::error!(incarnation = ?purge.incarnation, "a purged tenant has come back; it stays shut");
            }
        }
        Ok(())
    }

    /// Destroys the keys of a tenant. From the one batch on there is no way back.
    fn destroy(&self, tenant: &Arc<Tenant>, purge: &mut Purge, by: &Actor) -> Result<Samples> {
        let status = {
            let _changes = self.begin_change();
            let status = check_purgeable(tenant)?;
            tenant.set_status(Status::Destroying);
            tenant.keys().clear();
            status
        };
        // Root keys are asked while nothing is held: nobody changes the ring of a tenant with this status.
        let collected = self.collect(tenant);
        let samples = self.samples(tenant);
        let _changes = self.begin_change();
        let committed = collected.and_then(|destruction| {
            // Whoever took it back in the meantime was told so.
            purge.clone_from(&self.pending(tenant)?);
            purge.destruction = Some(destruction);
            self.commit_destruction(tenant, purge, by)
        });
        if let Err(error) = committed {
            if self.purge(purge.incarnation).is_ok_and(|found| found.is_none_or(|found| !found.is_carried_out())) {
                tenant.set_status(status);
            }
            return Err(error);
        }
        self.finish_deletion(tenant)?;
        Ok(samples)
    }

    fn collect(&self, tenant: &Tenant) -> Result<Destruction> {
        tenant.check_home()?;
        let place = (tenant.cell_number(), tenant.box_number());
        let copies = self.cells.with_rings(place.0, |rings| keys::copies_of(rings, place.1, tenant.incarnation()))?;
        let Remains { traces, epochs, generations, mut roots, has_opened } = copies.remains(&**self.register.roots());
        for past in self.past_roots(tenant, None)? {
            if !roots.iter().any(|known| known.name() == past.name()) {
                roots.push(past);
            }
        }
        let escrowed = self.escrows_with(tenant.incarnation())?.into_iter().map(|(number, escrow)| Escrowed {
            number,
            through: number,
            exported_secs: escrow.as_ref().map(|escrow| escrow.exported_secs),
            sha256: escrow.as_ref().map(super::Escrow::sha256),
            destroyed: None,
        });
        Ok(Destruction {
            at_secs: self.register.now_secs(),
            place,
            traces,
            epochs,
            generations,
            keys_were_opened: has_opened,
            roots,
            escrows: listed(escrowed.collect()),
            medium: proof::describe(self.cells.medium(place.0)),
        })
    }

    /// The commit point.
    fn commit_destruction(&self, tenant: &Tenant, purge: &Purge, by: &Actor) -> Result<()> {
        let _row = tenant.begin_row_change();
        let (mut batch, ring) = (Batch::new(Durability::Synced), self.ring()?);
        let row = tenant.row(Status::Destroying);
        self.register.put(&mut batch, TENANTS, &[row.name.as_str().as_bytes()], &row)?;
        entomb(&mut batch, &ring, self.entropy(), row.incarnation, self.register.now_secs())?;
        let event = Event::new(Act::PURGE_STEP, by.clone()).detail("step", "keys destroyed");
        self.write_purge(batch, purge, self.to_both_trails(purge, event))
    }

    /// Some sealed records, as they lie in the box: noise, once the keys are gone.
    fn samples(&self, tenant: &Tenant) -> Samples {
        let page = self
            .cells
            .reader(tenant.cell_number(), tenant.box_number())
            .and_then(|reader| reader.view()?.page(tenant.box_number(), &[], None, SAMPLE_BYTES));
        page.map(|page| page.rows.into_iter().take(SAMPLES).collect()).unwrap_or_default()
    }

    /// The purge of a tenant that has not been carried out.
    fn pending(&self, tenant: &Tenant) -> Result<Purge> {
        let purge = self.purge(tenant.incarnation())?.ok_or_else(no_such_purge)?;
        if purge.is_carried_out() {
            return Err(Error::conflict("the purge has been carried out"));
        }
        Ok(purge)
    }

    fn unfinished_purges(&self) -> MutexGuard<'_, BTreeSet<Incarnation>> {
        self.unfinished_purges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_purge(&self, mut batch: Batch, purge: &Purge, entries: impl IntoIterator<Item = Entry>) -> Result<()> {
        self.register.put(&mut batch, PURGES, &[purge.incarnation.as_bytes()], purge)?;
        self.trails.apply(batch, entries)
    }

    /// That of the tenant tells its life, that of the store who has gone and under which incarnation.
    fn to_both_trails(&self, purge: &Purge, event: Event) -> [Entry; 2] {
        let of_store = event.clone().detail("tenant", &purge.tenant);
        let of_store = of_store.detail("incarnation", format!("{:?}", purge.incarnation));
        [(purge.incarnation, event), (self.register.store_id(), of_store)]
    }
}

/// The newest one by one, those before them together: a receipt is to stay readable.
fn listed(mut escrows: Vec<Escrowed>) -> Vec<Escrowed> {
    let older = escrows.len().saturating_sub(ESCROWS_LISTED);
    let older: Vec<Escrowed> = escrows.drain(..older).collect();
    Escrowed::together(&older).into_iter().chain(escrows).collect()
}

/// # Errors
/// `Conflict` if the tenant is going in another way.
fn check_purgeable(tenant: &Tenant) -> Result<Status> {
    match tenant.status() {
        Status::Destroying => Err(Error::conflict("the tenant is being deleted")),
        status => Ok(status),
    }
}

fn no_such_purge() -> Error {
    Error::new(ErrorKind::NotFound, "no purge of the tenant has been requested")
}
