//! Which boxes of which cells are free.

use std::collections::{BTreeMap, BTreeSet};

/// Boxes by cell: those that are free, and those that are not.
#[derive(Debug, Default)]
pub(super) struct Placement {
    cells: BTreeMap<u32, Boxes>,
    /// The cells that have a free box.
    with_room: BTreeSet<(CellKind, u32)>,
    occupied: BTreeSet<(u32, u32)>,
}

/// What a cell is for, and a tenant asks for. A cell never changes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CellKind {
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
    pub(super) fn add_cell(&mut self, cell: u32, boxes: u32) {
        let kind = CellKind { single: boxes == 1 };
        let free: BTreeSet<u32> = (0..boxes).filter(|&number| !self.is_occupied(cell, number)).collect();
        if !free.is_empty() {
            self.with_room.insert((kind.clone(), cell));
        }
        self.cells.insert(cell, Boxes { kind, free });
    }

    /// The number after the highest of a cell that is there or in which a tenant lives, there or not: a new cell never
    /// takes the place of one that is away to be restored.
    pub(super) fn next_cell(&self) -> u32 {
        let there = self.cells.last_key_value().map(|(&cell, _)| cell);
        let lived_in = self.occupied.last().map(|&(cell, _)| cell);
        there.max(lived_in).map_or(0, |last| last + 1)
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

    pub(super) fn is_occupied(&self, cell: u32, number: u32) -> bool {
        self.occupied.contains(&(cell, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: CellKind = CellKind { single: false };
    const SINGLE: CellKind = CellKind { single: true };

    #[test]
    fn boxes_are_handed_out_once_until_released() {
        let mut placement = Placement::default();
        assert_eq!(placement.free(&SHARED, 1), None);
        placement.add_cell(0, 2);
        assert_eq!(placement.free(&SHARED, 9), Some((0, vec![0, 1])), "no more than there are");
        placement.occupy(0, 0);
        assert_eq!(placement.free(&SHARED, 1), Some((0, vec![1])));
        placement.occupy(0, 1);
        assert_eq!(placement.free(&SHARED, 1), None);
        placement.add_cell(1, 2);
        assert_eq!(placement.free(&SHARED, 1), Some((1, vec![0])));
        placement.release(0, 0);
        assert_eq!(placement.free(&SHARED, 9), Some((0, vec![0])), "of one cell");
        assert!(placement.is_occupied(0, 1) && !placement.is_occupied(0, 0));
    }

    #[test]
    fn a_cell_that_is_away_keeps_its_number_and_its_boxes() {
        let mut placement = Placement::default();
        placement.add_cell(0, 2);
        placement.occupy(0, 0);
        placement.occupy(0, 1);
        placement.occupy(3, 1);
        assert_eq!(placement.free(&SHARED, 1), None);
        assert_eq!(placement.next_cell(), 4);
        placement.add_cell(3, 2);
        assert_eq!(placement.free(&SHARED, 9), Some((3, vec![0])), "box 1 is occupied");
    }

    #[test]
    fn cells_of_one_box_are_for_those_who_ask_for_one() {
        let mut placement = Placement::default();
        placement.add_cell(0, 1);
        assert_eq!(placement.free(&SHARED, 1), None);
        placement.add_cell(1, 2);
        assert_eq!(placement.free(&SHARED, 9), Some((1, vec![0, 1])));
        assert_eq!(placement.free(&SINGLE, 9), Some((0, vec![0])));
        placement.occupy(0, 0);
        assert_eq!(placement.free(&SINGLE, 1), None);
        placement.release(0, 0);
        assert_eq!(placement.free(&SINGLE, 1), Some((0, vec![0])));
        assert!(placement.is_single(0) && !placement.is_single(1) && !placement.is_single(2));
    }
}
