//! The one moment of a backup, in which the directory stands still: what everybody waits for.
//!
//! Copies of cells are made before it, and again until few have been written to meanwhile; in the moment itself only those
//! are made anew that have come further since. A cell that has not holds what a copy made now would hold.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use super::Scope;
use super::manifest::Cell;
use super::take::BackupPlan;
use crate::cells::{Scratch, Version};
use crate::directory::{Directory, Export, Row, Status};
use crate::engine::View;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Incarnation, RegionName, TenantName};

/// How often all cells are looked through before the moment. What was written during a pass is copied by the next, which is
/// shorter, so that less is written during it.
const PASSES: u32 = 3;

/// What was copied.
pub(super) struct Moment<'s> {
    pub(super) scratch: &'s Scratch,
    pub(super) rows: Vec<Row>,
    pub(super) cells: Vec<Cell>,
    pub(super) zero: Box<dyn View>,
    /// The tenant's box, if the backup is of one tenant.
    pub(super) records: Option<(Box<dyn View>, u32)>,
    pub(super) uncovered: u64,
    pub(super) exports: u64,
}

/// Copies of cells, each with how far the cell had come before it was made.
pub(super) struct Copies<'s> {
    scratch: &'s Scratch,
    made: BTreeMap<u32, (Version, Cell)>,
}

impl<'s> Copies<'s> {
    /// Copies every cell of the scope, while everybody goes on.
    pub(super) fn make(directory: &Directory, scope: &Scope, scratch: &'s Scratch) -> Self {
        let mut copies = Self { scratch, made: BTreeMap::new() };
        for _ in 0..PASSES {
            let numbers = match scope {
                Scope::Store => directory.cells().numbers(),
                Scope::Cell(number) => vec![*number],
                Scope::Tenant(_) => Vec::new(),
            };
            for number in numbers {
                // What fails here fails again, and is reported, when it counts.
                if let Ok(region) = directory.cells().region(number) {
                    drop(copies.bring_up_to_date(directory, number, region.as_ref()));
                }
            }
        }
        copies
    }

    /// The copy of a cell as it is now, unless it was changed after this was called: the one that is there if nothing has
    /// been written to the cell since.
    fn bring_up_to_date(&mut self, directory: &Directory, number: u32, region: Option<&RegionName>) -> Result<Cell> {
        let cells = directory.cells();
        cells.check_cell(number, region)?;
        let version = cells.version(number);
        if let Some((known, cell)) = self.made.get(&number)
            && Some(*known) == version
        {
            return Ok(cell.clone());
        }
        let path = self.scratch.of_cell(number, region);
        if self.made.remove(&number).is_some() || path.exists() {
            fs::remove_dir_all(&path)
                .map_err(|error| Error::io("an earlier copy of a cell cannot be removed", error))?;
        }
        let boxes = cells.boxes(number)?;
        cells.checkpoint(number, &path)?;
        let cell = Cell { number, boxes, region: region.cloned(), is_there: true };
        if let Some(version) = version {
            self.made.insert(number, (version, cell.clone()));
        }
        Ok(cell)
    }

    fn finish(
        &mut self,
        directory: &Directory,
        homes: BTreeMap<u32, Option<RegionName>>,
        accepts_gaps: bool,
    ) -> Result<Vec<Cell>> {
        let mut copied = Vec::with_capacity(homes.len());
        for (number, region) in homes {
            match self.bring_up_to_date(directory, number, region.as_ref()) {
                Ok(cell) => copied.push(cell),
                Err(error) if accepts_gaps => {
                    tracing::error!(cell = number, %error, "a cell is missing from the backup");
                    copied.push(Cell { number, boxes: 0, region, is_there: false });
                }
                Err(error) => {
                    let context = format!("cell {number} cannot be backed up");
                    return Err(Error::new(error.kind(), context).with_source(error));
                }
            }
        }
        Ok(copied)
    }
}

/// Whether what is to be backed up is there, and an escrow holds its rings.
pub(super) fn check(directory: &Directory, plan: &BackupPlan<'_>) -> Result<()> {
    let exports = directory.exports()?;
    directory.hold_still(|all| covered(plan, &exports, all).map(drop))
}

/// The rows of a backup, and how many of them no escrow covers.
fn covered<'r>(
    plan: &BackupPlan<'_>,
    exports: &HashMap<Incarnation, Export>,
    all: &'r [Row],
) -> Result<(Vec<&'r Row>, u64)> {
    let rows = rows_of(&plan.scope, all)?;
    let is_covered = |row: &&&Row| exports.get(&row.incarnation).is_some_and(|export| export.covers(row));
    let living = rows.iter().filter(|row| row.status != Status::Destroying);
    let uncovered = living.filter(|row| !is_covered(row)).count() as u64;
    if uncovered > 0 && plan.needs_escrow && !plan.accepts_gaps {
        return Err(Error::invalid(format!(
            "no escrow holds the rings of {uncovered} tenants, and a backup without them restores nothing: export \
             the rings first, or say `escrow: never`"
        )));
    }
    Ok((rows, uncovered))
}

/// The moment: who is covered, and copies of all cells.
pub(super) fn hold<'s>(directory: &Directory, plan: &BackupPlan<'_>, mut copies: Copies<'s>) -> Result<Moment<'s>> {
    let exports = directory.exports()?;
    directory.hold_still(|all| {
        let (rows, uncovered) = covered(plan, &exports, all)?;
        if uncovered > 0 {
            tracing::warn!(uncovered, "a backup is made though no escrow holds all rings");
        }
        let homes = match &plan.scope {
            Scope::Store => homes(directory, &rows),
            Scope::Cell(number) => BTreeMap::from([(*number, homes(directory, &rows).remove(number).flatten())]),
            Scope::Tenant(_) => BTreeMap::new(),
        };
        let cells = copies.finish(directory, homes, plan.accepts_gaps)?;
        let records = match (&plan.scope, rows.as_slice()) {
            (Scope::Tenant(_), [row]) => {
                Some((directory.cells().reader(row.cell, row.box_number)?.view()?, row.box_number))
            }
            _ => None,
        };
        let rows = match plan.scope {
            // All rows of the directory are in its backup, whosever they are.
            Scope::Store => Vec::new(),
            _ => rows.into_iter().cloned().collect(),
        };
        let (scratch, exports) = (copies.scratch, directory.export_count()?);
        Ok(Moment { scratch, rows, cells, zero: directory.zero_view()?, records, uncovered, exports })
    })
}

fn rows_of<'r>(scope: &Scope, all: &'r [Row]) -> Result<Vec<&'r Row>> {
    Ok(match scope {
        Scope::Store => all.iter().collect(),
        Scope::Cell(number) => all.iter().filter(|row| row.cell == *number).collect(),
        Scope::Tenant(name) => {
            let name = TenantName::new(name)?;
            let row = all.iter().find(|row| row.name == name && row.status != Status::Destroying);
            vec![row.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no tenant of this name"))?]
        }
    })
}

/// The cells that are there, and those in which somebody lives: the disk of a region may be away. Each with its region.
fn homes(directory: &Directory, rows: &[&Row]) -> BTreeMap<u32, Option<RegionName>> {
    let there = directory.cells().numbers().into_iter();
    let there = there.map(|number| (number, directory.cells().region(number).ok().flatten()));
    let living = rows.iter().filter(|row| row.status != Status::Destroying);
    there.chain(living.map(|row| (row.cell, row.region.clone()))).collect()
}
