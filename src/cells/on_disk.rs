//! Cells in the folder of a store.

use std::path::Path;
use std::sync::Arc;

use super::Cell;
use super::budgets::Budgets;
use super::keeper::Keeper;
use super::place::{DATABASE, Place, RINGS};
use super::pool::Pool;
use super::ring_file::RingFile;
use super::store_folder::StoreFolder;
use crate::engine::Engine;
use crate::engine::rocks::{RocksEngine, Shared};
use crate::error::{Error, Result};
use crate::folder;

pub(super) struct CellsOnDisk {
    /// First: its thread ends before the databases close.
    _keeper: Keeper,
    pool: Arc<Pool>,
    /// Last, here and wherever cells are held beside `Cells`: the store is released when its databases are closed.
    folder: StoreFolder,
}

impl CellsOnDisk {
    pub(super) fn open(path: &Path, budgets: Budgets) -> Result<Self> {
        let folder = StoreFolder::open(path)?;
        let pool = Arc::new(Pool::new(budgets)?);
        for number in folder.cells()? {
            pool.add(Place::new(number, folder.cell(number)));
        }
        Ok(Self { _keeper: Keeper::start(pool.clone())?, pool, folder })
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn zero(&self) -> Result<Cell> {
        let path = self.folder.zero();
        if !path.exists() {
            self.folder.make_cell(&path, |path| make(path, 1, self.pool.shared()))?;
        }
        let rings = RingFile::open(&path.join(RINGS))?;
        let engine = RocksEngine::open(&path.join(DATABASE), rings.boxes(), self.pool.shared())?;
        Ok(Cell { engine: Arc::new(engine), rings })
    }

    pub(super) fn create(&self, number: u32, boxes: u32) -> Result<()> {
        let path = self.folder.cell(number);
        self.folder.make_cell(&path, |path| make(path, boxes, self.pool.shared()))?;
        self.pool.add(Place::new(number, path));
        Ok(())
    }
}

/// Makes the files of a cell in an empty folder, with every box, and closes them again.
fn make(path: &Path, boxes: u32, shared: &Shared) -> Result<()> {
    RingFile::create(&path.join(RINGS), boxes)?;
    // Made here, because RocksDB would let everybody read it.
    folder::make(&path.join(DATABASE)).map_err(|error| Error::io("a cell cannot be made", error))?;
    RocksEngine::make(&path.join(DATABASE), boxes, shared)?.sync()
}
