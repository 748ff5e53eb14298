//! How a tenant's ring comes from the disk into memory: its root keys are asked, and what they say has consequences. No
//! lock of the storage is held while they are asked.

use super::entries::Entry;
use super::row::Fence;
use super::tenant::{Keeping, LOADS, Tenant, too_many_changes};
use super::{Status, TENANTS};
use crate::audit::{Act, Actor, Event, Outcome};
use crate::clock::Deadline;
use crate::engine::{Batch, Durability};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::{self, Found, Leave, Loaded, OutageProof, Repair, Ring, Shut};
use crate::kms::{Patience, RootKeys};
use crate::name::Incarnation;

/// How often, at most, the row is written only because a root key has allowed again.
const ALLOWED_EVERY_SECS: u64 = 60;

/// When a tenant's root keys were asked, and how many refusals had been heard by then: an answer is no newer than that.
#[derive(Clone, Copy)]
struct Asked {
    refusals: u64,
    at_secs: u64,
    at: Deadline,
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
        let left = self.recovery_left(leave.serves());
        if left.is_zero() {
            return Err(Shut::Outage(outage).into());
        }
        match self.open_by_recovery(&leave, &Actor::Store) {
            Ok(ring) => Ok(Loaded::Stopgap(ring, left)),
            // Its refusal is not that of an owner: what the tenant suffers is the outage of the others.
            Err(error) if error.kind() == ErrorKind::KeyRevoked => Err(Shut::Outage(outage).into()),
            Err(error) => Err(error),
        }
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
        if matches!(answer, Ok(Err(Shut::Outage(_) | Shut::Tampered))) && self.asks_elsewhere() {
            self.keys().begin_rest();
        }
        answer
    }

    /// An error of loading the ring, with the time that whoever keeps this tenant's root keys has asked for.
    pub(super) fn advise(&self, error: Error) -> Error {
        match self.find_ring() {
            Ok(found) if error.kind() == ErrorKind::Throttled => self.register().advise(found.outline().policy, error),
            _ => error,
        }
    }

    fn asks_elsewhere(&self) -> bool {
        let roots = self.register().roots();
        let leaves = |found: Found| found.outline().policy.roots().into_iter().any(|root| roots.is_external(root));
        self.find_ring().is_ok_and(leaves)
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
        let accepted = opened.map_err(Error::from).and_then(|opened| self.accept(opened, None));
        match accepted.and_then(|ring| ring.ok_or_else(too_many_changes)) {
            Ok(ring) => record(event).map(|()| ring),
            Err(error) => {
                record(event.outcome(Outcome::Failed).detail("error", error.kind()))?;
                Err(error)
            }
        }
    }

    fn ask_roots_unwitnessed(&self) -> Result<Result<Ring, Shut>> {
        self.check_home()?;
        let patience = Patience::new();
        for _ in 0..LOADS {
            let sequence = self.keeping().sequence;
            let (refusals, at_secs) = (self.refusals(), self.register().now_secs());
            let asked = Asked { refusals, at_secs, at: Deadline::now(self.register().clock()) };
            match self.find_ring()?.open(self.register().roots(), &patience) {
                Ok(opened) => {
                    if let Some(ring) = self.accept(opened, Some(asked))? {
                        self.note_answer();
                        return Ok(Ok(ring));
                    }
                }
                // Root keys of a policy that is over have nothing to say.
                Err(_) if self.keeping().sequence != sequence => {}
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
    /// recovery root that opened it. `None` if somebody has changed the ring, or an owner has refused, while the root keys
    /// were asked.
    fn accept(&self, (ring, repair): (Ring, Option<Repair>), asked: Option<Asked>) -> Result<Option<Ring>> {
        // Before the row is held: the store's own root keys may be asked, and if they refuse, whoever needs them hears it.
        drop(self.register().refresh());
        let _row = self.begin_row_change();
        let (status, is_late) = (self.status(), asked.is_some_and(|asked| asked.refusals != self.refusals()));
        if ring.sequence() < self.keeping().sequence || is_late {
            return Ok(None);
        }
        if status != Status::Destroying {
            if let Some(repair) = repair {
                self.cells().with_rings(self.cell_number(), |rings| {
                    repair.run(rings, self.box_number());
                    Ok(())
                })?;
            }
            self.settle(&ring, status, asked)?;
        }
        Ok(Some(ring))
    }

    /// Writes down what a crash kept from being written: that the next epoch has come, or that it has not, and that a
    /// later slot is there, in the trail too. Then that a root key has allowed, and that a refusal it follows is over.
    fn settle(&self, ring: &Ring, status: Status, asked: Option<Asked>) -> Result<()> {
        let before = self.keeping();
        let mut keeping = before.clone();
        if let Some(next) = keeping.next.take()
            && next.number == ring.epoch()
        {
            keeping.epoch = *next;
        }
        keeping.sequence = ring.sequence();
        let mut must_be_synced = before.next.is_some() || before.sequence != ring.sequence();
        let mut events = Vec::new();
        if before.sequence != ring.sequence() {
            events.push(settled(ring));
        }
        let mut is_lifted = false;
        if let Some(Asked { at_secs, at, .. }) = asked {
            keeping.last_allowed_secs = at_secs.max(1);
            self.recovery_ends(ring.policy().recovery().map(|_| at.plus(ring.policy().recovery_limit())));
            if self.is_refused() {
                // What a custodian has ordered is for a custodian to lift.
                keeping.fence = keeping.fence.filter(|fence| *fence == Fence::Ordered);
                (must_be_synced, is_lifted) = (true, true);
                events.push(Event::new(Act::FENCE_LIFTED, Actor::Store));
            }
        }
        let is_later = keeping.last_allowed_secs.abs_diff(before.last_allowed_secs) >= ALLOWED_EVERY_SECS;
        match (must_be_synced, is_later && ring.policy().recovery().is_some()) {
            (true, _) => self.write_and_tell(status, &keeping, &events, &|_| Ok(()))?,
            (false, true) => {
                // A disk that is full must not shut out whom a root key has just allowed.
                if let Err(error) = self.write_keeping(Batch::new(Durability::Buffered), status, keeping.clone(), None)
                {
                    tracing::warn!(incarnation = ?self.incarnation(), %error, "a row could not be written");
                    self.set_keeping(keeping);
                }
            }
            (false, false) => self.set_keeping(keeping),
        }
        if let (true, Some(asked)) = (is_lifted, asked) {
            tracing::info!(incarnation = ?self.incarnation(), "a root key allows again; the fence is lifted");
            self.lift_refusal(asked.refusals);
        }
        Ok(())
    }

    /// Writes the row, synced, with what there is to tell of it and with what `others` adds. No damage to a trail keeps a
    /// fence from being set or lifted: then the trail of the store tells of it, and if that is damaged too, the log.
    pub(super) fn write_and_tell(
        &self,
        status: Status,
        keeping: &Keeping,
        events: &[Event],
        others: &dyn Fn(&mut Batch) -> Result<()>,
    ) -> Result<()> {
        let write = |trail: Option<Incarnation>| {
            let mut batch = Batch::new(Durability::Synced);
            others(&mut batch)?;
            let whose = |event: &Event| match trail == Some(self.incarnation()) {
                true => event.clone(),
                false => event.clone().detail("incarnation", format!("{:?}", self.incarnation())),
            };
            let entries = trail.into_iter().flat_map(|trail| events.iter().map(move |event| (trail, whose(event))));
            self.write_keeping(batch, status, keeping.clone(), entries)
        };
        for trail in [self.incarnation(), self.trails().of_store()] {
            match write(Some(trail)) {
                Err(error) if matches!(error.kind(), ErrorKind::Tampered | ErrorKind::Corrupt) => {
                    let acts: Vec<_> = events.iter().map(|event| event.act.as_str()).collect();
                    tracing::error!(incarnation = ?self.incarnation(), ?acts, %error, "a damaged trail cannot tell of this");
                }
                outcome => return outcome,
            }
        }
        write(None)
    }

    /// Writes the row in one batch with others and what the trails say of it, and then knows it. For whoever holds
    /// [`begin_row_change`](Self::begin_row_change), and has read the status since.
    pub(super) fn write_keeping(
        &self,
        mut batch: Batch,
        status: Status,
        keeping: Keeping,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<()> {
        let row = self.row_with(status, keeping.clone());
        self.register().put(&mut batch, TENANTS, &[row.name.as_str().as_bytes()], &row)?;
        self.trails().apply(batch, entries)?;
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
