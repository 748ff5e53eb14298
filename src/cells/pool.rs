//! The cells of a store on disk, as many open as the budgets allow: what is coldest is closed to make room.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::budgets::{Budgets, Cost, Ledger, Permit};
use super::place::{Answer, Condition, Holding, Place};
use super::stats::CellStats;
use crate::engine::rocks::{Patience, RocksEngine, Shared};
use crate::engine::{Engine, Keyspace, Reader};
use crate::error::{Error, ErrorKind, Result};

pub(super) struct Pool {
    budgets: Budgets,
    shared: Shared,
    ledger: Arc<Ledger>,
    places: Mutex<BTreeMap<u32, Arc<Place>>>,
    /// Those of them that hold something open.
    resident: Mutex<BTreeMap<u32, Arc<Place>>>,
    /// Tenant zero's, which is open as long as the store is: it is flushed with the others.
    zero: OnceLock<Weak<RocksEngine>>,
    is_leaving: AtomicBool,
    opened: AtomicU64,
    closed: AtomicU64,
}

/// How often, and how long each time, somebody waits for room.
const WAITS: u32 = 500;
const WAIT: Duration = Duration::from_millis(10);
const WAIT_TICKS: u64 = 5 * TICKS_PER_SECOND;
/// A write waits while memtables are over budget, so long each time.
const WRITE_WAIT: Duration = Duration::from_millis(1);
const WRITE_WAITS: u32 = 5000;
/// Ticks a second.
pub(super) const TICKS_PER_SECOND: u64 = 10;

impl Pool {
    pub(super) fn new(budgets: Budgets) -> Result<Self> {
        let shared = Shared::of(&budgets)?;
        Ok(Self {
            shared,
            ledger: Ledger::new(&budgets),
            budgets,
            places: Mutex::default(),
            resident: Mutex::default(),
            zero: OnceLock::new(),
            is_leaving: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        })
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Notes tenant zero's engine.
    pub(super) fn watch_zero(&self, zero: &Arc<RocksEngine>) {
        // Opened once: another attempt would find the folder locked.
        drop(self.zero.set(Arc::downgrade(zero)));
    }

    /// Nobody is let in any more, and nobody waits.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Ordering::SeqCst);
    }

    pub(super) fn add(&self, place: Arc<Place>) {
        self.places().insert(place.number(), place);
    }

    /// Numbers are never given twice, so of two cells of one number one was copied or moved to where it does not belong.
    pub(super) fn add_found(&self, place: Arc<Place>) {
        let mut places = self.places();
        if let Some(other) = places.get(&place.number()) {
            tracing::error!(
                cell = place.number(),
                "two folders have a cell of this number; one of them is out of place"
            );
            metrics::counter!("strongroom_cell_failures_total").increment(1);
            if other.rings().is_ok() {
                return;
            }
        }
        places.insert(place.number(), place);
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        self.places().keys().copied().collect()
    }

    pub(super) fn place(&self, number: u32) -> Result<Arc<Place>> {
        self.places().get(&number).cloned().ok_or_else(|| Error::corrupt("a cell of the store is missing"))
    }

    pub(super) fn reader(&self, cell: u32, number: Keyspace) -> Result<Arc<dyn Reader>> {
        self.obtain(&self.place(cell)?, |place, permit| place.reader(number, &self.shared, permit))
    }

    pub(super) fn engine(&self, cell: u32) -> Result<Arc<dyn Engine>> {
        self.wait_for_memtables()?;
        Ok(self.open(&self.place(cell)?)?)
    }

    #[cfg(feature = "backup")]
    pub(super) fn checkpoint(&self, number: u32, to: &std::path::Path) -> Result<()> {
        self.obtain(&self.place(number)?, |place, permit| place.checkpoint(to, &self.shared, permit))
    }

    fn open(&self, place: &Arc<Place>) -> Result<Arc<RocksEngine>> {
        self.obtain(place, |place, permit| place.engine(&self.shared, permit))
    }

    /// Asks a place until it needs no more leave than what was brought along. It is not held while somebody waits for
    /// leave: what it holds open itself may have to be closed.
    fn obtain<T>(
        &self,
        place: &Arc<Place>,
        ask: impl Fn(&Place, &mut Option<Permit>) -> Result<Answer<T>>,
    ) -> Result<T> {
        let (mut permit, mut rounds_left) = (None, WAITS);
        loop {
            match ask(place, &mut permit).inspect_err(|_| self.watch(place))? {
                Answer::Open(opened) => {
                    self.watch(place);
                    return Ok(opened);
                }
                Answer::Needs(cost) => permit = Some(self.admit(cost, &mut rounds_left)?),
            }
        }
    }

    /// Enters a place among those that housekeeping looks at: it holds something open, or has failed.
    fn watch(&self, place: &Arc<Place>) {
        self.resident().insert(place.number(), place.clone());
    }

    /// Waits while what has been written and not flushed is over budget.
    pub(super) fn wait_for_memtables(&self) -> Result<()> {
        for _ in 0..WRITE_WAITS {
            if self.shared.memtable_bytes() <= self.budgets.memtable_bytes() {
                return Ok(());
            }
            std::thread::sleep(WRITE_WAIT);
        }
        Err(Error::new(ErrorKind::Throttled, "more is being written than can be flushed"))
    }

    /// Leave to open something, once there is room.
    fn admit(&self, cost: Cost, rounds_left: &mut u32) -> Result<Permit> {
        let until = self.shared.ticks().now() + WAIT_TICKS;
        while *rounds_left > 0 && self.shared.ticks().now() < until && !self.is_leaving.load(Ordering::SeqCst) {
            *rounds_left -= 1;
            if let Some(permit) = self.ledger.try_acquire(cost) {
                self.opened.fetch_add(1, Ordering::Relaxed);
                return Ok(permit);
            }
            if !self.close_coldest() {
                self.ledger.wait(WAIT);
            }
        }
        Err(Error::new(ErrorKind::Throttled, "as many cells are in use as the budgets allow to be open"))
    }

    /// Closes the coldest cell or view that nobody is using. False if there is none.
    fn close_coldest(&self) -> bool {
        let patience = Patience { still: self.still_ticks(), old: self.still_ticks().saturating_mul(10) };
        self.coldest_first().iter().any(|holding| self.close(holding, patience))
    }

    fn close(&self, holding: &Holding, patience: Patience) -> bool {
        self.note_closed(match holding.view {
            Some(number) => holding.place.close_view(number, patience),
            None => holding.place.close(patience),
        })
    }

    fn note_closed(&self, is_closed: bool) -> bool {
        self.closed.fetch_add(u64::from(is_closed), Ordering::Relaxed);
        is_closed
    }

    /// Everything that is open, the longest unused first.
    fn coldest_first(&self) -> Vec<Holding> {
        let residents: Vec<_> = self.resident().values().cloned().collect();
        let mut holdings: Vec<_> = residents.iter().flat_map(Place::holdings).collect();
        holdings.sort_by_key(|holding| holding.last_used);
        holdings
    }

    /// One step of housekeeping.
    pub(super) fn tick(&self) {
        self.shared.ticks().advance();
        self.flush_for_memory();
        if self.shared.ticks().now().is_multiple_of(TICKS_PER_SECOND) {
            let residents = self.inspect();
            self.flush_for_logs(&residents);
            self.stats_with(&residents).publish();
            self.close_idle();
            self.forget_closed();
        }
    }

    /// Memtables are written out before they reach their budget, those of the coldest cells first: RocksDB alone would
    /// flush only the cell that is being written to, in ever smaller pieces.
    fn flush_for_memory(&self) {
        let is_over = |share: usize| self.shared.memtable_bytes() > self.budgets.memtable_bytes() / 8 * share;
        if !is_over(5) {
            return;
        }
        for holding in self.coldest_first() {
            if !is_over(3) {
                return;
            }
            if let Some(engine) = holding.place.open_engine() {
                flush(&engine);
            }
        }
        if let (true, Some(zero)) = (is_over(3), self.zero.get().and_then(Weak::upgrade)) {
            flush(&zero);
        }
    }

    /// Logs are let go of before they reach their budget, the largest first.
    fn flush_for_logs(&self, residents: &[(Arc<Place>, Condition)]) {
        let mut logs: Vec<_> = residents.iter().map(|(place, condition)| (condition.wal_bytes, place)).collect();
        logs.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut total: u64 = logs.iter().map(|(bytes, _)| bytes).sum();
        for (bytes, place) in logs {
            if total <= self.budgets.wal_bytes / 2 {
                return;
            }
            if let Some(engine) = place.open_engine() {
                flush(&engine);
            }
            total -= bytes;
        }
    }

    /// Closes what has been idle for long, and more while less than a tenth of a budget is left, so that who opens a
    /// cell rarely has to wait for another to close.
    fn close_idle(&self) {
        let now = self.shared.ticks().now();
        for holding in self.coldest_first() {
            let is_idle = now.saturating_sub(holding.last_used) > self.idle_ticks();
            let is_cold = now.saturating_sub(holding.last_used) > TICKS_PER_SECOND;
            if is_idle || (is_cold && self.ledger.is_nearly_full()) {
                self.close(&holding, self.patience_at_leisure());
            } else {
                return;
            }
        }
    }

    fn forget_closed(&self) {
        // One that is being opened counts as holding something, and enters itself again when it is open.
        self.resident().retain(|_, place| place.is_resident());
    }

    /// Brings back what a crash has left in the logs of cells, one after the other, so that no tenant has to wait for it.
    pub(super) fn recover(&self) {
        for number in self.numbers() {
            if self.is_leaving.load(Ordering::SeqCst) {
                return;
            }
            let left_open = self.place(number).ok().filter(|place| place.needs_recovery());
            let Some(place) = left_open else { continue };
            match self.open(&place) {
                Ok(engine) => {
                    tracing::info!(cell = number, "recovered a cell after a crash");
                    drop(engine);
                    self.note_closed(place.close(self.patience_at_leisure()));
                }
                Err(error) => tracing::error!(cell = number, %error, "a cell cannot be recovered"),
            }
        }
    }

    /// Those that hold something open, and how they are.
    fn inspect(&self) -> Vec<(Arc<Place>, Condition)> {
        let residents: Vec<_> = self.resident().values().cloned().collect();
        let inspect = |place: Arc<Place>| {
            let condition = place.inspect(&self.shared);
            (place, condition)
        };
        residents.into_iter().map(inspect).collect()
    }

    pub(super) fn stats(&self) -> CellStats {
        self.stats_with(&self.inspect())
    }

    fn stats_with(&self, residents: &[(Arc<Place>, Condition)]) -> CellStats {
        let (used, limits) = (self.ledger.used(), self.ledger.limits());
        let mut stats = CellStats {
            known: self.places().len(),
            open: used.cells as usize,
            open_limit: limits.cells as usize,
            handle_bytes: used.memory,
            handle_bytes_limit: limits.memory,
            open_files: used.files,
            open_files_limit: limits.files,
            memtable_bytes: self.shared.memtable_bytes(),
            memtable_bytes_limit: self.budgets.memtable_bytes(),
            cache_bytes: self.shared.cache_bytes(),
            cache_bytes_limit: self.budgets.cache_bytes(),
            wal_bytes_limit: self.budgets.wal_bytes,
            opened_total: self.opened.load(Ordering::Relaxed),
            closed_total: self.closed.load(Ordering::Relaxed),
            ..CellStats::default()
        };
        for (_, condition) in residents {
            stats.views += condition.views;
            stats.failed += usize::from(condition.has_failed);
            stats.wal_bytes += condition.wal_bytes;
        }
        stats
    }

    /// While nobody waits for room, a scan that goes on may go on.
    fn patience_at_leisure(&self) -> Patience {
        Patience { still: self.still_ticks(), old: u64::MAX }
    }

    /// For how long a scan may stand still.
    fn still_ticks(&self) -> u64 {
        self.idle_ticks().max(TICKS_PER_SECOND)
    }

    fn idle_ticks(&self) -> u64 {
        u64::try_from(self.budgets.idle.as_millis()).unwrap_or(u64::MAX).saturating_mul(TICKS_PER_SECOND) / 1000
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resident(&self) -> MutexGuard<'_, BTreeMap<u32, Arc<Place>>> {
        self.resident.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flush(engine: &RocksEngine) {
    if let Err(error) = engine.flush() {
        tracing::error!(%error, "a cell cannot be flushed");
    }
}
