//! Tenants whose records expire: that they have some, and when they were last looked through. A row of its own, because
//! only tenants that have such records have one; what else is known of them is in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Directory, Status, Tenant};
use crate::clock::{Clock, Deadline};
use crate::engine::{Batch, Durability};
use crate::error::Result;
use crate::name::Incarnation;
use crate::seal::Table;

/// By incarnation.
const EXPIRIES: Table = Table { keyspace: 0, collection: 14 };
/// No time at all.
const NEVER: u64 = u64::MAX;

#[derive(Serialize, Deserialize)]
struct Row {
    incarnation: Incarnation,
    /// When the last round through its records came to its end.
    ended_secs: u64,
}

/// What is known of one tenant's records that expire.
pub(crate) struct Expiring {
    /// Before this time none of them expires, in milliseconds since 1970.
    soonest_ms: AtomicU64,
    round: Mutex<Round>,
}

/// A round through a tenant's records, in search of those that have expired.
#[derive(Default)]
pub(crate) struct Round {
    /// The engine key of the next row to look at, or one before it. `None` between rounds.
    pub(crate) from: Option<Vec<u8>>,
    /// When the last one ended. `None` if nothing of the tenant expires.
    ended: Option<Deadline>,
}

/// The tenants that have such records.
pub(super) type Expirers = Mutex<Vec<Weak<Tenant>>>;

impl Expiring {
    pub(super) fn new() -> Self {
        Self { soonest_ms: AtomicU64::new(NEVER), round: Mutex::default() }
    }

    /// A record that is there now expires at this time.
    pub(crate) fn note(&self, expires_ms: u64) {
        self.soonest_ms.fetch_min(expires_ms, Ordering::SeqCst);
    }

    /// Whether a round is under way, or is to begin: if something may have expired, and the last one ended so long ago.
    pub(crate) fn is_due(&self, clock: &dyn Clock, every: Duration) -> bool {
        let round = self.round();
        round.from.is_some()
            || self.soonest_ms.load(Ordering::SeqCst) <= clock.wall_ms() && round.has_rested(clock, every)
    }

    /// Whether the last round ended so long ago.
    pub(crate) fn has_rested(&self, clock: &dyn Clock, span: Duration) -> bool {
        self.round().has_rested(clock, span)
    }

    /// Where the round under way has come to; at its beginning if none was. For as long as the guard lives nobody else
    /// goes on with it.
    pub(crate) fn go_on(&self) -> MutexGuard<'_, Round> {
        let mut round = self.round();
        if round.from.is_none() {
            round.from = Some(Vec::new());
            // Before anything is looked at: what is written from here on is noted once it is there.
            self.soonest_ms.store(NEVER, Ordering::SeqCst);
        }
        round
    }

    /// Whether it has been noted that the tenant has such records. Waits for a page that is being looked at, and before it
    /// has been noted none is.
    fn is_known(&self) -> bool {
        self.round().ended.is_some()
    }

    fn begin(&self, soonest_ms: u64, ended: Deadline) {
        self.round().ended = Some(ended);
        self.note(soonest_ms);
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Round {
    fn has_rested(&self, clock: &dyn Clock, span: Duration) -> bool {
        self.ended.is_some_and(|ended| ended.plus(span).has_passed(clock))
    }
}

impl Directory {
    /// Knows again which tenants have records that expire. Which of them have expired meanwhile nobody knows.
    pub(super) fn read_expirers(&self) -> Result<()> {
        let rows: Vec<Row> = self.register.list(EXPIRIES, &[])?;
        let ended: HashMap<_, _> = rows.into_iter().map(|row| (row.incarnation, row.ended_secs)).collect();
        for tenant in self.known().iter() {
            if let Some(ended_secs) = ended.get(&tenant.incarnation()) {
                let since = Duration::from_secs(self.register.now_secs().saturating_sub(*ended_secs));
                tenant.expiring().begin(0, Deadline::ago(&*self.clock, since));
                self.expirers().push(Arc::downgrade(tenant));
            }
        }
        Ok(())
    }

    /// Remembers, durably, that a tenant has records that expire.
    pub(crate) fn note_expiring(&self, tenant: &Arc<Tenant>) -> Result<()> {
        // Before what all tenants share is held: a page of this one's records may be looked at just now.
        if tenant.expiring().is_known() {
            return Ok(());
        }
        // Held while the row is written, so that none is written of a tenant whose end has removed it.
        let mut expirers = self.expirers();
        if tenant.expiring().is_known() || tenant.status() == Status::Destroying {
            return Ok(());
        }
        self.write_expirer(tenant, Durability::Synced)?;
        // Which records those are is not known if it was another process, or another store, that put them.
        tenant.expiring().begin(0, Deadline::now(&*self.clock));
        expirers.push(Arc::downgrade(tenant));
        Ok(())
    }

    /// A round through a tenant's records has ended.
    pub(crate) fn round_ended(&self, tenant: &Tenant, mut round: MutexGuard<'_, Round>) -> Result<()> {
        (round.from, round.ended) = (None, Some(Deadline::now(&*self.clock)));
        drop(round);
        let _expirers = self.expirers();
        match tenant.status() {
            Status::Destroying => Ok(()),
            // If a power cut takes it away, the tenant is looked through once more.
            Status::Active | Status::Suspended => self.write_expirer(tenant, Durability::Buffered),
        }
    }

    /// The tenants that have records that expire.
    pub(crate) fn expiring_tenants(&self) -> Vec<Arc<Tenant>> {
        let mut expirers = self.expirers();
        expirers.retain(|tenant| tenant.strong_count() > 0);
        expirers.iter().filter_map(Weak::upgrade).collect()
    }

    /// Adds to the batch that ends a tenant that nothing of it expires any more.
    pub(super) fn end_expiring(&self, batch: &mut Batch, tenant: &Tenant) -> Result<()> {
        self.expirers().retain(|expirer| !std::ptr::eq(expirer.as_ptr(), tenant));
        self.register.delete(batch, EXPIRIES, &[tenant.incarnation().as_bytes()])
    }

    fn write_expirer(&self, tenant: &Tenant, durability: Durability) -> Result<()> {
        let row = Row { incarnation: tenant.incarnation(), ended_secs: self.register.now_secs() };
        let mut batch = Batch::new(durability);
        self.register.put(&mut batch, EXPIRIES, &[row.incarnation.as_bytes()], &row)?;
        self.register.apply(batch)
    }

    fn expirers(&self) -> MutexGuard<'_, Vec<Weak<Tenant>>> {
        self.expirers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
