//! Cells and boxes: the folders of a store, who owns them, and opening a cell on first use.
//!
//! ```text
//! LOCK FORMAT         who has the store open; the format of what follows
//! zero/               tenant zero: the store's own records (one box)
//! cells/0000/         a cell: db/ (one database, one column family per box) and rings
//! quarantine/         folders that this release did not make, or did not finish making; never deleted
//! ```
//!
//! A region has a folder of its own, with cells of its own (`region_folder`).
#![cfg_attr(
    not(feature = "rocksdb"),
    expect(dead_code, unused_variables, clippy::unnecessary_wraps, reason = "half of it is about the disk")
)]

mod budgets;
#[cfg(feature = "rocksdb")]
mod cell_folders;
#[cfg(feature = "backup")]
mod checkpoint;
mod handle;
#[cfg(feature = "rocksdb")]
mod keeper;
#[cfg(feature = "rocksdb")]
mod on_disk;
#[cfg(feature = "rocksdb")]
mod place;
#[cfg(feature = "rocksdb")]
mod pool;
#[cfg(feature = "rocksdb")]
mod region_folder;
#[cfg(feature = "backup")]
mod region_site;
mod regions;
mod ring_file;
mod search;
mod sites;
mod stats;
#[cfg(feature = "rocksdb")]
mod store_folder;
#[cfg(feature = "rocksdb")]
mod template;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use budgets::Budgets;
#[cfg(feature = "backup")]
pub(crate) use checkpoint::{Scratch, lay_out, open_copy};
pub(crate) use handle::BoxHandle;
#[cfg(feature = "rocksdb")]
use on_disk::CellsOnDisk;
#[cfg(feature = "backup")]
pub(crate) use place::Version;
#[cfg(feature = "rocksdb")]
use region_folder::RegionFolder;
#[cfg(feature = "backup")]
pub(crate) use region_site::RegionSite;
use regions::Regions;
pub(crate) use regions::{RegionPaths, check_folders, read_regions};
pub(crate) use ring_file::{BOXES_MAX, RingFile, SLOT_LEN, Side};
pub(crate) use sites::{Medium, Site};
pub use stats::CellStats;

use crate::engine::{Engine, Keyspace, MemoryEngine, Reader};
use crate::error::{Error, Result};
use crate::name::RegionName;

/// One database with its ring file: a breach boundary and a unit of opening, backup and placement. Tenant zero's is
/// open as long as the store is; the others come and go.
pub(crate) struct Cell {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) rings: RingFile,
}

/// Every cell of a store.
pub(crate) struct Cells {
    boxes_per_cell: u32,
    home: Home,
    /// After the cells: a region is released when its databases are closed.
    regions: Regions,
}

enum Home {
    Memory(Mutex<BTreeMap<u32, Arc<MemoryCell>>>),
    #[cfg(feature = "rocksdb")]
    Disk(CellsOnDisk),
}

struct MemoryCell {
    engine: Arc<MemoryEngine>,
    rings: RingFile,
    region: Option<RegionName>,
}

impl Cells {
    /// A store that lives as long as this value.
    pub(crate) fn in_memory(boxes_per_cell: u32, regions: RegionPaths) -> Self {
        Self { home: Home::Memory(Mutex::default()), boxes_per_cell, regions: Regions::new(regions) }
    }

    /// Takes ownership of the store in `path`, making it if there is none.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn on_disk(path: &Path, boxes_per_cell: u32, budgets: Budgets, regions: RegionPaths) -> Result<Self> {
        let home = Home::Disk(CellsOnDisk::open(path, budgets)?);
        Ok(Self { home, boxes_per_cell, regions: Regions::new(regions) })
    }

    /// Tenant zero's cell: one box.
    pub(crate) fn zero(&self) -> Result<Cell> {
        match &self.home {
            Home::Memory(_) => Ok(Cell { engine: Arc::new(MemoryEngine::new(1)), rings: RingFile::in_memory(1) }),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => cells.zero(),
        }
    }

    /// The numbers of the cells that exist.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        match &self.home {
            Home::Memory(cells) => lock(cells).keys().copied().collect(),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => cells.pool().numbers(),
        }
    }

    /// Where a box of a cell is read; opened, or looked into, if it is not.
    pub(crate) fn reader(&self, number: u32, keyspace: Keyspace) -> Result<Arc<dyn Reader>> {
        match &self.home {
            Home::Memory(cells) => Ok(in_memory(cells, number)?.engine.clone()),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => cells.pool().reader(number, keyspace),
        }
    }

    /// The engine of a cell; opened if it is not. Not to be kept: a cell is closed when nobody holds it.
    pub(crate) fn engine(&self, number: u32) -> Result<Arc<dyn Engine>> {
        match &self.home {
            Home::Memory(cells) => Ok(in_memory(cells, number)?.engine.clone()),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => cells.pool().engine(number),
        }
    }

    /// Waits while as much has been written and not flushed as may be.
    ///
    /// # Errors
    /// `Throttled` if it stays so.
    fn wait_for_room_to_write(&self) -> Result<()> {
        match &self.home {
            Home::Memory(_) => Ok(()),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => cells.pool().wait_for_memtables(),
        }
    }

    /// How many boxes a new cell gets whose tenants share it.
    pub(crate) fn boxes_per_cell(&self) -> u32 {
        self.boxes_per_cell
    }

    /// Makes a cell of this number, which must be new, in a region or in the store's own folder. Crash-safe: until it is
    /// whole it has another name. Called by one thread at a time.
    pub(crate) fn create(&self, number: u32, boxes: u32, region: Option<&RegionName>) -> Result<()> {
        match &self.home {
            Home::Memory(cells) => {
                let (engine, rings) = (Arc::new(MemoryEngine::new(boxes)), RingFile::in_memory(boxes));
                lock(cells).insert(number, Arc::new(MemoryCell { engine, rings, region: region.cloned() }));
            }
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => {
                let folders = region.map(|name| self.regions.folder(name)).transpose()?.map(RegionFolder::cells);
                cells.create(number, boxes, region, folders)?;
            }
        }
        tracing::info!(cell = number, boxes, "made a cell");
        Ok(())
    }

    /// How many boxes a cell has: its ring file says so.
    pub(crate) fn boxes(&self, number: u32) -> Result<u32> {
        self.with_rings(number, |rings| Ok(rings.boxes()))
    }

    /// Lends a cell's ring file, which does not need the cell's database.
    ///
    /// # Errors
    /// `Corrupt` if there is no such cell: the directory has placed a tenant in it.
    pub(crate) fn with_rings<T>(&self, number: u32, work: impl FnOnce(&RingFile) -> Result<T>) -> Result<T> {
        match &self.home {
            Home::Memory(cells) => work(&in_memory(cells, number)?.rings),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => work(&cells.pool().place(number)?.rings()?),
        }
    }

    /// The region of a cell.
    pub(crate) fn region(&self, number: u32) -> Result<Option<RegionName>> {
        match &self.home {
            Home::Memory(cells) => Ok(in_memory(cells, number)?.region.clone()),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => Ok(cells.pool().place(number)?.region().cloned()),
        }
    }

    /// Begins to keep the cells within their budgets, and to recover those that a crash has left.
    pub(crate) fn begin_housekeeping(&self) -> Result<()> {
        match &self.home {
            Home::Memory(_) => Ok(()),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => cells.begin_housekeeping(),
        }
    }

    /// What the cells take, and what they may.
    pub(crate) fn stats(&self) -> CellStats {
        match &self.home {
            Home::Memory(cells) => {
                let known = lock(cells).len();
                CellStats { known, open: known, ..CellStats::default() }
            }
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => cells.pool().stats(),
        }
    }
}

fn in_memory(cells: &Mutex<BTreeMap<u32, Arc<MemoryCell>>>, number: u32) -> Result<Arc<MemoryCell>> {
    lock(cells).get(&number).cloned().ok_or_else(|| Error::corrupt("a cell of the store is missing"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cell that cannot be used is shut alone, and says so.
pub(crate) fn report_failure(number: u32, error: &Error) {
    tracing::error!(cell = number, %error, "a cell cannot be opened");
    metrics::counter!("strongroom_cell_failures_total").increment(1);
}

/// Whether one of these folders lies in the other.
pub(crate) fn overlaps(one: &Path, other: &Path) -> bool {
    let (one, other) = (resolve(one), resolve(other));
    other.starts_with(&one) || one.starts_with(&other)
}

/// Where a path leads, links followed, though its end may not be there yet.
fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    absolute.components().fold(PathBuf::new(), |mut resolved, part| {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
        resolved.canonicalize().unwrap_or(resolved)
    })
}
