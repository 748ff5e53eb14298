//! Making a backup: one moment in which copies are made, then copying at leisure.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::{Extent, File, Manifest, Mark, Part, Sum, Trust};
use super::moment::{self, Copies, Moment};
use super::repository::{Repository, Stored, Writer};
use super::rows::RowFiles;
use super::{Progress, Scope, Teller};
use crate::cells;
use crate::clock::Clock;
use crate::directory::Directory;
use crate::error::{Error, ErrorKind, Result};
use crate::signing::Signer;

/// What is to be backed up, to where, and on what terms.
#[must_use = "a plan does nothing until a custodian carries it out"]
pub struct BackupPlan<'p> {
    repository: PathBuf,
    pub(super) scope: Scope,
    pub(super) needs_escrow: bool,
    pub(super) accepts_gaps: bool,
    progress: Option<Teller<'p>>,
    stop: Option<Asker<'p>>,
}

/// Who is asked whether to stop.
type Asker<'p> = Box<dyn FnMut() -> bool + 'p>;

/// What a backup has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BackupReport {
    /// Its number among the backups of its folder.
    pub number: u64,
    /// Files that it consists of, and their bytes.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes that were not in the folder before.
    pub bytes_copied: u64,
    /// Cells that could not be copied; empty unless gaps were accepted.
    pub missing_cells: Vec<u32>,
    /// Tenants whose ring no escrow holds; 0 unless that was accepted.
    pub uncovered: u64,
}

impl<'p> BackupPlan<'p> {
    /// A backup of the whole store into the folder `repository`, which may hold earlier ones of the same store.
    pub fn store(repository: impl AsRef<Path>) -> Self {
        Self::new(repository.as_ref(), Scope::Store)
    }

    /// A backup of one cell and the directory rows of its tenants.
    pub fn cell(repository: impl AsRef<Path>, number: u32) -> Self {
        Self::new(repository.as_ref(), Scope::Cell(number))
    }

    /// A backup of one tenant's records and directory row.
    pub fn tenant(repository: impl AsRef<Path>, name: impl Into<String>) -> Self {
        Self::new(repository.as_ref(), Scope::Tenant(name.into()))
    }

    fn new(repository: &Path, scope: Scope) -> Self {
        let repository = repository.to_path_buf();
        Self { repository, scope, needs_escrow: true, accepts_gaps: false, progress: None, stop: None }
    }

    /// The policy `escrow: never`: the backup is made whether or not an escrow holds the rings. Whoever says so must
    /// have the ring files in some other way, or means the backup to be of use only beside the living store.
    pub fn escrow_never(mut self) -> Self {
        self.needs_escrow = false;
        self
    }

    /// The backup is made of what is there, though cells may have failed and rings be damaged. The report and the
    /// manifest say which.
    pub fn accept_gaps(mut self) -> Self {
        self.accepts_gaps = true;
        self
    }

    /// Is asked before every file whether to stop. The backup is [`Closed`](crate::ErrorKind::Closed) then, and the next
    /// goes on from what was copied.
    pub fn stop_when(mut self, stop: impl FnMut() -> bool + 'p) -> Self {
        self.stop = Some(Box::new(stop));
        self
    }

    /// Is told of every file.
    pub fn on_progress(mut self, progress: impl FnMut(&Progress) + 'p) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }
}

/// A backup under way.
struct Work<'w, 'p> {
    writer: &'w Writer<'w>,
    known: HashMap<(Part, String), File>,
    manifest: Manifest,
    progress: Progress,
    tell: Option<Teller<'p>>,
    stop: Option<Asker<'p>>,
}

/// Checks what can be checked of a plan without making anything: where the backups would lie, that what is to be backed
/// up is there, and that an escrow holds its rings.
pub(crate) fn check(directory: &Directory, plan: &BackupPlan<'_>) -> Result<()> {
    check_place(directory, plan)?;
    Repository::check(&plan.repository)?;
    moment::check(directory, plan)
}

fn check_place(directory: &Directory, plan: &BackupPlan<'_>) -> Result<()> {
    directory.cells().folder().ok_or_else(|| Error::invalid("a store in memory has no files"))?;
    if directory.cells().lie_with(&plan.repository) {
        return Err(Error::invalid("the backups would lie in a folder of the store, or the store in theirs"));
    }
    if directory.roots_locations().into_iter().any(|roots| cells::overlaps(roots, &plan.repository)) {
        return Err(Error::invalid("the backups would lie with the root keys"));
    }
    Ok(())
}

/// Carries out a plan.
pub(crate) fn take(directory: &Directory, clock: &dyn Clock, plan: BackupPlan<'_>) -> Result<BackupReport> {
    check_place(directory, &plan)?;
    let _under_way = directory.backup_begins();
    let signer = Signer::new(&directory.signing_seed()?)?;
    let trust = super::tenant::trust(directory)?;
    let scratch = directory.cells().scratch()?;
    let repository = Repository::open_or_make(&plan.repository)?;
    let writer = repository.writer()?;
    let (number, previous, known) = look_back(&repository, &trust)?;
    let copies = Copies::make(directory, &plan.scope, &scratch);
    let began_ms = clock.monotonic_ms();
    let moment = moment::hold(directory, &plan, copies)?;
    let held_ms = clock.monotonic_ms().saturating_sub(began_ms);
    let extent = match plan.scope {
        Scope::Store => Extent::Store,
        Scope::Cell(number) => Extent::Cell(number),
        Scope::Tenant(_) => Extent::Tenant,
    };
    let created_secs = clock.wall_ms() / 1000;
    let mut manifest = Manifest::new(trust.store, number, created_secs, extent, previous);
    (manifest.header.uncovered, manifest.header.exports) = (moment.uncovered, moment.exports);
    let mut work =
        Work { writer: &writer, known, manifest, progress: Progress::default(), tell: plan.progress, stop: plan.stop };
    work.copy(directory, &moment, extent)?;
    let Work { manifest, progress, .. } = work;
    let missing_cells = moment.cells.iter().filter(|cell| !cell.is_there).map(|cell| cell.number).collect();
    let (bytes, signature) = manifest.sign(&signer)?;
    writer.commit(number, created_secs, &bytes, &signature)?;
    if let Err(error) = writer.sweep(&trust) {
        tracing::warn!(%error, "files that no backup names are left; the next backup tries again");
    }
    tracing::info!(number, held_ms, bytes = progress.bytes, copied = progress.bytes_copied, "made a backup");
    metrics::counter!("strongroom_backups_total").increment(1);
    Ok(BackupReport {
        number,
        files: progress.files,
        bytes: progress.bytes,
        bytes_copied: progress.bytes_copied,
        missing_cells,
        uncovered: moment.uncovered,
    })
}

/// The next number, the newest good manifest, and every table that a good manifest knows.
#[expect(clippy::type_complexity, reason = "three answers of one look")]
fn look_back(
    repository: &Repository,
    trust: &Trust,
) -> Result<(u64, Option<(u64, Sum)>, HashMap<(Part, String), File>)> {
    let all = repository.numbers()?;
    let next = all.last().map_or(Some(1), |(last, _)| last.checked_add(1));
    let next = next.ok_or_else(|| Error::invalid("a folder among the backups has the last of all numbers"))?;
    let (mut previous, mut known) = (None, HashMap::new());
    for (number, folder) in all.into_iter().rev() {
        match Repository::read(number, &folder, trust) {
            Ok((manifest, sum)) => {
                let is_whole = manifest.header.scope == Extent::Store;
                previous = previous.or(Some((number, sum)));
                for file in manifest.files.into_iter().filter(|file| file.mark.is_some()) {
                    known.entry((file.part, file.name.clone())).or_insert(file);
                }
                if is_whole {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::error!(number, "the manifest of an earlier backup is damaged; what it knew is copied anew");
            }
            Err(error) => return Err(error),
        }
    }
    Ok((next, previous, known))
}

impl Work<'_, '_> {
    fn copy(&mut self, directory: &Directory, moment: &Moment<'_>, extent: Extent) -> Result<()> {
        let mut files = Vec::new();
        for cell in moment.cells.iter().filter(|cell| cell.is_there) {
            files.extend(list(&moment.scratch.of_cell(cell.number, cell.region.as_ref()), cell.number)?);
        }
        self.progress.files_total = files.len() as u64;
        self.progress.bytes_total = files.iter().map(|(_, _, metadata)| metadata.len()).sum();
        self.manifest.cells.clone_from(&moment.cells);
        let writer = self.writer;
        let mut rows = RowFiles::new(writer, Part::Directory);
        match extent {
            Extent::Store => rows.push_range(&*moment.zero, 0, &[], None)?,
            Extent::Cell(_) | Extent::Tenant => Self::copy_rows(directory, moment, &mut rows)?,
        }
        self.close(rows)?;
        let mut graves = RowFiles::new(writer, Part::Graves);
        for (from, to) in Directory::graves() {
            graves.push_range(&*moment.zero, 0, &from, Some(&to))?;
        }
        self.close(graves)?;
        if let Some((view, keyspace)) = &moment.records {
            let mut records = RowFiles::new(writer, Part::Records);
            records.push_range(&**view, *keyspace, &[], None)?;
            self.close(records)?;
        }
        files.into_iter().try_for_each(|(part, path, metadata)| self.copy_file(part, &path, &metadata))
    }

    /// The store's own rows that belong to no tenant, and those of the tenants of this backup.
    fn copy_rows(directory: &Directory, moment: &Moment<'_>, files: &mut RowFiles<'_>) -> Result<()> {
        let prefix = Directory::store_prefix();
        files.push_range(&*moment.zero, 0, &prefix, crate::engine::end_of_prefix(&prefix).as_deref())?;
        let mut keys = moment.rows.iter().map(|row| directory.row_key(&row.name)).collect::<Result<Vec<_>>>()?;
        keys.sort();
        keys.iter().try_for_each(|key| files.push_range(&*moment.zero, 0, key, Some(&[key.as_slice(), &[0]].concat())))
    }

    fn close(&mut self, mut files: RowFiles<'_>) -> Result<()> {
        files.close()?;
        for (file, is_new) in files.written {
            self.progress.files_total += 1;
            self.progress.bytes_total += file.length;
            self.add(file, is_new);
        }
        Ok(())
    }

    fn copy_file(&mut self, part: Part, path: &Path, metadata: &fs::Metadata) -> Result<()> {
        if self.stop.as_mut().is_some_and(|stop| stop()) {
            return Err(Error::new(ErrorKind::Closed, "the backup was stopped; the next one goes on from there"));
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let mark = (path.extension() == Some("sst".as_ref())).then(|| mark(metadata));
        let unchanged = self.known.get(&(part, name.clone())).filter(|known| {
            known.mark == mark
                && known.length == metadata.len()
                && self.writer.repository.holds(&known.sum, known.length)
        });
        match unchanged.cloned() {
            Some(file) => self.add(file, false),
            None => {
                let Stored { sum, length, is_new } = self.writer.put(path)?;
                self.add(File { part, name, length, sum, mark }, is_new);
            }
        }
        Ok(())
    }

    fn add(&mut self, file: File, is_new: bool) {
        self.progress.files += 1;
        self.progress.bytes += file.length;
        self.progress.bytes_copied += if is_new { file.length } else { 0 };
        self.manifest.files.push(file);
        if let Some(tell) = &mut self.tell {
            tell(&self.progress);
        }
    }
}

/// The files of a copied database, by name.
fn list(folder: &Path, cell: u32) -> Result<Vec<(Part, PathBuf, fs::Metadata)>> {
    let failed = |error| Error::io("the copy of a cell cannot be read", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let metadata = path.metadata().map_err(failed)?;
        found.push((Part::Cell(cell), path, metadata));
    }
    found.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
    Ok(found)
}

/// What tells a table from every other without reading it: tables are written once and never changed.
fn mark(metadata: &fs::Metadata) -> Mark {
    let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Mark { device: metadata.dev(), inode: metadata.ino(), modified_ns }
}

impl std::fmt::Debug for BackupPlan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupPlan").field("repository", &self.repository).finish_non_exhaustive()
    }
}
