//! One cell of a store that is otherwise whole: its files from the backup, its rings from where they are freshest.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::manifest::{Cell, Extent, Manifest, Part};
use super::repository::Repository;
use super::restore::{Restore, RestoreReport};
use super::{Progress, rows};
use crate::cells::{Budgets, Cells, RegionPaths, RingFile};
use crate::directory::{Directory, Row, Status};
use crate::error::{Error, Result};
use crate::keys;
use crate::name::Incarnation;

/// What is to become of the tenants of the cell.
#[derive(Default)]
struct Plan {
    /// Living tenants that the backup has, with their slots.
    back: Vec<(Row, Vec<Vec<u8>>)>,
    /// How many living tenants are younger than the backup, or without a ring.
    incomplete: u64,
    deleted: u64,
}

impl Restore<'_> {
    /// Restores one cell of the store in `path`, which must be closed. What is there of the cell is moved to the
    /// store's quarantine, not deleted. Who lives in the cell is for the living directory to say: tenants that were
    /// deleted since do not come back.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) if the store is open; [`Invalid`](crate::ErrorKind::Invalid) if a tenant
    /// of the cell is not in the backup, or its ring neither in the escrow nor in the old cell, unless gaps are
    /// accepted, or if the cell is of a region that is not [named](Self::region); else as
    /// [`store_into`](Self::store_into). The cell is then as it was, unless the disk fails in the last step of all: then the
    /// old cell lies in the store's quarantine, and this is to be called again.
    pub fn cell_into(mut self, path: impl AsRef<Path>, number: u32) -> Result<RestoreReport> {
        let repository = Repository::open(&self.repository)?;
        let manifest = repository.find(self.number, &self.escrow.trust())?;
        if ![Extent::Store, Extent::Cell(number)].contains(&manifest.header.scope) {
            return Err(Error::invalid("the backup is not of this cell"));
        }
        let cell =
            manifest.cell(number).cloned().ok_or_else(|| Error::invalid("the backup does not hold this cell"))?;
        if !path.as_ref().join("FORMAT").is_file() {
            return Err(Error::new(crate::ErrorKind::NotFound, "there is no store in this folder"));
        }
        let regions = self.check_folders(path.as_ref())?;
        if let Some(region) = cell.region.as_ref().filter(|region| !regions.contains_key(region)) {
            return Err(Error::invalid(format!("the cell is of the region {region}; name the folder of it")));
        }
        let plan = self.plan(&repository, &manifest, path.as_ref(), &regions, &cell)?;
        // The directory is closed again: it may have had the cell open.
        let home = regions.into_iter().filter(|(region, _)| cell.region.as_ref() == Some(region)).collect();
        let cells = Cells::on_disk(path.as_ref(), 1, Budgets::small(), home)?;
        // As if nobody lived in the region, so that its folder is made if its disk is a new one.
        cells.open_regions(self.escrow.trust().store, &BTreeMap::new());
        cells.check_region(cell.region.as_ref())?;
        let mut progress = Progress::default();
        cells.replace(number, cell.region.as_ref(), |folder| {
            self.lay_out_cell(&repository, &manifest, number, folder, &mut progress)?;
            let rings = RingFile::open(&folder.join("rings"))?;
            plan.back
                .iter()
                .try_for_each(|(row, slots)| keys::import(&rings, row.box_number, &row.belief(), slots).map(drop))
        })?;
        tracing::info!(cell = number, backup = manifest.header.number, "restored a cell");
        Ok(RestoreReport {
            number: manifest.header.number,
            created_secs: manifest.header.created_secs,
            tenants: plan.back.len() as u64,
            deleted: plan.deleted,
            incomplete: plan.incomplete,
            files: progress.files,
            bytes: progress.bytes,
        })
    }

    fn plan(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        path: &Path,
        regions: &RegionPaths,
        cell: &Cell,
    ) -> Result<Plan> {
        let cells = Arc::new(Cells::on_disk(path, 1, Budgets::small(), regions.clone())?);
        let directory = Self::open(cells, self.roots.clone(), self.policy()?)?;
        if directory.store_id() != self.escrow.trust().store {
            return Err(Error::invalid("the backup is another store's"));
        }
        self.check_signer(&directory)?;
        let mut then: HashMap<Incarnation, Row> = HashMap::new();
        rows::read_part(repository, manifest.part(Part::Directory), |key, value| {
            if Directory::is_row_key(&key) {
                let row = directory.open_row(&key, &value)?;
                if row.cell == cell.number {
                    then.insert(row.incarnation, row);
                }
            }
            Ok(())
        })?;
        let rows = directory.hold_still(|rows| Ok(rows.to_vec()))?;
        let mut plan = Plan::default();
        let mut occupied = Vec::new();
        for row in rows.into_iter().filter(|row| row.cell == cell.number) {
            occupied.push(row.box_number);
            if row.status == Status::Destroying {
                // Its box is wiped when its deletion is finished.
                continue;
            }
            let was = then.remove(&row.incarnation);
            let slots = self.freshest(&directory, &row);
            match (was, slots) {
                (Some(was), Some(slots)) => {
                    if row.stamped && !was.stamped {
                        directory.unstamp(&row)?;
                    }
                    plan.back.push((row, slots));
                }
                _ if self.accepts_gaps => plan.incomplete += 1,
                (None, _) => {
                    return Err(Error::invalid("a tenant of the cell is younger than the backup, and not in it"));
                }
                (_, None) => return Err(Error::invalid("the escrow does not hold the ring of a tenant of the cell")),
            }
        }
        plan.deleted = then.len() as u64;
        // Whatever came back into the other boxes is wiped before they are used.
        let free: Vec<u32> = (0..cell.boxes).filter(|number| !occupied.contains(number)).collect();
        directory.soil(cell.number, &free)?;
        Ok(plan)
    }

    /// A tenant's slots: those in the cell that is there, if they are good, else those in the escrow.
    fn freshest(&self, directory: &Directory, row: &Row) -> Option<Vec<Vec<u8>>> {
        let there = directory.cells().with_rings(row.cell, |rings| keys::export(rings, row.box_number, &row.belief()));
        let slots = there.unwrap_or_else(|_| self.escrow.slots(row.incarnation).to_vec());
        keys::is_believed(&slots, &row.belief()).then_some(slots)
    }
}
