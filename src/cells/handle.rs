//! A tenant's way to its own box, and to no other: found anew when its cell has been closed or opened meanwhile.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::Cells;
use crate::engine::{Engine, Keyspace, Reader, View};
use crate::error::Result;

pub(crate) struct BoxHandle {
    cells: Arc<Cells>,
    cell: u32,
    number: Keyspace,
    /// Weak, so that a cell can be closed when nobody uses it.
    reader: RwLock<Option<Weak<dyn Reader>>>,
    engine: RwLock<Option<Weak<dyn Engine>>>,
}

impl BoxHandle {
    pub(crate) fn new(cells: Arc<Cells>, cell: u32, number: Keyspace) -> Self {
        Self { cells, cell, number, reader: RwLock::default(), engine: RwLock::default() }
    }

    pub(crate) fn cell(&self) -> u32 {
        self.cell
    }

    pub(crate) fn number(&self) -> Keyspace {
        self.number
    }

    pub(crate) fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Where the box is read: a view of it, or its cell if that is open. Not to be kept beyond an operation.
    pub(crate) fn reader(&self) -> Result<Arc<dyn Reader>> {
        if let Some(reader) = self.reader_at_hand() {
            return Ok(reader);
        }
        let reader = self.cells.reader(self.cell, self.number)?;
        *self.reader.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(&reader));
        Ok(reader)
    }

    /// The same if it is open, without waiting for anybody.
    pub(crate) fn reader_at_hand(&self) -> Option<Arc<dyn Reader>> {
        let known = self.reader.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        known.filter(|reader| reader.is_current())
    }

    /// The box's cell if it is open for writing, without waiting for anybody.
    pub(crate) fn engine_at_hand(&self) -> Option<Arc<dyn Engine>> {
        let known = self.engine.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        known.filter(|engine| engine.is_current())
    }

    /// A snapshot of the box: one that moves along if the cell is opened for writing meanwhile.
    pub(crate) fn view(&self) -> Result<Box<dyn View>> {
        loop {
            let reader = self.reader()?;
            let view = reader.view()?;
            // Of a reader that was retired before this, nobody would know that there is a scan in it.
            if reader.is_current() {
                return Ok(view);
            }
        }
    }

    /// Where the box is written: its cell, which is opened if it is not. Not to be kept either.
    pub(crate) fn engine(&self) -> Result<Arc<dyn Engine>> {
        if let Some(engine) = self.engine_at_hand() {
            self.cells.wait_for_room_to_write()?;
            return Ok(engine);
        }
        let engine = self.cells.engine(self.cell)?;
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(&engine));
        Ok(engine)
    }
}
