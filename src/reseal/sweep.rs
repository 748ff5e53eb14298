//! One sweep, page by page: which rows are of older generations, sealing them again, and what is known at the end.

use std::sync::Arc;

use crate::aead::NONCE_LEN;
use crate::clock::Deadline;
use crate::directory::{Directory, Found, SavedSweep, Sweep, Tenant, Writing};
use crate::engine::{Batch, Durability, Row};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::Ring;
use crate::keys::lifecycle::{Event, Lifecycle};
use crate::seal::{self, Envelope, Place};

/// Bytes of rows that are looked at in one step, and written in one batch at most.
pub(super) const PAGE_BYTES: usize = 128 << 10;
/// Bytes of rows after which the cursor is saved: so many may have to be looked at again after a crash.
const SAVE_EVERY_BYTES: u64 = 32 << 20;
/// How often a row that somebody else keeps changing is tried before it is left to the next sweep.
const ATTEMPTS: u32 = 16;

/// Takes steps of a tenant's sweep. Several may be at it at once: they take turns.
pub(crate) struct Sweeper<'t> {
    directory: &'t Directory,
    tenant: &'t Tenant,
    ring: Arc<Ring>,
    /// When the ring is asked for again: who refuses is not to be kept waiting by work that goes on for hours.
    fresh_until: Deadline,
}

/// What one step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) outcome: Outcome,
    pub(crate) percent: u8,
    pub(crate) records: u64,
    pub(crate) resealed: u64,
    /// Bytes read and written.
    pub(crate) bytes: u64,
    /// Records of this sweep that nobody can seal again.
    pub(crate) unreadable: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    UnderWay,
    /// The sweep has come to its end, and another is needed: this one has met records of older generations, or began in
    /// the middle, or before a generation was added.
    Again,
    /// The sweep has come to its end, and no record is left of any generation but the newest.
    Complete,
    /// The sweep has come to its end, and what is left of older generations is unreadable.
    Unreadable,
}

impl<'t> Sweeper<'t> {
    /// # Errors
    /// As the root keys answer, if the tenant's ring is not in memory.
    pub(crate) fn new(directory: &'t Directory, tenant: &'t Tenant) -> Result<Self> {
        let (ring, fresh_until) = tenant.ring_for_upkeep()?;
        Ok(Self { directory, tenant, ring, fresh_until })
    }

    /// Looks at one page of rows, of the sweep that is under way or a new one.
    ///
    /// # Errors
    /// `KeyRevoked` once the tenant is fenced, though the ring is in hand.
    pub(crate) fn step(&mut self) -> Result<Step> {
        self.tenant.check_unfenced()?;
        // Before the sweep is held: root keys may be asked.
        if !self.tenant.is_newest(&self.ring) || self.directory.has_passed(&self.fresh_until) {
            (self.ring, self.fresh_until) = self.tenant.ring_for_upkeep()?;
        }
        let mut under_way = self.tenant.sweep();
        if under_way.is_none() {
            *under_way = self.begin()?;
        }
        let Some(sweep) = &mut *under_way else { return Ok(Step::NOTHING_TO_DO) };
        let page = self.tenant.reader()?.view()?.page(self.tenant.keyspace(), &sweep.from, None, PAGE_BYTES)?;
        let more = page.more;
        let read = page.rows.iter().map(|(key, bytes)| size(key, bytes)).sum();
        let mut step = Step {
            outcome: Outcome::UnderWay,
            percent: 0,
            records: page.rows.len() as u64,
            resealed: 0,
            bytes: read,
            unreadable: 0,
        };
        let next = page.rows.last().map(|(last, _)| after(last));
        self.note(sweep, &page.rows)?;
        let old: Vec<Row> = page.rows.into_iter().filter(|(_, bytes)| self.is_old(bytes)).collect();
        self.reseal(sweep, old, &mut step)?;
        sweep.rows += step.records;
        sweep.bytes_unsaved += read;
        sweep.from = next.unwrap_or_default();
        step.unreadable = sweep.found.values().map(|found| found.unreadable).sum();
        step.percent = sweep.percent();
        if !more {
            step.percent = 100;
            step.outcome = self.end(sweep)?;
            *under_way = None;
        } else if sweep.bytes_unsaved >= SAVE_EVERY_BYTES {
            self.save_sweep(sweep)?;
        }
        Ok(step)
    }

    /// Writes down how far the sweep has come, durably.
    pub(crate) fn save(&self) -> Result<()> {
        match &mut *self.tenant.sweep() {
            Some(sweep) => self.save_sweep(sweep),
            None => Ok(()),
        }
    }

    /// Begins where an earlier process stopped, or at the first row. `None` if it is known that there is nothing to do.
    fn begin(&self) -> Result<Option<Sweep>> {
        if self.tenant.drain(&self.ring)?.is_clean() {
            self.directory.change_upkeep(self.tenant, |upkeep| upkeep.sweep = None)?;
            return Ok(None);
        }
        let saved = self.directory.upkeep(self.tenant).sweep;
        let mut sweep = saved.as_ref().map(|saved| saved.resume(&self.ring)).unwrap_or_default();
        sweep.rows_expected = self.tenant.reader()?.estimate_rows(self.tenant.keyspace())?;
        if saved.is_none() {
            // From here on it is known, across restarts, that there is something to finish.
            self.directory.change_upkeep(self.tenant, |upkeep| upkeep.sweep = Some(SavedSweep::default()))?;
        }
        self.tenant.happened(Event::SweepBegan { at_first_row: sweep.from.is_empty() }, &self.ring)?;
        Ok(Some(sweep))
    }

    fn is_old(&self, bytes: &[u8]) -> bool {
        seal::peek_generation(bytes).is_some_and(|generation| generation < self.ring.write_generation())
    }

    /// Tells the lifecycle what is there, before anything is done about it: every generation that a row names, whichever
    /// this sweeper takes for the newest.
    fn note(&self, sweep: &mut Sweep, rows: &[Row]) -> Result<()> {
        for (key, bytes) in rows {
            let Some(generation) = seal::peek_generation(bytes) else { continue };
            let known = sweep.found.entry(generation).or_default();
            if known.records == 0 {
                self.tenant.happened(Event::Found(generation), &self.ring)?;
            }
            known.records += 1;
            known.bytes += size(key, bytes);
        }
        Ok(())
    }

    /// Seals rows again, all in one batch; one by one if somebody has written one of them meanwhile.
    fn reseal(&mut self, sweep: &mut Sweep, old: Vec<Row>, step: &mut Step) -> Result<()> {
        if old.is_empty() {
            return Ok(());
        }
        let tenant = self.tenant;
        // Before the gate, for which suspensions and rotations wait: a cell that is shut may take its time.
        let engine = tenant.writer()?;
        let writing = self.begin_write()?;
        let nonces = self.nonces(old.len())?;
        let (mut batch, mut count, mut bytes) = (Batch::new(Durability::Buffered), 0, 0);
        for ((key, envelope), nonce) in old.iter().zip(&nonces) {
            match seal_again(&writing, key, envelope.clone(), nonce)? {
                Some((resealed, length)) => {
                    expect(&mut batch, tenant, key, envelope, resealed);
                    (count, bytes) = (count + 1, bytes + length);
                }
                None => unreadable(sweep, envelope),
            }
        }
        match engine.apply(batch) {
            Ok(()) => (step.resealed, step.bytes) = (step.resealed + count, step.bytes + bytes),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                metrics::counter!("strongroom_reseal_conflicts_total").increment(1);
                for (key, _) in old {
                    self.reseal_one(&writing, sweep, &key, step)?;
                }
            }
            Err(error) => return Err(error),
        }
        metrics::counter!("strongroom_resealed_total").increment(count);
        Ok(())
    }

    /// Looks at a row again and again until it is of the newest generation or gone, or it is another sweep's turn.
    fn reseal_one(&self, writing: &Writing<'_>, sweep: &mut Sweep, key: &[u8], step: &mut Step) -> Result<()> {
        let (tenant, engine) = (self.tenant, self.tenant.writer()?);
        for _ in 0..ATTEMPTS {
            let mut found = None;
            engine.get(tenant.keyspace(), key, &mut |bytes| found = Some(bytes.to_vec()))?;
            let Some(envelope) = found.filter(|bytes| self.is_old(bytes)) else { return Ok(()) };
            let nonce = self.directory.entropy().bytes()?;
            let Some((resealed, length)) = seal_again(writing, key, envelope.clone(), &nonce)? else {
                unreadable(sweep, &envelope);
                return Ok(());
            };
            let mut batch = Batch::new(Durability::Buffered);
            expect(&mut batch, tenant, key, &envelope, resealed);
            match engine.apply(batch) {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                outcome => {
                    (step.resealed, step.bytes) = (step.resealed + 1, step.bytes + length);
                    return outcome;
                }
            }
        }
        Ok(())
    }

    /// The end of a sweep: everything that it saw is made durable, and only then does it count. A write of the newest
    /// generation that a power cut could still take away would bring back the record of an older one.
    fn end(&self, sweep: &Sweep) -> Result<Outcome> {
        self.tenant.writer()?.sync()?;
        let lifecycle = self.tenant.sweep_ended(sweep, &self.ring)?;
        let outcome = outcome(&lifecycle, sweep);
        let again = matches!(outcome, Outcome::Again).then(SavedSweep::default);
        self.directory.change_upkeep(self.tenant, |upkeep| upkeep.sweep = again)?;
        tracing::info!(incarnation = ?self.tenant.incarnation(), ?outcome, rows = sweep.rows, "a sweep has ended");
        Ok(outcome)
    }

    fn save_sweep(&self, sweep: &mut Sweep) -> Result<()> {
        // What the cursor says is done has to be done on the disk.
        self.tenant.writer()?.sync()?;
        let saved = SavedSweep::of(sweep, &self.ring, &self.directory.entropy().bytes()?)?;
        self.directory.change_upkeep(self.tenant, |upkeep| upkeep.sweep = Some(saved))?;
        sweep.bytes_unsaved = 0;
        Ok(())
    }

    /// Leave to write under the newest ring.
    fn begin_write(&mut self) -> Result<Writing<'t>> {
        loop {
            if let Some(writing) = self.tenant.begin_upkeep(&self.ring)? {
                return Ok(writing);
            }
            self.ring = self.tenant.ring_for_custody()?;
        }
    }

    fn nonces(&self, count: usize) -> Result<Vec<[u8; NONCE_LEN]>> {
        let mut nonces = vec![[0; NONCE_LEN]; count];
        self.directory.entropy().fill(nonces.as_flattened_mut())?;
        Ok(nonces)
    }
}

fn outcome(lifecycle: &Lifecycle, sweep: &Sweep) -> Outcome {
    let left_for_good = |found: &Found| found.unreadable == found.records;
    match lifecycle.is_clean() {
        true => Outcome::Complete,
        false => {
            let newest = lifecycle.newest().unwrap_or_default();
            let mut old = sweep.found.range(..newest).map(|(_, found)| found).peekable();
            // Nothing was sealed again, so the next sweep would find the same.
            if old.peek().is_some() && old.all(left_for_good) { Outcome::Unreadable } else { Outcome::Again }
        }
    }
}

impl Step {
    const NOTHING_TO_DO: Self =
        Self { outcome: Outcome::Complete, percent: 100, records: 0, resealed: 0, bytes: 0, unreadable: 0 };
}

/// The same record under the newest generation, and its length; `None` if it does not authenticate.
fn seal_again(
    writing: &Writing<'_>,
    key: &[u8],
    envelope: Vec<u8>,
    nonce: &[u8; NONCE_LEN],
) -> Result<Option<(Envelope, u64)>> {
    let collection = key.first_chunk().map(|id| u32::from_be_bytes(*id));
    let Some(collection) = collection else { return Ok(None) };
    let read = size(key, &envelope);
    match seal::reseal(writing.ring(), Place { collection, engine_key: key }, nonce, envelope) {
        Ok(resealed) => Ok(Some((resealed, read))),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Tampered | ErrorKind::Corrupt | ErrorKind::KeyDestroyed)
}

/// Puts the resealed row in the place of the one that was looked at, and of no other.
fn expect(batch: &mut Batch, tenant: &Tenant, key: &[u8], found: &[u8], resealed: Envelope) {
    batch.expect_head(tenant.keyspace(), key.to_vec(), seal::peek_head(found).to_vec());
    batch.put(tenant.keyspace(), key.to_vec(), resealed);
}

fn unreadable(sweep: &mut Sweep, envelope: &[u8]) {
    if let Some(generation) = seal::peek_generation(envelope) {
        sweep.found.entry(generation).or_default().unreadable += 1;
    }
}

/// The first key after `key`.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Bytes of a row.
pub(super) fn size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}
