//! Cells and boxes: the folders of a store, who owns them, and opening a cell on first use.
//!
//! ```text
//! LOCK FORMAT         who has the store open; the format of what follows
//! zero/               tenant zero: the store's own records (one box)
//! cells/0000/         a cell: db/ (one database, one column family per box) and rings
//! quarantine/         folders that this release did not make, or did not finish making; never deleted
//! ```
#![cfg_attr(
    not(feature = "rocksdb"),
    expect(dead_code, unused_variables, clippy::unnecessary_wraps, reason = "half of it is about the disk")
)]

#[cfg(feature = "backup")]
mod checkpoint;
mod ring_file;
#[cfg(feature = "rocksdb")]
mod store_folder;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

#[cfg(feature = "backup")]
pub(crate) use checkpoint::{Scratch, lay_out, open_copy};
pub(crate) use ring_file::{BOXES_MAX, RingFile, SLOT_LEN, Side};
#[cfg(feature = "rocksdb")]
use store_folder::StoreFolder;

#[cfg(feature = "rocksdb")]
use crate::engine::rocks::{RocksEngine, Shared};
use crate::engine::{Engine, MemoryEngine};
use crate::error::{Error, Result};
#[cfg(feature = "rocksdb")]
use crate::folder;

/// One database with its ring file: a breach boundary and a unit of opening, backup and placement.
pub(crate) struct Cell {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) rings: RingFile,
}

/// Every cell of a store.
pub(crate) struct Cells {
    boxes_per_cell: u32,
    /// The cells that exist, opened on first use. The mutex of a place is held while its cell opens, so that others
    /// wait for that cell and for no other.
    places: Mutex<BTreeMap<u32, Arc<Place>>>,
    /// Last, here and wherever cells are held beside `Cells`: the store is released when its databases are closed.
    home: Home,
}

#[derive(Default)]
struct Place {
    opening: Mutex<()>,
    cell: OnceLock<Arc<Cell>>,
}

enum Home {
    Memory,
    #[cfg(feature = "rocksdb")]
    Disk {
        folder: StoreFolder,
        shared: Shared,
    },
}

impl Cells {
    /// A store that lives as long as this value.
    pub(crate) fn in_memory(boxes_per_cell: u32) -> Self {
        Self { home: Home::Memory, boxes_per_cell, places: Mutex::default() }
    }

    /// Takes ownership of the store in `path`, making it if there is none.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn on_disk(path: &Path, boxes_per_cell: u32, cache_bytes: usize) -> Result<Self> {
        let folder = StoreFolder::open(path)?;
        let places = folder.cells()?.into_iter().map(|number| (number, Arc::default())).collect();
        let home = Home::Disk { folder, shared: Shared::new(cache_bytes) };
        Ok(Self { home, boxes_per_cell, places: Mutex::new(places) })
    }

    /// Tenant zero's cell: one box.
    pub(crate) fn zero(&self) -> Result<Arc<Cell>> {
        match &self.home {
            Home::Memory => Ok(Arc::new(Cell::in_memory(1))),
            #[cfg(feature = "rocksdb")]
            Home::Disk { folder, shared } => {
                let path = folder.zero();
                if !path.exists() {
                    folder.make_cell(&path, |path| Cell::make(path, 1, shared))?;
                }
                Ok(Arc::new(Cell::open(&path, shared)?))
            }
        }
    }

    /// The numbers of the cells that exist.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.lock().keys().copied().collect()
    }

    /// The cell of this number, opened if it is not.
    pub(crate) fn get(&self, number: u32) -> Result<Arc<Cell>> {
        let place = self.place(number)?;
        if let Some(cell) = place.cell.get() {
            return Ok(cell.clone());
        }
        let _opening = place.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = place.cell.get() {
            return Ok(cell.clone());
        }
        let cell = self.open(number).inspect_err(|error| report_failure(number, error))?;
        Ok(place.cell.get_or_init(|| cell).clone())
    }

    /// Makes a cell of this number, which must be new. Crash-safe: until it is whole it has another name. Called by one
    /// thread at a time.
    pub(crate) fn create(&self, number: u32) -> Result<()> {
        let place = Place::default();
        match &self.home {
            Home::Memory => {
                place.cell.get_or_init(|| Arc::new(Cell::in_memory(self.boxes_per_cell)));
            }
            #[cfg(feature = "rocksdb")]
            Home::Disk { folder, shared } => {
                folder.make_cell(&folder.cell(number), |path| Cell::make(path, self.boxes_per_cell, shared))?;
            }
        }
        self.lock().insert(number, Arc::new(place));
        tracing::info!(cell = number, boxes = self.boxes_per_cell, "made a cell");
        Ok(())
    }

    /// How many boxes a cell has: its ring file says so.
    pub(crate) fn boxes(&self, number: u32) -> Result<u32> {
        self.with_rings(number, |rings| Ok(rings.boxes()))
    }

    /// Lends a cell's ring file, which does not need the cell's database.
    pub(crate) fn with_rings<T>(&self, number: u32, work: impl FnOnce(&RingFile) -> Result<T>) -> Result<T> {
        match &self.home {
            Home::Memory => work(&self.get(number)?.rings),
            #[cfg(feature = "rocksdb")]
            Home::Disk { folder, .. } => {
                self.place(number)?;
                work(&RingFile::open(&folder.cell(number).join(RINGS))?)
            }
        }
    }

    /// # Errors
    /// `Corrupt` if there is none: the directory has placed a tenant in it.
    fn place(&self, number: u32) -> Result<Arc<Place>> {
        self.lock().get(&number).cloned().ok_or_else(|| Error::corrupt("a cell of the store is missing"))
    }

    fn open(&self, number: u32) -> Result<Arc<Cell>> {
        match &self.home {
            Home::Memory => Err(Error::internal("a cell in memory is open from the start")),
            #[cfg(feature = "rocksdb")]
            Home::Disk { folder, shared } => {
                let cell = Cell::open(&folder.cell(number), shared)?;
                tracing::debug!(cell = number, "opened a cell");
                Ok(Arc::new(cell))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const RINGS: &str = "rings";
const DATABASE: &str = "db";

impl Cell {
    fn in_memory(boxes: u32) -> Self {
        Self { engine: Arc::new(MemoryEngine::new(boxes)), rings: RingFile::in_memory(boxes) }
    }

    #[cfg(feature = "rocksdb")]
    fn open(path: &Path, shared: &Shared) -> Result<Self> {
        let rings = RingFile::open(&path.join(RINGS))?;
        let engine = RocksEngine::open(&path.join(DATABASE), rings.boxes(), shared)?;
        Ok(Self { engine: Arc::new(engine), rings })
    }

    /// Makes the files of a cell in an empty folder, with every box, and closes them again.
    #[cfg(feature = "rocksdb")]
    fn make(path: &Path, boxes: u32, shared: &Shared) -> Result<()> {
        RingFile::create(&path.join(RINGS), boxes)?;
        // Made here, because RocksDB would let everybody read it.
        folder::make(&path.join(DATABASE)).map_err(|error| Error::io("a cell cannot be made", error))?;
        RocksEngine::make(&path.join(DATABASE), boxes, shared)?.sync()
    }
}

/// A cell that cannot be opened is shut alone, and says so.
pub(crate) fn report_failure(number: u32, error: &Error) {
    tracing::error!(cell = number, %error, "a cell cannot be opened");
    metrics::counter!("strongroom_cell_failures_total").increment(1);
}

/// Whether one of these folders lies in the other.
pub(crate) fn overlaps(store: &Path, roots: &Path) -> bool {
    let (store, roots) = (resolve(store), resolve(roots));
    roots.starts_with(&store) || store.starts_with(&roots)
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
