//! The regions of a store: which are configured, which of their folders can be used, and that nothing of one region is
//! ever taken for another's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[cfg(feature = "rocksdb")]
use super::cell_folders::CellFolders;
#[cfg(feature = "rocksdb")]
use super::place::Place;
#[cfg(feature = "rocksdb")]
use super::region_folder::RegionFolder;
use super::{Cells, Home, overlaps};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Incarnation, RegionName};

/// Regions by name, each with its folder.
pub(crate) type RegionPaths = BTreeMap<RegionName, PathBuf>;

/// The regions that the store was opened with.
pub(super) struct Regions {
    paths: RegionPaths,
    /// What came of opening each; set once, when the directory knows who lives where.
    opened: OnceLock<BTreeMap<RegionName, Region>>,
}

/// A region that is configured.
enum Region {
    Memory,
    #[cfg(feature = "rocksdb")]
    Disk(RegionFolder),
    /// It cannot be used, and nothing is made in its place.
    Shut(ErrorKind, String),
}

impl Regions {
    pub(super) fn new(paths: RegionPaths) -> Self {
        Self { paths, opened: OnceLock::new() }
    }

    /// # Errors
    /// `Unavailable` if no folder is configured for it; else why its folder cannot be used.
    fn get(&self, name: &RegionName) -> Result<&Region> {
        match self.opened.get().and_then(|opened| opened.get(name)) {
            Some(Region::Shut(kind, why)) => Err(Error::new(*kind, why.clone())),
            Some(region) => Ok(region),
            None => Err(Error::new(ErrorKind::Unavailable, "no folder is configured for the region")),
        }
    }

    /// The folders that are configured, whether or not they can be used.
    #[cfg(feature = "backup")]
    pub(super) fn paths(&self) -> impl Iterator<Item = &std::path::Path> {
        self.paths.values().map(PathBuf::as_path)
    }

    /// The regions that are configured, with where their folders should be.
    #[cfg(feature = "rocksdb")]
    pub(super) fn named(&self) -> impl Iterator<Item = (&RegionName, &PathBuf)> {
        self.paths.iter()
    }

    /// The regions that can be used, with their folders.
    #[cfg(feature = "rocksdb")]
    pub(super) fn folders(&self) -> impl Iterator<Item = (&RegionName, &CellFolders)> {
        self.opened.get().into_iter().flatten().filter_map(|(name, region)| match region {
            Region::Disk(folder) => Some((name, folder.cells())),
            _ => None,
        })
    }

    /// The folder of a region on the disk.
    #[cfg(feature = "rocksdb")]
    pub(super) fn folder(&self, name: &RegionName) -> Result<&RegionFolder> {
        match self.get(name)? {
            Region::Disk(folder) => Ok(folder),
            _ => Err(Error::internal("a region of a store on the disk has no folder")),
        }
    }
}

impl Cells {
    /// Opens the folders of the regions, whose cells are there from then on. `store` is the store's id; `lived_in` says
    /// how many tenants the directory has in each region. A folder that cannot be used shuts its region, alone.
    pub(crate) fn open_regions(&self, store: Incarnation, lived_in: &BTreeMap<RegionName, usize>) {
        let open = |(name, path): (&RegionName, &PathBuf)| {
            let tenants = lived_in.get(name).copied().unwrap_or_default();
            let region = self.open_region(name, path, store, tenants > 0).unwrap_or_else(|error| {
                tracing::error!(region = %name, tenants, ?error, "a region is shut");
                metrics::counter!("strongroom_region_failures_total").increment(1);
                // What the caller did wrong is an operator's affair; to a tenant its region is not there.
                Region::Shut(ErrorKind::Unavailable, error.context().to_owned())
            });
            (name.clone(), region)
        };
        let opened: BTreeMap<_, _> = self.regions.paths.iter().map(open).collect();
        for (region, tenants) in lived_in.iter().filter(|(name, _)| !opened.contains_key(*name)) {
            tracing::error!(%region, tenants, "a region in which tenants live has no folder configured, and is shut");
            metrics::counter!("strongroom_region_failures_total").increment(1);
        }
        drop(self.regions.opened.set(opened));
    }

    /// Whether tenants can be made in a region.
    ///
    /// # Errors
    /// `Invalid` if it is not configured, `Unavailable` if its folder cannot be used.
    pub(crate) fn check_region(&self, region: Option<&RegionName>) -> Result<()> {
        let Some(name) = region else { return Ok(()) };
        if !self.regions.paths.contains_key(name) {
            return Err(Error::invalid("no folder is configured for the region"));
        }
        self.regions.get(name).map(drop)
    }

    /// Whether a tenant of a region (or of none) may live in a cell.
    ///
    /// # Errors
    /// `Unavailable` if its region is shut; `Corrupt` if the cell lies in another.
    pub(crate) fn check_cell(&self, number: u32, region: Option<&RegionName>) -> Result<()> {
        region.map_or(Ok(()), |name| self.regions.get(name).map(drop))?;
        if self.region(number)?.as_ref() == region {
            return Ok(());
        }
        Err(Error::corrupt("the cell of the tenant lies in the folder of another region"))
    }

    fn open_region(&self, name: &RegionName, path: &Path, store: Incarnation, is_lived_in: bool) -> Result<Region> {
        match &self.home {
            Home::Memory(_) => Ok(Region::Memory),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => {
                let folder = RegionFolder::open(path, name, store, is_lived_in)?;
                for number in folder.cells().numbers()? {
                    cells.pool().add_found(Place::new(number, folder.cells().cell(number), Some(name.clone())));
                }
                Ok(Region::Disk(folder))
            }
        }
    }
}

/// Regions by name.
///
/// # Errors
/// `Invalid` if a name is none, or is there twice.
pub(crate) fn read_regions(named: Vec<(String, PathBuf)>) -> Result<RegionPaths> {
    let mut regions = RegionPaths::new();
    for (name, path) in named {
        if regions.insert(RegionName::new(name)?, path).is_some() {
            return Err(Error::invalid("a region is named twice"));
        }
    }
    Ok(regions)
}

/// The folders of the store, its regions and its root keys must not lie in each other.
pub(crate) fn check_folders(store: &Path, regions: &RegionPaths, roots: &[&Path]) -> Result<()> {
    let folders: Vec<&Path> = std::iter::once(store).chain(regions.values().map(PathBuf::as_path)).collect();
    if roots.iter().any(|roots| folders.iter().any(|folder| overlaps(folder, roots))) {
        return Err(Error::invalid("the root keys lie in a folder of the store, or the store in theirs"));
    }
    let lies_with_one_before = |place: usize| folders[..place].iter().any(|one| overlaps(one, folders[place]));
    if (1..folders.len()).any(lies_with_one_before) {
        return Err(Error::invalid("the folders of the store and of its regions lie in each other"));
    }
    Ok(())
}
