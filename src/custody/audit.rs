//! Reading the audit trails, and writing entries of what happens outside the store's own records.

use std::io::Write;

use super::{Custody, TenantCustody};
#[cfg(feature = "backup")]
use crate::audit::Outcome;
use crate::audit::{Act, Event, Recorded, Trails, Verified, VerifierKey};
use crate::engine::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Incarnation;

/// Whose trail is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trail<'t> {
    /// The store's own: which tenants it has had, and what was done to the store as a whole.
    Store,
    /// That of the tenant of this name.
    Tenant(&'t str),
    /// That of a tenant who may be gone, by its incarnation (32 hex digits), which the store's trail tells.
    Incarnation(&'t str),
}

impl Custody {
    /// The events of a trail from number `from` on, at most `limit` and at most 1,000 of them. None: there are no more.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such trail; [`Tampered`](crate::ErrorKind::Tampered) if
    /// one of these events, or the head of the trail, is not what was written.
    pub fn audit_events(&self, trail: Trail<'_>, from: u64, limit: usize) -> Result<Vec<Recorded>> {
        let trail = self.find_trail(trail)?;
        self.directory.trails().events(trail, from, limit)
    }

    /// Holds every event of a trail against its head; with `earlier`, a checkpoint of it that was kept, also finds
    /// whether the trail was cut off or rewritten as a whole since.
    ///
    /// # Errors
    /// As [`audit_events`](Self::audit_events), with a word on what is wrong;
    /// [`Invalid`](crate::ErrorKind::Invalid) if `earlier` is no checkpoint of this trail.
    pub fn audit_verify(&self, trail: Trail<'_>, earlier: Option<&str>) -> Result<Verified> {
        let trail = self.find_trail(trail)?;
        self.directory.trails().verify(trail, earlier)
    }

    /// Writes a trail as lines of JSON, with its signed checkpoint in the last one: what
    /// [`verify_export`](crate::audit::verify_export) verifies anywhere. The trail says so first. Returns the
    /// checkpoint.
    ///
    /// # Errors
    /// As [`audit_verify`](Self::audit_verify), and [`Unavailable`](crate::ErrorKind::Unavailable) if `out` fails: what
    /// was written until then has no last line.
    pub fn audit_export(&self, trail: Trail<'_>, mut out: impl Write) -> Result<String> {
        let trail = self.find_trail(trail)?;
        export(self.directory.trails(), trail, Event::new(Act::AUDIT_EXPORTED, self.identity.actor()), &mut out)
    }

    /// The head of a trail, signed by the store (C2SP tlog-checkpoint): to be kept where whoever runs the store cannot
    /// change it. All it vouches for is on the disk.
    ///
    /// # Errors
    /// As [`audit_events`](Self::audit_events).
    pub fn audit_checkpoint(&self, trail: Trail<'_>) -> Result<String> {
        let trail = self.find_trail(trail)?;
        self.directory.trails().checkpoint(trail)
    }

    /// Whose signature the checkpoints of a trail bear: to be handed to whoever verifies them, once and early.
    ///
    /// # Errors
    /// As [`audit_events`](Self::audit_events).
    pub fn audit_key(&self, trail: Trail<'_>) -> Result<VerifierKey> {
        let trail = self.find_trail(trail)?;
        self.directory.trails().verifier_key(trail)
    }

    /// An act that changes something outside the store's own records: an entry before it, because it cannot be taken
    /// back, and one that says how it ended.
    #[cfg(feature = "backup")]
    pub(super) fn witnessed<T>(
        &self,
        event: Event,
        work: impl FnOnce() -> Result<T>,
        tell: impl FnOnce(Event, &T) -> Event,
    ) -> Result<T> {
        let trails = self.directory.trails();
        let record = |event| trails.record(trails.of_store(), event, Durability::Synced);
        record(event.clone().outcome(Outcome::Begun))?;
        match work() {
            Ok(done) => record(tell(event, &done)).map(|()| done),
            Err(error) => {
                let ended = event.outcome(Outcome::Failed).detail("error", error.kind());
                record(ended).inspect_err(|error| tracing::error!(%error, "a failure is not in the audit trail")).ok();
                Err(error)
            }
        }
    }

    fn find_trail(&self, trail: Trail<'_>) -> Result<Incarnation> {
        self.check()?;
        let trails = self.directory.trails();
        let not_found = || Error::new(ErrorKind::NotFound, "there is no such trail");
        match trail {
            Trail::Store => Ok(trails.of_store()),
            Trail::Tenant(name) => self.directory.find(name).map(|tenant| tenant.incarnation()).ok_or_else(not_found),
            Trail::Incarnation(hex) => {
                let trail = Incarnation::from_hex(hex).ok_or_else(not_found)?;
                if trails.is_empty(trail)? { Err(not_found()) } else { Ok(trail) }
            }
        }
    }
}

impl TenantCustody {
    /// The events of the tenant's trail: as [`Custody::audit_events`].
    ///
    /// # Errors
    /// As there.
    pub fn audit_events(&self, from: u64, limit: usize) -> Result<Vec<Recorded>> {
        self.check()?;
        self.directory.trails().events(self.tenant.incarnation(), from, limit)
    }

    /// Verifies the tenant's trail: as [`Custody::audit_verify`].
    ///
    /// # Errors
    /// As there.
    pub fn audit_verify(&self, earlier: Option<&str>) -> Result<Verified> {
        self.check()?;
        self.directory.trails().verify(self.tenant.incarnation(), earlier)
    }

    /// Exports the tenant's trail: as [`Custody::audit_export`].
    ///
    /// # Errors
    /// As there.
    pub fn audit_export(&self, mut out: impl Write) -> Result<String> {
        self.check()?;
        let event = Event::new(Act::AUDIT_EXPORTED, self.identity.actor());
        export(self.directory.trails(), self.tenant.incarnation(), event, &mut out)
    }

    /// The signed head of the tenant's trail: as [`Custody::audit_checkpoint`].
    ///
    /// # Errors
    /// As there.
    pub fn audit_checkpoint(&self) -> Result<String> {
        self.check()?;
        self.directory.trails().checkpoint(self.tenant.incarnation())
    }

    /// Whose signature the checkpoints of the tenant's trail bear: as [`Custody::audit_key`].
    ///
    /// # Errors
    /// As there.
    pub fn audit_key(&self) -> Result<VerifierKey> {
        self.check()?;
        self.directory.trails().verifier_key(self.tenant.incarnation())
    }
}

pub(super) fn export(trails: &Trails, trail: Incarnation, event: Event, out: &mut dyn Write) -> Result<String> {
    trails.record(trail, event, Durability::Synced)?;
    trails.export(trail, out)
}
