//! Purging: a tenant's custodians ask for it, approve it, take it back and have it carried out; and when the tenant is
//! gone, the door through which its receipts are still to be had.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Custody, TenantCustody};
use crate::access::{Right, VerifiedIdentity};
use crate::audit::{Act, Actor, Event, VerifierKey};
use crate::clock::Clock;
use crate::directory::{Directory, Purge, Speaker, Thoroughness};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Incarnation, TenantName};
use crate::purge::{PurgeStatus, SearchReport, Statement};

impl TenantCustody {
    /// Asks for the purge of this tenant. All access ends at once: sessions, scans, keys in memory. For as long as the
    /// rules' cooling-off lasts, as it is now, nothing is destroyed, and [`cancel_purge`](Self::cancel_purge) opens the
    /// tenant again; nothing is destroyed either before another custodian has [approved](Self::approve_purge).
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) without a good reason (1 to 1,024 bytes on one line);
    /// [`Conflict`](crate::ErrorKind::Conflict) if it was asked for already, or the tenant is being deleted.
    pub fn request_purge(&self, reason: &str) -> Result<PurgeStatus> {
        self.check()?;
        self.directory.request_purge(
            &self.tenant,
            &self.identity.actor(),
            statement(&self.identity, &*self.clock, reason),
        )
    }

    /// Approves the purge that another custodian has asked for. It can still be taken back until it is carried out.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) for the person who has asked for it, whatever the rules of the tenant say;
    /// [`NotFound`](crate::ErrorKind::NotFound) if nobody has; [`Invalid`](crate::ErrorKind::Invalid) as above.
    pub fn approve_purge(&self, reason: &str) -> Result<PurgeStatus> {
        self.check()?;
        self.directory.approve_purge(
            &self.tenant,
            &self.identity.actor(),
            statement(&self.identity, &*self.clock, reason),
        )
    }

    /// Takes the purge back, and opens the tenant again. Any custodian of the tenant can.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if nobody has asked for one; [`Invalid`](crate::ErrorKind::Invalid) as
    /// above.
    pub fn cancel_purge(&self, reason: &str) -> Result<()> {
        self.check()?;
        self.directory.cancel_purge(&self.tenant, &self.identity.actor(), reason)
    }

    /// Carries the purge out: destroys the keys, wipes the records, searches every file of the store for what was
    /// destroyed, and issues a receipt. Destroying takes as long for a large tenant as for a small one; the search reads
    /// the whole store. When this returns, or fails from then on, the tenant is gone, and
    /// [`purged_tenant`](crate::Strongroom::purged_tenant) is the door to what is left to say of it.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) before the cooling-off has ended, and without the approval of a second
    /// custodian; [`Corrupt`](crate::ErrorKind::Corrupt) or [`Unavailable`](crate::ErrorKind::Unavailable) if a disk
    /// fails. Unless the tenant has gone meanwhile it can still be taken back then.
    pub fn execute_purge(&self) -> Result<PurgeStatus> {
        self.execute_purge_with(|_| {})
    }

    /// The same, telling `progress` how far the search has come after every file.
    ///
    /// # Errors
    /// As [`execute_purge`](Self::execute_purge).
    pub fn execute_purge_with(&self, mut progress: impl FnMut(&SearchReport)) -> Result<PurgeStatus> {
        self.check()?;
        self.execute(Thoroughness::Linear, &mut progress)
    }

    /// The same, and tries every 32 bytes of every file as a key of records that were set aside, so that a key would be found
    /// that nobody knew of. For about a microsecond for each byte of the store.
    ///
    /// # Errors
    /// As [`execute_purge`](Self::execute_purge).
    pub fn execute_purge_exhaustively(&self, mut progress: impl FnMut(&SearchReport)) -> Result<PurgeStatus> {
        self.check()?;
        self.execute(Thoroughness::Exhaustive, &mut progress)
    }

    fn execute(&self, thoroughness: Thoroughness, progress: &mut dyn FnMut(&SearchReport)) -> Result<PurgeStatus> {
        let (incarnation, by) = (self.tenant.incarnation(), self.identity.actor());
        self.directory.execute_purge(incarnation, &by, thoroughness, &mut telling(progress))
    }

    /// How far the purge has come, if somebody has asked for one.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn purge_status(&self) -> Result<Option<PurgeStatus>> {
        self.check()?;
        Ok(self.directory.purge(self.tenant.incarnation())?.map(|purge| purge.status()))
    }
}

impl Custody {
    /// Every purge that was asked for and not taken back, by tenant.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn purges(&self) -> Result<Vec<PurgeStatus>> {
        self.check()?;
        Ok(self.directory.purges()?.iter().map(Purge::status).collect())
    }

    /// Carries out every purge that two custodians of a tenant want and whose cooling-off has ended, and goes on with those
    /// that a crash has left unfinished. The store does the same by itself, once a minute. Each comes back with how it went; one that failed is tried by the next call.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn run_purges(&self) -> Result<Vec<(PurgeStatus, Result<PurgeStatus>)>> {
        self.check()?;
        let done = self.directory.run_purges(&self.identity.actor(), &|| self.check().is_ok())?;
        Ok(done.into_iter().map(|(purge, outcome)| (purge.status(), outcome)).collect())
    }

    /// What is left to say of a tenant of this name that was purged, the last one if there were several.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there was none.
    pub fn purged_tenant(&self, name: &str) -> Result<PurgedTenant> {
        self.check()?;
        let purge = self.directory.purge_of(name)?;
        let purge = purge.ok_or_else(|| Error::new(ErrorKind::NotFound, "no tenant of this name was purged"))?;
        let (directory, clock) = (self.directory.clone(), self.clock.clone());
        Ok(PurgedTenant {
            identity: self.identity.clone(),
            incarnation: purge.incarnation(),
            tenant: purge.tenant().clone(),
            directory,
            clock,
            store_is_open: self.store_is_open.clone(),
        })
    }
}

/// What is left of a tenant that was purged: its receipts and its trail. Made by
/// [`Strongroom::purged_tenant`](crate::Strongroom::purged_tenant) for whoever spoke for the tenant, and by
/// [`Custody::purged_tenant`] for the service's custodians; ends as a [`Session`](crate::Session) does.
pub struct PurgedTenant {
    pub(super) identity: Arc<VerifiedIdentity>,
    tenant: TenantName,
    pub(super) incarnation: Incarnation,
    pub(super) directory: Arc<Directory>,
    pub(super) clock: Arc<dyn Clock>,
    store_is_open: Arc<AtomicBool>,
}

impl PurgedTenant {
    /// Admits a custodian who spoke for the tenant. One who did not is told nothing of whether there was one.
    pub(crate) fn admit(
        identity: VerifiedIdentity,
        name: &str,
        directory: Arc<Directory>,
        clock: Arc<dyn Clock>,
        store_is_open: Arc<AtomicBool>,
    ) -> Result<Self> {
        let spoke_for = |purge: &Purge| purge.speakers().contains(identity.speaker());
        let purges = directory.purges()?.into_iter();
        let found = purges.filter(|purge| purge.is_of(name) && purge.is_carried_out()).filter(spoke_for);
        let found = found.max_by_key(Purge::destroyed_secs);
        let speakers: Vec<Speaker> = found.as_ref().map(|purge| purge.speakers().to_vec()).unwrap_or_default();
        identity.check_speaks_for(&speakers)?;
        let purge = found.ok_or_else(Error::denied)?;
        let (tenant, incarnation) = (purge.tenant().clone(), purge.incarnation());
        let purged = Self { identity: Arc::new(identity), tenant, incarnation, directory, clock, store_is_open };
        purged.check()?;
        Ok(purged)
    }

    /// The tenant's name. It may be another's by now.
    #[must_use]
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// How far the purge has come.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn status(&self) -> Result<PurgeStatus> {
        self.check()?;
        let purge = self.directory.purge(self.incarnation)?;
        purge.map(|purge| purge.status()).ok_or_else(|| Error::corrupt("the record of a purge is gone"))
    }

    /// The receipt that counts: the last one, a signed note.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the purge was cut short before its proof: [`prove`](Self::prove) goes
    /// on.
    pub fn receipt(&self) -> Result<String> {
        self.receipt_numbered(self.status()?.receipts)
    }

    /// A receipt by its number, 1 for the first: an earlier one says what was known then.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is none of this number.
    pub fn receipt_numbered(&self, number: u32) -> Result<String> {
        self.check()?;
        let receipt = self.directory.receipt(self.incarnation, number)?;
        receipt.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such receipt"))
    }

    /// Whose signature the receipts and the trail's checkpoints bear.
    ///
    /// # Errors
    /// Those of a custody that has ended.
    pub fn receipt_key(&self) -> Result<VerifierKey> {
        self.check()?;
        self.directory.trails().verifier_key(self.incarnation)
    }

    /// Finishes what a crash or a failing disk has cut short, searches every file of the store again for what was
    /// destroyed, and issues another receipt. `progress` is told after every file.
    ///
    /// # Errors
    /// As [`TenantCustody::execute_purge`].
    pub fn prove(&self, mut progress: impl FnMut(&SearchReport)) -> Result<PurgeStatus> {
        self.check()?;
        self.directory.search_again(self.incarnation, &self.identity.actor(), &mut telling(&mut progress))
    }

    /// Declares on the record that an escrow that the receipt lists is destroyed, by its number. The store cannot see
    /// that; it says who has said so.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the receipt does not list it; [`Invalid`](crate::ErrorKind::Invalid)
    /// without a good reason (1 to 1,024 bytes on one line).
    pub fn declare_escrow_destroyed(&self, number: u64, reason: &str) -> Result<PurgeStatus> {
        self.check()?;
        let statement = statement(&self.identity, &*self.clock, reason);
        self.directory.declare_escrow_destroyed(self.incarnation, number, &self.identity.actor(), statement)
    }

    /// Asks the root keys again whether the versions that the ring was under are destroyed, and issues another receipt if
    /// something has changed since the last: a final one once they all are and every escrow was declared destroyed.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if there is no receipt yet.
    pub fn finalize(&self) -> Result<PurgeStatus> {
        self.check()?;
        self.directory.finalize_purge(self.incarnation, &self.identity.actor())
    }

    /// Writes the tenant's audit trail as lines of JSON, with its signed checkpoint in the last one. Returns the
    /// checkpoint.
    ///
    /// # Errors
    /// As [`Custody::audit_export`].
    pub fn audit_export(&self, mut out: impl Write) -> Result<String> {
        self.check()?;
        let event = Event::new(Act::AUDIT_EXPORTED, self.actor());
        super::audit::export(self.directory.trails(), self.incarnation, event, &mut out)
    }

    fn actor(&self) -> Actor {
        self.identity.actor()
    }

    pub(super) fn check(&self) -> Result<()> {
        if !self.store_is_open.load(Ordering::SeqCst) {
            return Err(Error::store_closed());
        }
        self.identity.check_deadline(&*self.clock)?;
        self.identity.check_right(Right::Custodian)
    }
}

impl std::fmt::Debug for PurgedTenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PurgedTenant").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// Whoever is told ends nothing.
fn telling(progress: &mut dyn FnMut(&SearchReport)) -> impl FnMut(&SearchReport) -> bool {
    |report| {
        progress(report);
        true
    }
}

pub(super) fn statement(identity: &VerifiedIdentity, clock: &dyn Clock, reason: &str) -> Statement {
    let Speaker { issuer, tenant } = identity.speaker().clone();
    let (subject, reason) = (identity.subject().to_owned(), reason.to_owned());
    Statement { issuer, tenant, subject, reason, at_secs: clock.wall_ms() / 1000 }
}
