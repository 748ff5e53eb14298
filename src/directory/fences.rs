//! Fences: nothing of a tenant opens, because an owner of its root keys has refused, or because its own custodians have
//! said so. A fence holds at once everywhere in the process (keys in memory, sessions, scans), and in the tenant's row
//! for whoever opens the store next.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
pub(super) struct Access {
    fence: AtomicU8,
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

const OPEN: u8 = 0;
const OBSERVED: u8 = 1;
const ORDERED: u8 = 2;

impl Access {
    pub(super) fn of(row: &Row) -> Self {
        let fence = match row.fence {
            None => OPEN,
            Some(Fence::Observed) => OBSERVED,
            Some(Fence::Ordered) => ORDERED,
        };
        Self { fence: AtomicU8::new(fence), knock: Mutex::default(), outage: Mutex::default() }
    }

    fn outage(&self) -> MutexGuard<'_, Option<SeenOutage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    /// What shuts this tenant's keys, if anything does.
    pub(crate) fn fence(&self) -> Option<Fence> {
        match self.access().fence.load(Ordering::SeqCst) {
            OPEN => None,
            OBSERVED => Some(Fence::Observed),
            _ => Some(Fence::Ordered),
        }
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
        if self.fence() != Some(Fence::Observed) || self.status() != Status::Active {
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
    }

    /// Shuts the tenant, because an owner has refused: at once in this process, then durably.
    pub(super) fn observe_refusal(&self, answer: RootError) {
        let is_new = self.access().fence.compare_exchange(OPEN, OBSERVED, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if is_new {
            self.end_sessions();
            self.keys().clear();
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
        let keeping = self.keeping();
        let is_due = self.fence() == Some(Fence::Observed) && keeping.fence.is_none();
        if !is_due || self.status() == Status::Destroying {
            return Ok(());
        }
        let event = Event::new(Act::FENCE_OBSERVED, Actor::Store).detail("answer", answer);
        self.write_keeping(Keeping { fence: Some(Fence::Observed), ..keeping }, Durability::Synced, [event])
    }

    /// Opens the tenant again in this process, once its row says so: unless another fence has come meanwhile.
    pub(super) fn unfence(&self, fence: Fence) {
        let fence = if fence == Fence::Observed { OBSERVED } else { ORDERED };
        self.access().fence.compare_exchange(fence, OPEN, Ordering::SeqCst, Ordering::SeqCst).ok();
    }

    fn shut_by_order(&self) {
        self.access().fence.store(ORDERED, Ordering::SeqCst);
        self.end_sessions();
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
        if tenant.status() == Status::Destroying {
            return Err(Error::denied());
        }
        // Again: somebody may have restored it meanwhile.
        tenant.shut_by_order();
        let keeping = Keeping { fence: Some(Fence::Ordered), ..tenant.keeping() };
        tenant.write_keeping(keeping, Durability::Synced, [event])
    }

    /// Lifts what [`revoke`](Self::revoke) has ordered. Whether the root keys allow is asked by whoever comes next.
    pub(crate) fn restore_access(&self, tenant: &Tenant, event: Event) -> Result<()> {
        let _changes = self.begin_change();
        let _row = tenant.begin_row_change();
        if tenant.fence() != Some(Fence::Ordered) {
            return Err(Error::conflict("nobody has revoked access to the tenant"));
        }
        let keeping = Keeping { fence: None, ..tenant.keeping() };
        tenant.write_keeping(keeping, Durability::Synced, [event])?;
        tenant.unfence(Fence::Ordered);
        Ok(())
    }
}
