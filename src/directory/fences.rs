//! Fences: nothing of a tenant opens, because an owner of its root keys has refused, or because its own custodians have
//! said so. A fence holds at once everywhere in the process (keys in memory, sessions, scans), and in the tenant's row
//! for whoever opens the store next.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::charter::Mandate;
use super::row::{Fence, Row};
use super::tenant::{Keeping, Tenant};
use super::{Directory, Status};
use crate::audit::{Act, Actor, Event};
use crate::clock::Deadline;
use crate::engine::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::kms::RootError;

/// How often the root keys of a tenant that they have refused are asked whether they allow again, however many try to
/// sign in.
const KNOCK_EVERY: Duration = Duration::from_secs(1);

/// Whether a tenant's keys may be used in this process, and whether anybody answers for them.
///
/// Two things can shut it, and neither lifts the other: an owner's refusal, which stands in the row as a time of the last
/// allowed answer of 0, and a custodian's word, which stands there as [`Fence::Ordered`].
pub(super) struct Access {
    /// [`REFUSED`] and [`ORDERED`].
    shut: AtomicU8,
    /// Counts refusals, so that no answer to an earlier question lifts one.
    refusals: Mutex<u64>,
    /// Until when the recovery root may serve, on both clocks, as far as this process knows.
    recovery: Mutex<Option<Deadline>>,
    /// When a refused tenant's root keys may be asked again.
    knock: Mutex<Option<Deadline>>,
    outage: Mutex<Option<SeenOutage>>,
}

/// An outage of a tenant's root keys, as far as this process has seen it.
#[derive(Clone, Copy, Debug)]
struct SeenOutage {
    since_secs: u64,
    /// Whether it has been said that what is in memory will soon serve no more.
    is_warned: bool,
}

const REFUSED: u8 = 1;
const ORDERED: u8 = 2;

impl Access {
    pub(super) fn of(row: &Row) -> Self {
        let is_refused = row.fence == Some(Fence::Observed) || row.last_allowed_secs == 0;
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let shut = flag(is_refused, REFUSED) | flag(row.fence == Some(Fence::Ordered), ORDERED);
        Self {
            shut: AtomicU8::new(shut),
            refusals: Mutex::default(),
            recovery: Mutex::default(),
            knock: Mutex::default(),
            outage: Mutex::default(),
        }
    }

    fn refusals(&self) -> MutexGuard<'_, u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recovery(&self) -> MutexGuard<'_, Option<Deadline>> {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, shut: u8) -> bool {
        self.shut.load(Ordering::SeqCst) & shut != 0
    }

    fn outage(&self) -> MutexGuard<'_, Option<SeenOutage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    /// What shuts this tenant's keys, if anything does.
    pub(crate) fn fence(&self) -> Option<Fence> {
        match self.access().shut.load(Ordering::SeqCst) {
            0 => None,
            REFUSED => Some(Fence::Observed),
            _ => Some(Fence::Ordered),
        }
    }

    /// Whether an owner has refused, and none has allowed since.
    pub(super) fn is_refused(&self) -> bool {
        self.access().is(REFUSED)
    }

    /// How many refusals have been heard in this process.
    pub(super) fn refusals(&self) -> u64 {
        *self.access().refusals()
    }

    /// From when on the recovery root serves no more, if a root key allowed at `asked`.
    pub(super) fn recovery_ends(&self, until: Option<Deadline>) {
        *self.access().recovery() = until;
    }

    /// For how long the recovery root may serve, by both clocks of this process: `left` at most, and no longer than what was
    /// left the first time.
    pub(super) fn recovery_left(&self, left: Duration) -> Duration {
        let clock = self.register().clock();
        let mut until = self.access().recovery();
        left.min(until.get_or_insert(Deadline::after(clock, left)).left(clock))
    }

    /// Since when the root keys have been out of reach, as far as this process has asked them.
    pub(crate) fn outage_since_secs(&self) -> Option<u64> {
        self.access().outage().map(|outage| outage.since_secs)
    }

    pub(crate) fn check_unfenced(&self) -> Result<()> {
        let reason = match self.fence() {
            None => return Ok(()),
            Some(Fence::Observed) => "the owner of a root key of this tenant refuses",
            Some(Fence::Ordered) => "the tenant's custodians have revoked all access",
        };
        Err(Error::new(ErrorKind::KeyRevoked, reason))
    }

    /// Asks the root keys that have refused whether they allow again, unless somebody has done so just now. If they do, the
    /// fence is lifted.
    pub(crate) fn knock(&self) {
        let is_closed = self.status() != Status::Active || self.is_to_be_purged();
        if self.fence() != Some(Fence::Observed) || is_closed {
            return;
        }
        let clock = self.register().clock();
        let mut next = self.access().knock.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_some_and(|next| !next.has_passed(clock)) {
            return;
        }
        *next = Some(Deadline::after(clock, KNOCK_EVERY));
        drop(next);
        // What they say, whoever comes after this is told by the fence.
        drop(self.keys().get(|| self.load()));
        if self.check_active().is_err() {
            self.keys().clear();
        }
    }

    /// Shuts the tenant, because an owner has refused: at once in this process, then durably.
    pub(super) fn observe_refusal(&self, answer: RootError) {
        let is_new = {
            // Counted before anything else: who is about to lift an earlier refusal sees that there is another.
            let mut refusals = self.access().refusals();
            *refusals += 1;
            self.access().shut.fetch_or(REFUSED, Ordering::SeqCst) & REFUSED == 0
        };
        self.recovery_ends(None);
        self.keys().clear();
        if is_new {
            self.end_sessions();
            metrics::counter!("strongroom_fences_observed_total").increment(1);
            tracing::warn!(incarnation = ?self.incarnation(), %answer, "a root key refuses; its tenant is fenced");
        }
        if let Err(error) = self.write_refusal(answer) {
            tracing::error!(incarnation = ?self.incarnation(), %error, "a fence holds in this process only");
        }
    }

    fn write_refusal(&self, answer: RootError) -> Result<()> {
        // Before the row is held: the store's own root keys may be asked.
        self.register().refresh()?;
        let _row = self.begin_row_change();
        let (status, keeping) = (self.status(), self.keeping());
        let is_due = self.is_refused() && keeping.last_allowed_secs != 0;
        if !is_due || status == Status::Destroying {
            return Ok(());
        }
        let event = Event::new(Act::FENCE_OBSERVED, Actor::Store).detail("answer", answer);
        let fence = keeping.fence.or(Some(Fence::Observed));
        let keeping = Keeping { fence, last_allowed_secs: 0, ..keeping };
        self.write_and_tell(status, &keeping, &[event], &|_| Ok(()))
    }

    /// Lifts a refusal, once the row says so: unless there has been another since `asked_at` of them had been heard.
    pub(super) fn lift_refusal(&self, asked_at: u64) {
        let refusals = self.access().refusals();
        if *refusals == asked_at {
            self.access().shut.fetch_and(!REFUSED, Ordering::SeqCst);
        }
    }

    fn shut_by_order(&self) {
        self.access().shut.fetch_or(ORDERED, Ordering::SeqCst);
        self.end_sessions();
        // Before writers are waited for, which may take its time, and after: one of them may have had them loaded.
        self.keys().clear();
        self.wait_for_writers();
        self.keys().clear();
    }

    /// Takes note that no root key answers: once of the outage, and once before what is in memory serves no more.
    pub(super) fn note_outage(&self) {
        let mut events = Vec::new();
        let mut outage = self.access().outage();
        if outage.is_none() {
            events.push(Event::new(Act::OUTAGE_BEGUN, Actor::Store));
        }
        let since_secs = self.register().now_secs();
        let seen = outage.get_or_insert(SeenOutage { since_secs, is_warned: false });
        let held = self.keys().held();
        if let (Some(left), Some(ring), false) = (self.keys().serves_for(), held, seen.is_warned)
            && left * 4 <= ring.policy().hard_expiry()
        {
            seen.is_warned = true;
            let left = left.as_secs();
            tracing::error!(incarnation = ?self.incarnation(), left_secs = left, "root keys are away; the keys expire soon");
            metrics::counter!("strongroom_outage_warnings_total").increment(1);
            events.push(Event::new(Act::OUTAGE_WARNED, Actor::Store).detail("seconds left", left));
        }
        drop(outage);
        self.tell(events);
    }

    /// Takes note that a root key answers, if none did.
    pub(super) fn note_answer(&self) {
        let ended = self.access().outage().take();
        self.tell(ended.map(|outage| {
            let lasted = self.register().now_secs().saturating_sub(outage.since_secs);
            Event::new(Act::OUTAGE_ENDED, Actor::Store).detail("seconds", lasted)
        }));
    }

    /// Unsynced: a network that fails must not buy a sync for every tenant.
    fn tell(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            if let Err(error) = self.trails().record(self.incarnation(), event, Durability::Buffered) {
                tracing::error!(%error, "what became of root keys could not be written to the audit trail");
            }
        }
    }
}

impl Directory {
    /// Shuts a tenant on its custodian's word: in this process, then durably. After an error it is shut here, and calling
    /// again writes again.
    pub(crate) fn revoke(&self, tenant: &Tenant, event: Event) -> Result<()> {
        // At once, though a backup or the making of many tenants holds the directory.
        tenant.shut_by_order();
        let _changes = self.begin_change();
        let _row = tenant.begin_row_change();
        let status = tenant.status();
        if status == Status::Destroying {
            return Err(Error::denied());
        }
        // Again: somebody may have restored it meanwhile.
        tenant.shut_by_order();
        let keeping = Keeping { fence: Some(Fence::Ordered), ..tenant.keeping() };
        // What was proposed before does not lift what is ordered now. A charter that nobody can read lifts nothing either.
        let charter = self.without_restores(tenant).unwrap_or_default();
        tenant.write_and_tell(status, &keeping, &[event], &|batch| match &charter {
            Some(charter) => self.put_charter(batch, tenant, charter),
            None => Ok(()),
        })
    }

    /// Lifts what [`revoke`](Self::revoke) has ordered, and no refusal of an owner. Whether the root keys allow is asked by
    /// whoever comes next.
    pub(crate) fn restore_access(&self, tenant: &Tenant, mandate: Option<&Mandate<'_>>, event: Event) -> Result<()> {
        let _changes = self.begin_change();
        // Asked now, when nobody can change the rules or take the proposal back.
        let charter = match mandate {
            Some(mandate) => Some(self.check_mandate(tenant, mandate)?),
            None => {
                self.charter(tenant)?.check_alone()?;
                None
            }
        };
        let _row = tenant.begin_row_change();
        let (status, keeping) = (tenant.status(), tenant.keeping());
        if status == Status::Destroying || tenant.fence() != Some(Fence::Ordered) {
            return Err(Error::conflict("nobody has revoked access to the tenant"));
        }
        let fence = (keeping.last_allowed_secs == 0).then_some(Fence::Observed);
        tenant.write_and_tell(status, &Keeping { fence, ..keeping }, &[event], &|batch| match &charter {
            Some(charter) => self.put_charter(batch, tenant, charter),
            None => Ok(()),
        })?;
        tenant.access().shut.fetch_and(!ORDERED, Ordering::SeqCst);
        Ok(())
    }
}
