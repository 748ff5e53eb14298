//! Moving a tenant's records to its newest generation, while everybody works, until no record needs an older one.
//!
//! By sweeps: a sweep looks at the envelope of every row of the tenant's box, whosever it is, and seals again what names an
//! older generation, by compare-and-swap. Sweeps follow each other until one has met nothing to do: that one is the proof.

mod census;
mod sweep;

use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use census::census;
pub use census::{Census, GenerationCensus};
pub(crate) use sweep::{Outcome, Step, Sweeper};

use crate::clock::Clock;
use crate::directory::{Directory, Tenant};
use crate::error::Result;

/// How a tenant's records are moved to its newest generation.
#[must_use = "a plan does nothing until a custodian carries it out"]
pub struct ResealPlan<'p> {
    bytes_per_second: u64,
    progress: Teller<'p>,
}

/// Is told how far it has come, and says whether to go on.
type Teller<'p> = Box<dyn FnMut(&ResealProgress) -> ControlFlow<()> + 'p>;

/// How far a reseal has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResealProgress {
    /// Which sweep over the tenant's records this is, counted from 1. The last one finds nothing to do.
    pub sweep: u32,
    /// How much of it is done: 0 to 100, by an estimate of how many records there are.
    pub percent: u8,
    /// Records looked at in all sweeps of this call: those of the tenant's collections, chunks of long values, and the
    /// catalog's.
    pub records: u64,
    /// Records sealed again.
    pub resealed: u64,
    /// Bytes read and written for it.
    pub bytes: u64,
    /// Records of older generations that do not authenticate, so that nobody can seal them again, in this sweep.
    pub unreadable: u64,
}

/// What a reseal has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResealReport {
    /// Whether no record is left of any generation but the newest. If not, the call was interrupted, or what is left is
    /// unreadable: [`can_destroy`](crate::TenantCustody::can_destroy) names it.
    pub is_complete: bool,
    /// What was done.
    pub progress: ResealProgress,
}

impl<'p> ResealPlan<'p> {
    /// As fast as it goes.
    pub fn new() -> Self {
        Self { bytes_per_second: u64::MAX, progress: Box::new(|_| ControlFlow::Continue(())) }
    }

    /// Bytes that it may read and write in a second; without limit unless said otherwise.
    pub fn bytes_per_second(mut self, bytes: u64) -> Self {
        self.bytes_per_second = bytes.max(1);
        self
    }

    /// Is told after every page of records, and says whether to go on. What was interrupted goes on where it stopped when it
    /// is called again, and in the background.
    pub fn on_progress(mut self, progress: impl FnMut(&ResealProgress) -> ControlFlow<()> + 'p) -> Self {
        self.progress = Box::new(progress);
        self
    }
}

impl Default for ResealPlan<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// Carries out a plan. `check` is asked before every page.
pub(crate) fn reseal(
    directory: &Directory,
    tenant: &Tenant,
    clock: &dyn Clock,
    mut plan: ResealPlan<'_>,
    check: &dyn Fn() -> Result<()>,
) -> Result<ResealReport> {
    // Else what the store does by itself would come on top of the plan's bytes.
    let _attended = tenant.attend();
    let mut sweeper = Sweeper::new(directory, tenant)?;
    let mut progress = ResealProgress { sweep: 1, ..ResealProgress::default() };
    let began_ms = clock.monotonic_ms();
    loop {
        check()?;
        let step = sweeper.step()?;
        progress.add(&step);
        let told = (plan.progress)(&progress);
        let is_complete = match step.outcome {
            Outcome::Complete => true,
            Outcome::Unreadable => false,
            Outcome::UnderWay | Outcome::Again if told.is_break() => {
                sweeper.save()?;
                false
            }
            outcome => {
                if outcome == Outcome::Again {
                    progress.sweep += 1;
                }
                let due_ms = u128::from(progress.bytes) * 1000 / u128::from(plan.bytes_per_second);
                wait_until(clock, began_ms.saturating_add(u64::try_from(due_ms).unwrap_or(u64::MAX)), check)?;
                continue;
            }
        };
        return Ok(ResealReport { is_complete, progress });
    }
}

fn wait_until(clock: &dyn Clock, due_ms: u64, check: &dyn Fn() -> Result<()>) -> Result<()> {
    const LOOK_EVERY_MS: u64 = 50;
    loop {
        let left = due_ms.saturating_sub(clock.monotonic_ms());
        if left == 0 {
            return Ok(());
        }
        check()?;
        std::thread::sleep(Duration::from_millis(left.min(LOOK_EVERY_MS)));
    }
}

impl ResealProgress {
    fn add(&mut self, step: &Step) {
        self.percent = step.percent;
        self.records += step.records;
        self.resealed += step.resealed;
        self.bytes += step.bytes;
        self.unreadable = step.unreadable;
    }
}

impl std::fmt::Debug for ResealPlan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResealPlan").field("bytes_per_second", &self.bytes_per_second).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
