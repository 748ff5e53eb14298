//! Cells in the folder of a store.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::Cell;
use super::budgets::Budgets;
use super::cell_folders::CellFolders;
use super::keeper::Keeper;
use super::place::{DATABASE, Place, RINGS};
use super::pool::Pool;
use super::ring_file::RingFile;
use super::store_folder::StoreFolder;
use super::template::Templates;
use crate::engine::rocks::RocksEngine;
use crate::error::{Error, Result};
use crate::name::RegionName;

pub(super) struct CellsOnDisk {
    /// First: its thread ends before the databases close.
    keeper: OnceLock<Keeper>,
    pool: Arc<Pool>,
    templates: Templates,
    /// Last, here and wherever cells are held beside `Cells`: the store is released when its databases are closed.
    folder: StoreFolder,
}

impl CellsOnDisk {
    pub(super) fn open(path: &Path, budgets: Budgets) -> Result<Self> {
        let folder = StoreFolder::open(path)?;
        let pool = Arc::new(Pool::new(budgets)?);
        for number in folder.cells().numbers()? {
            pool.add(Place::new(number, folder.cells().cell(number), None));
        }
        Ok(Self { keeper: OnceLock::new(), pool, templates: Templates::default(), folder })
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The store's own folder of cells.
    pub(super) fn folders(&self) -> &CellFolders {
        self.folder.cells()
    }

    pub(super) fn begin_housekeeping(&self) -> Result<()> {
        let keeper = Keeper::start(self.pool.clone())?;
        self.keeper.set(keeper).map_err(|_| Error::internal("housekeeping has begun already"))
    }

    pub(super) fn zero(&self) -> Result<Cell> {
        let path = self.folder.zero();
        if !path.exists() {
            self.folder.cells().make_cell(&path, |path| self.make(path, 1, None))?;
        }
        let rings = RingFile::open(&path.join(RINGS))?;
        let engine = Arc::new(RocksEngine::open(&path.join(DATABASE), rings.boxes(), self.pool.shared())?);
        self.pool.watch_zero(&engine);
        Ok(Cell { engine, rings })
    }

    /// Makes a cell in these folders, or in the store's own.
    pub(super) fn create(
        &self,
        number: u32,
        boxes: u32,
        region: Option<&RegionName>,
        folders: Option<&CellFolders>,
    ) -> Result<()> {
        let folders = folders.unwrap_or_else(|| self.folder.cells());
        let path = folders.cell(number);
        folders.make_cell(&path, |path| self.make(path, boxes, region))?;
        self.pool.add(Place::new(number, path, region.cloned()));
        Ok(())
    }

    /// Makes the files of a cell in an empty folder, with every box, and closes them again.
    fn make(&self, path: &Path, boxes: u32, region: Option<&RegionName>) -> Result<()> {
        RingFile::create(&path.join(RINGS), boxes, region)?;
        self.templates.make(&path.join(DATABASE), boxes, self.pool.shared())
    }
}
