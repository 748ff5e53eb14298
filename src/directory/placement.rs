//! Which boxes of which cells are free.

use std::collections::{BTreeMap, BTreeSet};

/// Boxes by cell: those that are free, and those that are not.
#[derive(Debug, Default)]
pub(super) struct Placement {
    free: BTreeMap<u32, BTreeSet<u32>>,
    occupied: BTreeSet<(u32, u32)>,
}

impl Placement {
    /// Adds a cell whose boxes are all free.
    pub(super) fn add_cell(&mut self, cell: u32, boxes: u32) {
        self.free.insert(cell, (0..boxes).collect());
    }

    /// The first free box of the first cell that has one.
    pub(super) fn free(&self) -> Option<(u32, u32)> {
        self.free.iter().find_map(|(&cell, boxes)| boxes.first().map(|&number| (cell, number)))
    }

    pub(super) fn occupy(&mut self, cell: u32, number: u32) {
        self.free.entry(cell).or_default().remove(&number);
        self.occupied.insert((cell, number));
    }

    pub(super) fn release(&mut self, cell: u32, number: u32) {
        self.occupied.remove(&(cell, number));
        self.free.entry(cell).or_default().insert(number);
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
}
