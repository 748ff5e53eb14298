//! Which boxes of which cells are free.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::RegionName;

/// Boxes by cell: those that are free, and those that are not.
#[derive(Debug, Default)]
pub(super) struct Placement {
    cells: BTreeMap<u32, Boxes>,
    /// The cells that have a free box.
    with_room: BTreeSet<(CellKind, u32)>,
    occupied: BTreeSet<(u32, u32)>,
    /// The number of the next cell, or a lower one.
    next_cell: u32,
}

/// What a cell is for, and a tenant asks for. A cell never changes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CellKind {
    pub(super) region: Option<RegionName>,
    /// One box: for a tenant that shares its cell with nobody.
    pub(super) single: bool,
}

#[derive(Debug)]
struct Boxes {
    kind: CellKind,
    free: BTreeSet<u32>,
}

impl Placement {
    /// Adds a cell whose boxes are free, but for those that are occupied already.
    pub(super) fn add_cell(&mut self, cell: u32, boxes: u32, region: Option<RegionName>) {
        let kind = CellKind { region, single: boxes == 1 };
        let free: BTreeSet<u32> = (0..boxes).filter(|&number| !self.is_occupied(cell, number)).collect();
        if !free.is_empty() {
            self.with_room.insert((kind.clone(), cell));
        }
        self.cells.insert(cell, Boxes { kind, free });
    }

    /// Cells of numbers below this have been.
    pub(super) fn reserve_cells(&mut self, below: u32) {
        self.next_cell = self.next_cell.max(below);
    }

    /// The number after the highest of a cell that has been, is there or is lived in, there or not: a new cell never
    /// takes the place of one that is away to be restored.
    pub(super) fn next_cell(&self) -> u32 {
        let there = self.cells.last_key_value().map(|(&cell, _)| cell);
        let lived_in = self.occupied.last().map(|&(cell, _)| cell);
        there.max(lived_in).map_or(0, |last| last + 1).max(self.next_cell)
    }

    /// The first cell of a kind that has a free box, and its first free boxes, `most` of them or fewer.
    pub(super) fn free(&self, kind: &CellKind, most: usize) -> Option<(u32, Vec<u32>)> {
        let (_, cell) = self.with_room.range((kind.clone(), 0)..=(kind.clone(), u32::MAX)).next()?;
        Some((*cell, self.cells.get(cell)?.free.iter().copied().take(most).collect()))
    }

    /// Whether a cell is there and has one box.
    pub(super) fn is_single(&self, cell: u32) -> bool {
        self.cells.get(&cell).is_some_and(|boxes| boxes.kind.single)
    }

    pub(super) fn occupy(&mut self, cell: u32, number: u32) {
        if let Some(Boxes { kind, free }) = self.cells.get_mut(&cell) {
            free.remove(&number);
            if free.is_empty() {
                self.with_room.remove(&(kind.clone(), cell));
            }
        }
        self.occupied.insert((cell, number));
    }

    pub(super) fn release(&mut self, cell: u32, number: u32) {
        self.occupied.remove(&(cell, number));
        if let Some(Boxes { kind, free }) = self.cells.get_mut(&cell) {
            free.insert(number);
            self.with_room.insert((kind.clone(), cell));
        }
    }

    /// How many boxes are free, and how many are not.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.cells.values().map(|boxes| boxes.free.len()).sum(), self.occupied.len())
    }

    pub(super) fn is_occupied(&self, cell: u32, number: u32) -> bool {
        self.occupied.contains(&(cell, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: CellKind = CellKind { region: None, single: false };
    const SINGLE: CellKind = CellKind { region: None, single: true };

    #[test]
    fn boxes_are_handed_out_once_until_released() {
        let mut placement = Placement::default();
        assert_eq!(placement.free(&SHARED, 1), None);
        placement.add_cell(0, 2, None);
        assert_eq!(placement.free(&SHARED, 9), Some((0, vec![0, 1])), "no more than there are");
        placement.occupy(0, 0);
        assert_eq!(placement.free(&SHARED, 1), Some((0, vec![1])));
        placement.occupy(0, 1);
        assert_eq!(placement.free(&SHARED, 1), None);
        placement.add_cell(1, 2, None);
        assert_eq!(placement.free(&SHARED, 1), Some((1, vec![0])));
        placement.release(0, 0);
        assert_eq!(placement.free(&SHARED, 9), Some((0, vec![0])), "of one cell");
        assert!(placement.is_occupied(0, 1) && !placement.is_occupied(0, 0));
    }

    #[test]
    fn a_cell_that_is_away_keeps_its_number_and_its_boxes() {
        let mut placement = Placement::default();
        placement.add_cell(0, 2, None);
        placement.occupy(0, 0);
        placement.occupy(0, 1);
        placement.occupy(3, 1);
        assert_eq!(placement.free(&SHARED, 1), None);
        assert_eq!(placement.next_cell(), 4);
        placement.add_cell(3, 2, None);
        assert_eq!(placement.free(&SHARED, 9), Some((3, vec![0])), "box 1 is occupied");
        placement.reserve_cells(2);
        assert_eq!(placement.next_cell(), 4);
        placement.reserve_cells(9);
        assert_eq!(placement.next_cell(), 9, "those that have been are away, it may be");
    }

    #[test]
    fn a_region_has_its_own_cells() {
        let mut placement = Placement::default();
        let eu = RegionName::new("eu").unwrap();
        let in_eu = CellKind { region: Some(eu.clone()), single: false };
        placement.add_cell(0, 2, Some(eu));
        assert_eq!(placement.free(&SHARED, 1), None);
        assert_eq!(placement.free(&in_eu, 1), Some((0, vec![0])));
        placement.add_cell(1, 2, None);
        placement.occupy(0, 0);
        placement.occupy(0, 1);
        assert_eq!(placement.free(&in_eu, 1), None);
        assert_eq!(placement.free(&SHARED, 1), Some((1, vec![0])));
    }

    #[test]
    fn cells_of_one_box_are_for_those_who_ask_for_one() {
        let mut placement = Placement::default();
        placement.add_cell(0, 1, None);
        assert_eq!(placement.free(&SHARED, 1), None);
        placement.add_cell(1, 2, None);
        assert_eq!(placement.free(&SHARED, 9), Some((1, vec![0, 1])));
        assert_eq!(placement.free(&SINGLE, 9), Some((0, vec![0])));
        placement.occupy(0, 0);
        assert_eq!(placement.free(&SINGLE, 1), None);
        placement.release(0, 0);
        assert_eq!(placement.free(&SINGLE, 1), Some((0, vec![0])));
        assert!(placement.is_single(0) && !placement.is_single(1) && !placement.is_single(2));
    }
}
