//! The folders that a store lies in, and what kind of file system is under each: for whoever looks a store over.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Cells, Home};
use crate::name::RegionName;

/// A folder of the store.
pub(crate) struct Site {
    /// The region whose folder it is; none for the store's own.
    pub(crate) region: Option<RegionName>,
    path: PathBuf,
}

/// What becomes of bytes that are overwritten in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// The file system writes over them. The device below may still keep them.
    InPlace(&'static str),
    /// The file system keeps them, for a while or in a snapshot.
    Copies(&'static str),
    /// It is not known.
    Unknown,
}

impl Cells {
    /// The folders of the store and its regions; none of a store in memory.
    pub(crate) fn sites(&self) -> Vec<Site> {
        match &self.home {
            Home::Memory(_) => Vec::new(),
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => {
                let own = Site { region: None, path: cells.folders().root().to_path_buf() };
                let regions = self.regions.named();
                let regions = regions.map(|(name, path)| Site { region: Some(name.clone()), path: path.clone() });
                std::iter::once(own).chain(regions).collect()
            }
        }
    }
}

impl Site {
    /// Whether anybody but its owner can look into it.
    pub(crate) fn is_open_to_others(&self) -> io::Result<bool> {
        Ok(fs::metadata(&self.path)?.mode() & 0o077 != 0)
    }

    /// What kind of file system the ring files lie on.
    pub(crate) fn medium(&self) -> Medium {
        medium_of(&self.path).unwrap_or(Medium::Unknown)
    }
}

#[cfg(target_os = "linux")]
fn medium_of(path: &Path) -> Option<Medium> {
    Some(match rustix::fs::statfs(path).ok()?.f_type {
        0xEF53 => Medium::InPlace("ext4"),
        0x5846_5342 => Medium::InPlace("xfs"),
        0x0102_1994 => Medium::InPlace("tmpfs"),
        0x9123_683E => Medium::Copies("btrfs"),
        0x2FC1_2FC1 => Medium::Copies("zfs"),
        0xCA45_1A4E => Medium::Copies("bcachefs"),
        0xF2F5_2010 => Medium::Copies("f2fs"),
        0x794C_7630 => Medium::Copies("overlayfs"),
        _ => Medium::Unknown,
    })
}

#[cfg(not(target_os = "linux"))]
fn medium_of(_: &Path) -> Option<Medium> {
    None
}
