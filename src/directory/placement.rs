//! Which boxes of which cells are free.

use std::collections::{BTreeMap, BTreeSet};

/// Boxes by cell: those that are free, and those that are not.
#[derive(Debug, Default)]
pub(super) struct Placement {
    free: BTreeMap<u32, BTreeSet<u32>>,
    /// The cells that have a free box.
    with_room: BTreeSet<u32>,
    occupied: BTreeSet<(u32, u32)>,
}

impl Placement {
    /// Adds a cell whose boxes are free, but for those that are occupied already.
    pub(super) fn add_cell(&mut self, cell: u32, boxes: u32) {
        let free: BTreeSet<u32> = (0..boxes).filter(|&number| !self.is_occupied(cell, number)).collect();
        if !free.is_empty() {
            self.with_room.insert(cell);
        }
        self.free.insert(cell, free);
    }

    /// The number after the highest of a cell that is there or in which a tenant lives, there or not: a new cell never
    /// takes the place of one that is away to be restored.
    pub(super) fn next_cell(&self) -> u32 {
        let there = self.free.last_key_value().map(|(&cell, _)| cell);
        let lived_in = self.occupied.last().map(|&(cell, _)| cell);
        there.max(lived_in).map_or(0, |last| last + 1)
    }

    /// The first cell that has a free box, and its first free boxes, `most` of them or fewer.
    pub(super) fn free(&self, most: usize) -> Option<(u32, Vec<u32>)> {
        let cell = *self.with_room.first()?;
        Some((cell, self.free.get(&cell)?.iter().copied().take(most).collect()))
    }

    pub(super) fn occupy(&mut self, cell: u32, number: u32) {
        if let Some(boxes) = self.free.get_mut(&cell) {
            boxes.remove(&number);
            if boxes.is_empty() {
                self.with_room.remove(&cell);
            }
        }
        self.occupied.insert((cell, number));
    }

    pub(super) fn release(&mut self, cell: u32, number: u32) {
        self.occupied.remove(&(cell, number));
        if let Some(boxes) = self.free.get_mut(&cell) {
            boxes.insert(number);
            self.with_room.insert(cell);
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
        assert_eq!(placement.free(1), None);
        placement.add_cell(0, 2);
        assert_eq!(placement.free(9), Some((0, vec![0, 1])), "no more than there are");
        placement.occupy(0, 0);
        assert_eq!(placement.free(1), Some((0, vec![1])));
        placement.occupy(0, 1);
        assert_eq!(placement.free(1), None);
        placement.add_cell(1, 1);
        assert_eq!(placement.free(1), Some((1, vec![0])));
        placement.release(0, 0);
        assert_eq!(placement.free(9), Some((0, vec![0])), "of one cell");
        assert!(placement.is_occupied(0, 1) && !placement.is_occupied(0, 0));
    }

    #[test]
    fn a_cell_that_is_away_keeps_its_number_and_its_boxes() {
        let mut placement = Placement::default();
        placement.add_cell(0, 1);
        placement.occupy(0, 0);
        placement.occupy(3, 1);
        assert_eq!(placement.free(1), None);
        assert_eq!(placement.next_cell(), 4);
        placement.add_cell(3, 2);
        assert_eq!(placement.free(9), Some((3, vec![0])), "box 1 is occupied");
    }
}
