//! Which boxes of which cells are free.

use std::collections::{BTreeMap, BTreeSet};

/// Boxes by cell: those that are free, and those that are not.
#[derive(Debug, Default)]
pub(super) struct Placement {
    free: BTreeMap<u32, BTreeSet<u32>>,
    occupied: BTreeSet<(u32, u32)>,
}

impl Placement {
    /// Adds a cell whose boxes are free, but for those that are occupied already.
    pub(super) fn add_cell(&mut self, cell: u32, boxes: u32) {
        let free = (0..boxes).filter(|&number| !self.is_occupied(cell, number)).collect();
        self.free.insert(cell, free);
    }

    /// The number after the highest of a cell that is there or in which a tenant lives, there or not: a new cell never
    /// takes the place of one that is away to be restored.
    pub(super) fn next_cell(&self) -> u32 {
        let there = self.free.last_key_value().map(|(&cell, _)| cell);
        let lived_in = self.occupied.last().map(|&(cell, _)| cell);
        there.max(lived_in).map_or(0, |last| last + 1)
    }

    /// The first free box of the first cell that has one.
    pub(super) fn free(&self) -> Option<(u32, u32)> {
        self.free.iter().find_map(|(&cell, boxes)| boxes.first().map(|&number| (cell, number)))
    }

    pub(super) fn occupy(&mut self, cell: u32, number: u32) {
        if let Some(boxes) = self.free.get_mut(&cell) {
            boxes.remove(&number);
        }
        self.occupied.insert((cell, number));
    }

    pub(super) fn release(&mut self, cell: u32, number: u32) {
        self.occupied.remove(&(cell, number));
        if let Some(boxes) = self.free.get_mut(&cell) {
            boxes.insert(number);
        }
    }

    pub(super) fn is_occupied(&self, cell: u32, number: u32) -> bool {
        self.occupied.contains(&(cell, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_handed_out_once_until_released() {
        let mut placement = Placement::default();
        assert_eq!(placement.free(), None);
        placement.add_cell(0, 2);
        placement.occupy(0, 0);
        assert_eq!(placement.free(), Some((0, 1)));
        placement.occupy(0, 1);
        assert_eq!(placement.free(), None);
        placement.add_cell(1, 1);
        assert_eq!(placement.free(), Some((1, 0)));
        placement.release(0, 0);
        assert_eq!(placement.free(), Some((0, 0)));
        assert!(placement.is_occupied(0, 1) && !placement.is_occupied(0, 0));
    }

    #[test]
    fn a_cell_that_is_away_keeps_its_number_and_its_boxes() {
        let mut placement = Placement::default();
        placement.add_cell(0, 1);
        placement.occupy(0, 0);
        placement.occupy(3, 1);
        assert_eq!(placement.free(), None);
        assert_eq!(placement.next_cell(), 4);
        placement.add_cell(3, 2);
        assert_eq!(placement.free(), Some((3, 0)), "box 1 is occupied");
    }
}
