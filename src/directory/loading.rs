//! How a tenant's ring comes from the disk into memory: its root keys are asked, and what they say has consequences. No
//! lock of the storage is held while they are asked.

use super::row::Fence;
use super::tenant::{Keeping, LOADS, Tenant, too_many_changes};
use super::{Status, TENANTS};
use crate::audit::{Act, Actor, Event, Outcome};
use crate::engine::{Batch, Durability};
use crate::error::{Error, Result};
use crate::keys::{self, Found, Leave, Loaded, OutageProof, Repair, Ring, Shut};
use crate::kms::Patience;

/// How often, at most, the row is written only because a root key has allowed again.
const ALLOWED_EVERY_SECS: u64 = 60;

/// When a tenant's root keys were asked, and in which of its terms: an answer is no newer than that.
#[derive(Clone, Copy)]
struct Asked {
    term: u64,
    at_secs: u64,
}

impl Tenant {
    /// The ring for sessions. If no root key answers and nothing is in memory, the recovery root does, for as long as the
    /// policy allows.
    ///
    /// # Errors
    /// As the root keys answer; a refusal has fenced the tenant then.
    pub(super) fn load(&self) -> Result<Loaded> {
        let outage = match self.ask_roots()? {
            Ok(ring) => return Ok(Loaded::Whole(ring)),
            Err(Shut::Outage(outage)) if self.keys().serves_for().is_none() => outage,
            Err(shut) => return Err(shut.into()),
        };
        let policy = self.find_ring()?.outline().policy.clone();
        let (is_fenced, last_allowed_secs) = (self.fence().is_some(), self.keeping().last_allowed_secs);
        let now_secs = self.register().now_secs();
        let Some(proof) = OutageProof::of(outage, &policy, is_fenced, last_allowed_secs, now_secs) else {
            return Err(Shut::Outage(outage).into());
        };
        let leave = Leave::Outage(proof);
        let ring = self.open_by_recovery(&leave, &Actor::Store)?;
        Ok(Loaded::Stopgap(ring, leave.serves()))
    }

    /// The ring for an act of custody, for which the recovery root is not asked.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(super) fn load_for_custody(&self) -> Result<Ring> {
        Ok(self.ask_roots()??)
    }

    /// Asks the root keys that the policy names, except the recovery root, and draws the consequences of their answer.
    pub(super) fn ask_roots(&self) -> Result<Result<Ring, Shut>> {
        let answer = self.ask_roots_unwitnessed();
        self.trails().write_calls();
        answer
    }

    /// Has the recovery root open the ring. That it is asked is in the tenant's trail, durably, before it is.
    pub(super) fn open_by_recovery(&self, leave: &Leave, by: &Actor) -> Result<Ring> {
        let found = self.find_ring()?;
        let root = found.outline().policy.recovery().map(|root| root.as_str().to_owned()).unwrap_or_default();
        let event = Event::new(Act::RECOVERY_ROOT_USED, by.clone());
        let event = event.detail("root", &root).detail("because", leave.reason());
        let record = |event| self.trails().record(self.incarnation(), event, Durability::Synced);
        record(event.clone().outcome(Outcome::Begun))?;
        tracing::warn!(incarnation = ?self.incarnation(), root, because = leave.reason(), "the recovery root is asked");
        metrics::counter!("strongroom_recovery_root_calls_total").increment(1);
        let opened = found.open_by_recovery(leave, self.register().roots(), &Patience::new());
        self.trails().write_calls();
        match opened {
            Ok(opened) => {
                let ring = self.accept(opened, None)?.ok_or_else(too_many_changes)?;
                record(event).map(|()| ring)
            }
            Err(shut) => {
                let error = Error::from(shut);
                record(event.outcome(Outcome::Failed).detail("error", error.kind()))?;
                Err(error)
            }
        }
    }

    fn ask_roots_unwitnessed(&self) -> Result<Result<Ring, Shut>> {
        self.check_home()?;
        let patience = Patience::new();
        for _ in 0..LOADS {
            let asked = Asked { term: self.term(), at_secs: self.register().now_secs() };
            match self.find_ring()?.open(self.register().roots(), &patience) {
                Ok(opened) => {
                    if let Some(ring) = self.accept(opened, Some(asked))? {
                        self.note_answer();
                        return Ok(Ok(ring));
                    }
                }
                Err(shut) => {
                    match shut {
                        Shut::Refused(answer) => self.observe_refusal(answer),
                        Shut::Outage(_) => self.note_outage(),
                        Shut::Tampered => {}
                    }
                    return Ok(Err(shut));
                }
            }
        }
        Err(too_many_changes())
    }

    /// The slots that the row describes.
    fn find_ring(&self) -> Result<Found> {
        let (number, belief) = (self.box_number(), self.belief());
        self.cells().with_rings(self.cell_number(), |rings| keys::read(rings, number, &belief))
    }

    /// Takes an opened ring in: mends its other slot, and writes down what there is to write. `asked` unless it was the
    /// recovery root that opened it. `None` if somebody has changed the ring while the root keys were asked.
    fn accept(&self, (ring, repair): (Ring, Option<Repair>), asked: Option<Asked>) -> Result<Option<Ring>> {
        // Before the row is held: the store's own root keys may be asked, and if they refuse, whoever needs them hears it.
        drop(self.register().refresh());
        let _row = self.begin_row_change();
        if ring.sequence() < self.keeping().sequence {
            return Ok(None);
        }
        if self.status() != Status::Destroying {
            if let Some(repair) = repair {
                self.cells().with_rings(self.cell_number(), |rings| {
                    repair.run(rings, self.box_number());
                    Ok(())
                })?;
            }
            self.settle(&ring, asked)?;
        }
        Ok(Some(ring))
    }

    /// Writes down what a crash kept from being written: that the next epoch has come, or that it has not, and that a
    /// later slot is there, in the trail too. Then that a root key has allowed, and that a refusal it follows is over.
    fn settle(&self, ring: &Ring, asked: Option<Asked>) -> Result<()> {
        let before = self.keeping();
        let mut keeping = before.clone();
        if let Some(next) = keeping.next.take()
            && next.number == ring.epoch()
        {
            keeping.epoch = *next;
        }
        keeping.sequence = ring.sequence();
        let mut must_be_synced = before.next.is_some() || before.sequence != ring.sequence();
        let mut events: Vec<Event> = (before.sequence != ring.sequence()).then(|| settled(ring)).into_iter().collect();
        let mut is_lifted = false;
        if let Some(Asked { term, at_secs }) = asked {
            keeping.last_allowed_secs = at_secs;
            // Not if the refusal came later than the question.
            if self.fence() == Some(Fence::Observed) && self.term() == term {
                keeping.fence = None;
                (must_be_synced, is_lifted) = (true, true);
                events.push(Event::new(Act::FENCE_LIFTED, Actor::Store));
            }
        }
        let is_later = keeping.last_allowed_secs.abs_diff(before.last_allowed_secs) >= ALLOWED_EVERY_SECS;
        match (must_be_synced, is_later && ring.policy().recovery().is_some()) {
            (true, _) => self.write_keeping(keeping, Durability::Synced, events)?,
            (false, true) => self.write_keeping(keeping, Durability::Buffered, None)?,
            (false, false) => self.set_keeping(keeping),
        }
        if is_lifted {
            tracing::info!(incarnation = ?self.incarnation(), "a root key allows again; the fence is lifted");
            self.unfence(Fence::Observed);
        }
        Ok(())
    }

    /// Writes the row with what the trail says of it, and then knows it. For whoever holds
    /// [`begin_row_change`](Self::begin_row_change).
    pub(super) fn write_keeping(
        &self,
        keeping: Keeping,
        durability: Durability,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<()> {
        let (row, mut batch) = (self.row_with(self.status(), keeping.clone()), Batch::new(durability));
        self.register().put(&mut batch, TENANTS, &[row.name.as_str().as_bytes()], &row)?;
        self.trails().apply(batch, events.into_iter().map(|event| (self.incarnation(), event)))?;
        self.set_keeping(keeping);
        Ok(())
    }
}

/// What a ring has come to by an act that a crash ended before it was told. Whose it was is not known any more.
fn settled(ring: &Ring) -> Event {
    let roots = ring.root_versions().map(|(root, version)| format!("{} {version}", root.as_str()));
    let generations = ring.generations().map(|(number, _)| number.to_string());
    let event = Event::new(Act::KEYS_SETTLED, Actor::Store).detail("epoch", ring.epoch());
    let event = event.detail("roots", roots.collect::<Vec<_>>().join(", ")).detail("policy", ring.policy());
    event.detail("generations", generations.collect::<Vec<_>>().join(", "))
}
