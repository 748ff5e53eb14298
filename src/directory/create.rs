//! Making tenants: free boxes, their rings in both slots, then their rows. The rows are the commit point: a crash
//! before them leaves nothing but rings that no row vouches for, in boxes that are still free.

use std::sync::Arc;

use super::placement::{CellKind, Placement};
use super::row::{Row, Speaker, Status};
use super::tenant::Tenant;
use super::{Directory, NEXT_CELL, STORE, TENANTS};
use crate::audit::Actor;
use crate::clock::Deadline;
use crate::engine::{Batch, Durability};
use crate::error::{Error, Result};
use crate::keys::{self, Change, Policy, Ring};
use crate::name::{Incarnation, RegionName, TenantName};

/// A tenant that is to be made; its parts have been checked.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) name: TenantName,
    pub(crate) speakers: Vec<Speaker>,
    /// Where alone it may live.
    pub(crate) region: Option<RegionName>,
    /// Whether it shares its cell with nobody.
    pub(crate) own_cell: bool,
    /// Whose consent its keys need; the service's alone if none.
    pub(crate) policy: Option<Policy>,
}

impl Newcomer {
    /// Whether `tenant` is the one that is to be made, with a policy of this digest unless it names one.
    fn is(&self, tenant: &Tenant, placement: &Placement, default_policy: [u8; 32]) -> bool {
        let policy = self.policy.as_ref().map_or(default_policy, Policy::digest);
        tenant.status() == Status::Active
            && tenant.keeping().epoch.policy_digest == policy
            && tenant.speakers() == self.speakers
            && tenant.region() == self.region.as_ref()
            && (!self.own_cell || placement.is_single(tenant.cell_number()))
    }

    /// What tenants have in common who may be neighbours.
    fn home(&self) -> (Option<&RegionName>, bool) {
        (self.region.as_ref(), self.own_cell)
    }
}

impl Directory {
    /// Makes a tenant, durably.
    pub(crate) fn create(&self, newcomer: Newcomer, by: &Actor) -> Result<Arc<Tenant>> {
        self.cells.check_region(newcomer.region.as_ref())?;
        let asked = Deadline::now(&*self.clock);
        let made = self.create_in_one_cell(&[&newcomer], Status::Active, Some(by))?;
        let (tenant, ring) = made.into_iter().next().ok_or_else(|| Error::internal("no tenant was made"))?;
        // It is about to be used; those of a bulk are not, and would only keep their keys in memory.
        tenant.keys().put(ring, asked);
        Ok(tenant)
    }

    /// Whether a tenant could be made, as far as that can be told without asking its roots.
    pub(crate) fn check_newcomer(&self, newcomer: &Newcomer) -> Result<()> {
        self.cells.check_region(newcomer.region.as_ref())?;
        match self.known().get(newcomer.name.as_str()) {
            None => Ok(()),
            Some(_) => Err(is_taken()),
        }
    }

    /// Those of `newcomers` that are not there, in their order, but those together who may be neighbours.
    ///
    /// # Errors
    /// `Conflict` if a tenant has the name of one and is not exactly the one that is to be made; `Invalid` or
    /// `Unavailable` if its region is not configured or not there.
    pub(crate) fn missing<'n>(&self, newcomers: &'n [Newcomer]) -> Result<Vec<&'n Newcomer>> {
        let default_policy = self.register.policy().digest();
        let mut missing = Vec::new();
        for (place, newcomer) in newcomers.iter().enumerate() {
            self.cells.check_region(newcomer.region.as_ref()).map_err(|error| error.at(in_specs(place)))?;
            let known = self.known();
            match known.get(newcomer.name.as_str()) {
                None => missing.push(newcomer),
                Some(tenant) if newcomer.is(tenant, &known.placement, default_policy) => {}
                Some(_) => return Err(is_taken().at(in_specs(place))),
            }
        }
        missing.sort_by(|one, other| one.home().cmp(&other.home()));
        Ok(missing)
    }

    /// Makes as many of these tenants as one cell has room for, the first of them, durably and with the syncs of one.
    pub(crate) fn create_some(&self, newcomers: &[&Newcomer], by: &Actor) -> Result<Vec<Arc<Tenant>>> {
        Ok(self
            .create_in_one_cell(newcomers, Status::Active, Some(by))?
            .into_iter()
            .map(|(tenant, _)| tenant)
            .collect())
    }

    /// Ordered by somebody, unless it is not for the trails to tell yet.
    pub(super) fn create_in_one_cell(
        &self,
        newcomers: &[&Newcomer],
        status: Status,
        by: Option<&Actor>,
    ) -> Result<Vec<(Arc<Tenant>, Ring)>> {
        let first = newcomers.first().ok_or_else(|| Error::internal("no tenant is to be made"))?;
        let neighbours = newcomers.iter().take_while(|newcomer| newcomer.home() == first.home()).count();
        self.check_names(&newcomers[..neighbours])?;
        let created_secs = self.register.now_secs();
        // Before the directory is held: root keys are asked.
        let mut rings = self.make_rings(&newcomers[..neighbours.min(self.room_for(first))], created_secs)?;
        let neighbours = rings.len();
        let _changes = self.begin_change();
        self.check_names(&newcomers[..neighbours])?;
        let (cell, boxes) = self.free_boxes(first, neighbours)?;
        let newcomers = &newcomers[..boxes.len()];
        rings.truncate(boxes.len());
        self.cells.with_rings(cell, |file| keys::write_all(file, boxes.iter().copied().zip(&rings)))?;
        let mut batch = Batch::new(Durability::Synced);
        let mut rows = Vec::with_capacity(boxes.len());
        for ((newcomer, number), ring) in newcomers.iter().zip(boxes).zip(&rings) {
            let Newcomer { name, speakers, region, .. } = (*newcomer).clone();
            let row = Row::new(name, speakers, region, cell, number, &ring.belief(), created_secs)?;
            let row = Row { status, ..row };
            self.register.put(&mut batch, TENANTS, &[row.name.as_str().as_bytes()], &row)?;
            rows.push(row);
        }
        self.trails.apply(batch, by.map_or_else(Vec::new, |by| self.entries_of_making(&rows, by)))?;
        let tenants: Vec<_> = rows.into_iter().map(|row| self.admit(row)).collect();
        tenants.iter().for_each(|tenant| tracing::info!(incarnation = ?tenant.incarnation(), "made a tenant"));
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("strongroom_tenants").set(self.known().len() as f64);
        Ok(tenants.into_iter().zip(rings.into_iter().map(Change::into_ring)).collect())
    }

    /// Fresh keys for these, on no disk yet.
    fn make_rings(&self, newcomers: &[&Newcomer], created_secs: u64) -> Result<Vec<Change>> {
        let (register, entropy) = (&self.register, self.entropy());
        let make = |newcomer: &&Newcomer| {
            let incarnation = Incarnation::new(entropy.bytes()?);
            let policy = newcomer.policy.as_ref().unwrap_or(register.policy()).clone();
            Change::first(incarnation, policy, &**register.roots(), entropy, created_secs)
        };
        newcomers.iter().map(make).collect()
    }

    fn check_names(&self, newcomers: &[&Newcomer]) -> Result<()> {
        let known = self.known();
        match newcomers.iter().any(|newcomer| known.get(newcomer.name.as_str()).is_some()) {
            true => Err(is_taken()),
            false => Ok(()),
        }
    }

    /// How many tenants such as `newcomer` the next cell has room for, by what is known now.
    fn room_for(&self, newcomer: &Newcomer) -> usize {
        let known = self.known();
        let free = self.kinds(newcomer).into_iter().find_map(|kind| known.placement.free(&kind, usize::MAX));
        let boxes = if newcomer.own_cell { 1 } else { self.cells.boxes_per_cell() };
        free.map_or(boxes as usize, |(_, boxes)| boxes.len())
    }

    /// Free boxes of one cell such as `newcomer` asks for, `most` of them or fewer, in a new cell if the others are
    /// full.
    fn free_boxes(&self, newcomer: &Newcomer, most: usize) -> Result<(u32, Vec<u32>)> {
        let free = || self.kinds(newcomer).into_iter().find_map(|kind| self.known().placement.free(&kind, most));
        if let Some(place) = free() {
            return Ok(place);
        }
        self.clean_boxes()?;
        if let Some(place) = free() {
            return Ok(place);
        }
        let number = self.known().placement.next_cell();
        self.note_cell(number)?;
        let (boxes, region) = (if newcomer.own_cell { 1 } else { self.cells.boxes_per_cell() }, &newcomer.region);
        self.cells.create(number, boxes, region.as_ref())?;
        self.known_mut().placement.add_cell(number, boxes, region.clone());
        free().ok_or_else(|| Error::internal("a new cell has no box"))
    }

    /// The kinds of cells that `newcomer` may live in, best first. A cell of one box is kept for those who ask for it,
    /// unless all new cells are such.
    fn kinds(&self, newcomer: &Newcomer) -> Vec<CellKind> {
        let kind = |single| CellKind { region: newcomer.region.clone(), single };
        match (newcomer.own_cell, self.cells.boxes_per_cell()) {
            (true, _) => vec![kind(true)],
            (false, 1) => vec![kind(false), kind(true)],
            (false, _) => vec![kind(false)],
        }
    }

    /// Writes down that a number is given to a cell, before the cell is made: the disk of a region may be away when the
    /// next one is made, with a cell of this number in which nobody lives.
    fn note_cell(&self, number: u32) -> Result<()> {
        self.register.write(STORE, &[NEXT_CELL], &(number + 1))?;
        self.known_mut().placement.reserve_cells(number + 1);
        Ok(())
    }
}

fn is_taken() -> Error {
    Error::conflict("a tenant of this name exists")
}

/// The place of a specification in the caller's list.
pub(crate) fn in_specs(place: usize) -> String {
    format!("specs[{place}]")
}
