//! Every interleaving of rotations, writers, sweeps, scans, retirements, crashes and power cuts, of two tenants, with the
//! lifecycle that production asks. What is around it is abstracted: rows are a generation and a count of writes.

use std::collections::BTreeMap;

use stateright::{Model, Property};

use super::super::*;

const WRITERS: usize = 2;
pub(super) const ROWS: usize = 2;

/// A row: its generation (0 if there is none), and how often it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Row {
    generation: u32,
    write: u8,
}

type Rows = [Row; ROWS];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Tenant {
    /// Slots A and B, and the ring in memory: the living generations, ascending.
    slots: [Vec<u32>; 2],
    ring: Vec<u32>,
    lifecycle: Lifecycle,
    rows: Rows,
    /// What a power cut leaves.
    synced: Rows,
    acknowledged: [u8; ROWS],
    change: Option<Change>,
    sweep: Option<Sweep>,
    /// Where a sweep goes on after a crash.
    saved: usize,
    era: u64,
    made: u32,
}

/// A change of the ring under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Change {
    event: Event,
    slots_written: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sweep {
    next: usize,
    looked_at: Option<Row>,
    began_in: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Writer {
    tenant: usize,
    generation: u32,
    is_in_gate: bool,
    wrote: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Scan {
    tenant: usize,
    era: u64,
    snapshot: Option<Rows>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    tenants: Vec<Tenant>,
    writers: [Option<Writer>; WRITERS],
    scan: Option<Scan>,
    writes_left: u8,
    scans_left: u8,
    crashes_left: u8,
    had_conflict: bool,
    had_resumption: bool,
    had_hindrance: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Rotate(usize),
    Retire(usize, u32),
    /// The next slot, or the end of the change.
    Proceed(usize),
    Drain(usize),
    Enter(usize, usize),
    Write(usize, usize),
    Leave(usize),
    SweepBegin(usize),
    SweepLook(usize),
    SweepWrite(usize),
    SweepSave(usize),
    SweepEnd(usize),
    ScanBegin(usize),
    ScanSnapshot,
    ScanEnd,
    Crash,
    PowerCut,
}

/// What is left out, for the controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// Nobody waits for the writers of before.
    NoDrain,
    /// Whether a generation has drained is asked at the end of a sweep, not at its beginning.
    SweepBeforeDrain,
    /// A sweep that went on in the middle counts as one from the first row.
    ResumedSweepProves,
    /// Scans are not asked for.
    ScansForgotten,
    /// Scans count from the beginning of the sweep, not from its end.
    EraOfTheBeginning,
    /// What a sweep saw is not made durable.
    NoSync,
    /// A row is sealed again whatever it is by then.
    BlindReseal,
    /// A writer takes its ring before the gate.
    RingBeforeGate,
}

#[derive(Clone, Debug)]
pub(super) struct Protocol {
    /// How many generations each tenant may make.
    pub(super) generations: &'static [u32],
    pub(super) rows: usize,
    pub(super) writes: u8,
    pub(super) scans: u8,
    pub(super) crashes: u8,
    pub(super) defect: Option<Defect>,
}

fn newest(generations: &[u32]) -> u32 {
    *generations.last().expect("a ring is never empty")
}

impl Tenant {
    fn new(rows: usize) -> Self {
        let row = |number| Row { generation: u32::from(number < rows), write: 0 };
        let rows: Rows = std::array::from_fn(row);
        Self {
            slots: [vec![1], vec![1]],
            ring: vec![1],
            lifecycle: Lifecycle::of([1]),
            rows,
            synced: rows,
            acknowledged: [0; ROWS],
            change: None,
            sweep: None,
            saved: 0,
            era: 0,
            made: 1,
        }
    }

    fn happens(&mut self, event: Event) -> Option<()> {
        self.lifecycle = self.lifecycle.after(event).ok()?;
        Some(())
    }

    /// What a new process finds. The slot that was written first is the later one.
    fn restart(&mut self) {
        self.slots[1] = self.slots[0].clone();
        self.ring = self.slots[0].clone();
        self.lifecycle = Lifecycle::of(self.ring.iter().copied());
        (self.change, self.sweep, self.era) = (None, None, 0);
    }

    /// Slot A, slot B, then the ring in memory.
    fn proceed(&mut self) -> Option<()> {
        let mut change = self.change?;
        let apply = |living: &mut Vec<u32>| match change.event {
            Event::Added(number) => living.push(number),
            Event::Retired(number) => living.retain(|&known| known != number),
            _ => {}
        };
        match change.slots_written {
            number @ (0 | 1) => {
                apply(&mut self.slots[number]);
                change.slots_written += 1;
                self.change = Some(change);
            }
            _ => {
                apply(&mut self.ring);
                self.change = None;
                self.happens(change.event)?;
            }
        }
        Some(())
    }
}

impl Protocol {
    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    fn holders(&self, world: &World, tenant: usize) -> Holders {
        let scan = world.scan.filter(|scan| scan.tenant == tenant && !self.has(Defect::ScansForgotten));
        Holders { scans: scan.map(|scan| (scan.era, 1)).into_iter().collect::<BTreeMap<_, _>>(), backups: 0 }
    }

    fn can_drain(&self, world: &World, tenant: usize) -> bool {
        let in_gate = |writer: &&Writer| writer.tenant == tenant && writer.is_in_gate;
        let old = world.writers.iter().flatten().filter(in_gate);
        self.has(Defect::NoDrain)
            || old.into_iter().all(|writer| writer.generation == newest(&world.tenants[tenant].ring))
    }

    fn actions_of_tenant(&self, world: &World, number: usize, actions: &mut Vec<Action>) {
        let tenant = &world.tenants[number];
        match tenant.change {
            Some(_) => actions.push(Action::Proceed(number)),
            None => {
                if tenant.made < self.generations[number] {
                    actions.push(Action::Rotate(number));
                }
                actions.extend(tenant.ring.iter().rev().skip(1).map(|&old| Action::Retire(number, old)));
            }
        }
        if tenant.lifecycle.is_draining() {
            actions.push(Action::Drain(number));
        }
        match tenant.sweep {
            None if tenant.ring.len() > 1 => actions.push(Action::SweepBegin(number)),
            None => {}
            Some(Sweep { looked_at: Some(_), .. }) => actions.push(Action::SweepWrite(number)),
            Some(Sweep { next, .. }) if next == self.rows => actions.push(Action::SweepEnd(number)),
            Some(Sweep { next, .. }) => {
                actions.push(Action::SweepLook(number));
                if next > tenant.saved {
                    actions.push(Action::SweepSave(number));
                }
            }
        }
    }

    /// The step of a sweep of one tenant.
    fn sweep(&self, world: &mut World, number: usize, action: Action) -> Option<()> {
        let tenant = &mut world.tenants[number];
        match action {
            Action::SweepBegin(_) => {
                if tenant.lifecycle.is_draining() && !self.has(Defect::SweepBeforeDrain) {
                    return None;
                }
                let at_first_row = tenant.saved == 0 || self.has(Defect::ResumedSweepProves);
                world.had_resumption |= tenant.saved > 0;
                tenant.happens(Event::SweepBegan { at_first_row })?;
                tenant.sweep = Some(Sweep { next: tenant.saved, looked_at: None, began_in: tenant.era });
            }
            Action::SweepLook(_) => {
                let mut sweep = tenant.sweep?;
                let row = tenant.rows[sweep.next];
                if row.generation > 0 {
                    tenant.happens(Event::Found(row.generation))?;
                }
                let is_old = row.generation > 0 && row.generation < newest(&tenant.ring);
                if is_old {
                    sweep.looked_at = Some(row);
                } else {
                    sweep.next += 1;
                }
                tenant.sweep = Some(sweep);
            }
            Action::SweepWrite(_) => {
                let mut sweep = tenant.sweep?;
                let (found, row) = (sweep.looked_at.take()?, &mut tenant.rows[sweep.next]);
                if *row == found || self.has(Defect::BlindReseal) {
                    *row = Row { generation: newest(&tenant.ring), write: found.write };
                    sweep.next += 1;
                } else {
                    world.had_conflict = true;
                }
                tenant.sweep = Some(sweep);
            }
            Action::SweepSave(_) => {
                tenant.synced = tenant.rows;
                tenant.saved = tenant.sweep?.next;
            }
            _ => {
                if !self.has(Defect::NoSync) {
                    tenant.synced = tenant.rows;
                }
                let sweep = tenant.sweep.take()?;
                if self.has(Defect::SweepBeforeDrain) && tenant.rows.iter().all(|row| row.generation != 1) {
                    tenant.happens(Event::SweepBegan { at_first_row: true })?;
                }
                tenant.saved = 0;
                tenant.era += 1;
                let era = if self.has(Defect::EraOfTheBeginning) { sweep.began_in } else { tenant.era };
                tenant.happens(Event::SweepEnded { era })?;
            }
        }
        Some(())
    }

    fn write(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Enter(number, tenant) => {
                let outside = self.has(Defect::RingBeforeGate) && world.writers[number].is_none();
                let generation = match world.writers[number] {
                    Some(writer) => writer.generation,
                    None => newest(&world.tenants[tenant].ring),
                };
                world.writes_left = world.writes_left.checked_sub(u8::from(world.writers[number].is_none()))?;
                world.writers[number] = Some(Writer { tenant, generation, is_in_gate: !outside, wrote: None });
            }
            Action::Write(number, row) => {
                let writer = world.writers[number].as_mut()?;
                let tenant = &mut world.tenants[writer.tenant];
                tenant.rows[row] = Row { generation: writer.generation, write: tenant.rows[row].write + 1 };
                writer.wrote = Some(row);
            }
            _ => {
                let Action::Leave(number) = action else { return None };
                let writer = world.writers[number].take()?;
                let (tenant, row) = (&mut world.tenants[writer.tenant], writer.wrote?);
                tenant.acknowledged[row] = tenant.acknowledged[row].max(tenant.rows[row].write);
            }
        }
        Some(())
    }

    fn change(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Rotate(number) => {
                let tenant = &mut world.tenants[number];
                tenant.made = newest(&tenant.ring) + 1;
                tenant.change = Some(Change { event: Event::Added(tenant.made), slots_written: 0 });
            }
            Action::Retire(number, old) => {
                let here = (Incarnation::new([0; 16]), 0);
                let holders = self.holders(world, number);
                match world.tenants[number].lifecycle.can_destroy(old, &holders, here) {
                    Ok(proof) => {
                        let event = Event::Retired(proof.generation());
                        world.tenants[number].change = Some(Change { event, slots_written: 0 });
                    }
                    Err(hindrances) => {
                        let only_a_scan = hindrances == [Hindrance::Scans(1)];
                        world.had_hindrance |= only_a_scan;
                        return only_a_scan.then_some(());
                    }
                }
            }
            _ => {
                let Action::Drain(number) = action else { return None };
                let tenant = &mut world.tenants[number];
                let since = tenant.lifecycle.newest()?;
                tenant.happens(Event::Drained(since))?;
            }
        }
        Some(())
    }
}

impl World {
    fn crash(&mut self, power_is_cut: bool) {
        self.crashes_left -= 1;
        (self.writers, self.scan) = ([None; WRITERS], None);
        for tenant in &mut self.tenants {
            tenant.restart();
            if power_is_cut {
                tenant.rows = tenant.synced;
                tenant.acknowledged = tenant.rows.map(|row| row.write);
            }
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            tenants: (0..self.generations.len()).map(|_| Tenant::new(self.rows)).collect(),
            writers: [None; WRITERS],
            scan: None,
            writes_left: self.writes,
            scans_left: self.scans,
            crashes_left: self.crashes,
            had_conflict: false,
            had_resumption: false,
            had_hindrance: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        (0..self.generations.len()).for_each(|number| self.actions_of_tenant(world, number, actions));
        for (number, writer) in world.writers.iter().enumerate() {
            match writer {
                None if world.writes_left > 0 => {
                    actions.extend((0..self.generations.len()).map(|tenant| Action::Enter(number, tenant)));
                }
                None => {}
                Some(writer) if !writer.is_in_gate => actions.push(Action::Enter(number, writer.tenant)),
                Some(Writer { wrote: None, .. }) => {
                    actions.extend((0..self.rows).map(|row| Action::Write(number, row)));
                }
                Some(_) => actions.push(Action::Leave(number)),
            }
        }
        match world.scan {
            None if world.scans_left > 0 => actions.extend((0..self.generations.len()).map(Action::ScanBegin)),
            None => {}
            Some(Scan { snapshot: None, .. }) => actions.push(Action::ScanSnapshot),
            Some(_) => actions.push(Action::ScanEnd),
        }
        if world.crashes_left > 0 {
            actions.extend([Action::Crash, Action::PowerCut]);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Rotate(_) | Action::Retire(..) => self.change(&mut world, action)?,
            Action::Drain(number) if self.can_drain(&world, number) => self.change(&mut world, action)?,
            Action::Drain(_) => return None,
            Action::Proceed(number) => world.tenants[number].proceed()?,
            Action::Enter(..) | Action::Write(..) | Action::Leave(_) => self.write(&mut world, action)?,
            Action::SweepBegin(number)
            | Action::SweepLook(number)
            | Action::SweepWrite(number)
            | Action::SweepSave(number)
            | Action::SweepEnd(number) => self.sweep(&mut world, number, action)?,
            Action::ScanBegin(tenant) => {
                world.scans_left -= 1;
                world.scan = Some(Scan { tenant, era: world.tenants[tenant].era, snapshot: None });
            }
            Action::ScanSnapshot => {
                let scan = world.scan.as_mut()?;
                scan.snapshot = Some(world.tenants[scan.tenant].rows);
            }
            Action::ScanEnd => world.scan = None,
            Action::Crash => world.crash(false),
            Action::PowerCut => world.crash(true),
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("every record opens, and would after a crash or a power cut", |_, world: &World| {
                world.tenants.iter().all(|tenant| {
                    // A crash leaves what slot A says.
                    let rings = [&tenant.ring, &tenant.slots[0]];
                    let rows = tenant.rows.iter().chain(&tenant.synced).filter(|row| row.generation > 0);
                    rows.into_iter().all(|row| rings.iter().all(|ring| ring.contains(&row.generation)))
                })
            }),
            Property::always("every row of an open scan opens", |_, world: &World| {
                world.scan.is_none_or(|scan| {
                    let rows = scan.snapshot.unwrap_or_default();
                    let ring = &world.tenants[scan.tenant].ring;
                    rows.iter().all(|row| row.generation == 0 || ring.contains(&row.generation))
                })
            }),
            Property::always("no acknowledged write is lost", |_, world: &World| {
                let is_kept = |(row, &write): (&Row, &u8)| row.write >= write;
                world.tenants.iter().all(|tenant| tenant.rows.iter().zip(&tenant.acknowledged).all(is_kept))
            }),
            Property::always("no writer holds a key that is gone", |_, world: &World| {
                let has_key = |writer: &Writer| {
                    !writer.is_in_gate || world.tenants[writer.tenant].slots[0].contains(&writer.generation)
                };
                world.writers.iter().flatten().all(has_key)
            }),
            Property::sometimes("every old generation of a tenant is retired", |protocol: &Self, world: &World| {
                let last = |(tenant, &last): (&Tenant, &u32)| tenant.ring == [last];
                world.tenants.iter().zip(protocol.generations).any(last)
            }),
            Property::sometimes("a sweep meets a concurrent write", |_, world: &World| world.had_conflict),
            Property::sometimes("a sweep goes on after a crash", |_, world: &World| world.had_resumption),
            Property::sometimes("a scan alone keeps a key", |_, world: &World| world.had_hindrance),
        ]
    }
}
