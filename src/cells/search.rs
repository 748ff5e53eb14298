//! Everything that a store has on its disks, for whoever searches it.

use std::path::Path;

use zeroize::Zeroizing;

use super::{Cells, Home, Medium};
use crate::traces::{Progress, Search, SearchReport, Trace};

/// Bytes of a file that are read at once.
const PIECE: usize = 1 << 20;

impl Cells {
    /// Reads every file of the store, of the regions whose disks are there, and of what was put aside. `None` if `progress`
    /// has ended it.
    pub(crate) fn search(&self, traces: &[Trace], progress: Progress<'_>) -> Option<SearchReport> {
        let mut report = SearchReport::of(traces);
        let (search, mut goes_on) = (Search::new(traces), true);
        self.each_folder(&mut |name, folder| {
            goes_on = goes_on && search.folder(name, folder, &mut report, progress);
        });
        goes_on.then_some(report)
    }

    /// Hands every window of 32 bytes of every file to `visit`, and asks `goes_on` after every file. Returns how many there
    /// were; `None` if it did not go on.
    ///
    /// # Errors
    /// Those of reading a file.
    pub(crate) fn each_window(
        &self,
        visit: &mut dyn FnMut(&[u8; 32]),
        goes_on: &mut dyn FnMut() -> bool,
    ) -> std::io::Result<Option<u64>> {
        let mut folders = Vec::new();
        self.each_folder(&mut |_, folder| folders.push(folder.to_path_buf()));
        let mut count = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    count += windows_of(&entry.path(), visit)?;
                    if !goes_on() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(count))
    }

    /// Reads again what lies at some place of some file that a search has named.
    pub(crate) fn read_found(&self, file: &str, offset: u64, length: usize) -> Option<Vec<u8>> {
        use std::os::unix::fs::FileExt;
        let mut found = None;
        self.each_folder(&mut |name, folder| {
            let path = file.strip_prefix(name).and_then(|below| below.strip_prefix('/'));
            let Some(file) = path.and_then(|below| std::fs::File::open(folder.join(below)).ok()) else { return };
            let mut bytes = vec![0; length];
            if found.is_none() && file.read_exact_at(&mut bytes, offset).is_ok() {
                found = Some(bytes);
            }
        });
        found
    }

    /// What the ring file of a cell lies on; `None` for memory.
    pub(crate) fn medium(&self, cell: u32) -> Option<Medium> {
        let region = self.region(cell).ok().flatten();
        self.sites().into_iter().find(|site| site.region == region).map(|site| site.medium())
    }

    fn each_folder(&self, each: &mut dyn FnMut(&str, &Path)) {
        match &self.home {
            Home::Memory(_) => {}
            #[cfg(feature = "rocksdb")]
            Home::Disk(cells) => {
                each("store", cells.folders().root());
                for (region, folder) in self.regions.folders() {
                    each(&format!("region {region}"), folder.root());
                }
            }
        }
    }
}

/// Reads a file in pieces that share 31 bytes with the next.
fn windows_of(path: &Path, visit: &mut dyn FnMut(&[u8; 32])) -> std::io::Result<u64> {
    use std::io::Read;
    let mut file = std::fs::File::open(path)?;
    let (mut bytes, mut count) = (Zeroizing::new(Vec::with_capacity(PIECE + 31)), 0);
    loop {
        let read = file.by_ref().take(PIECE as u64).read_to_end(&mut bytes)?;
        if read == 0 {
            return Ok(count);
        }
        for window in bytes.windows(32) {
            visit(window.try_into().expect("a window of 32 bytes"));
            count += 1;
        }
        let kept = bytes.len().saturating_sub(31);
        bytes.drain(..kept);
    }
}
