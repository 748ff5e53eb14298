//! Everything that a store has on its disks, for whoever searches it.

use std::path::Path;

use super::{Cells, Home, Medium};
use crate::traces::{Progress, Search, SearchReport, Trace};

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
