//! Bytes that must be nowhere any more: how they are recognised without being kept, and the search of files for them.
//!
//! A trace is the SHA-256 of what is searched for and its first four bytes, which say where it is worth computing one.
//! Of 32 random bytes that leaves 2^224 to guess, so traces can be written down, and the search be repeated, when the
//! secrets themselves are long wiped. It reads every byte once, whatever the number of traces.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::secret::wipe;

/// What is searched for, in the order in which it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TraceKind {
    /// A wrap secret, as a root key unwraps it.
    WrapSecret,
    /// The ring key of an epoch.
    RingKey,
    /// The tenant key of a generation.
    TenantKey,
    /// What hides record keys.
    NameSecret,
    /// A wrap secret as a root key has wrapped it.
    WrappedSecret,
    /// A ring key sealed under wrap secrets.
    SealedRingKey,
    /// Tenant keys and name secret sealed under a ring key.
    SealedKeyset,
    /// The beginning of a living ring slot of the tenant, of whatever epoch.
    RingSlot,
}

/// One thing to be searched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trace {
    kind: TraceKind,
    head: [u8; HEAD_LEN],
    /// The digest is of these bytes: from here to the length.
    from: u16,
    length: u16,
    digest: [u8; 32],
}

/// Where something was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hit {
    /// What was found.
    pub kind: TraceKind,
    /// In which file.
    pub file: String,
    /// Where it begins, in bytes from the beginning of the file.
    pub offset: u64,
}

/// What a search has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SearchReport {
    /// Files that were read to their end.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// How many things of each kind were searched for.
    pub searched_for: BTreeMap<TraceKind, u32>,
    /// What was found, the first 32 places.
    pub hits: Vec<Hit>,
    /// How many places there are.
    pub hits_total: u64,
    /// Files that could not be read, the first 32.
    pub unread: Vec<String>,
    /// How many files could not be read.
    pub unread_total: u64,
}

const HEAD_LEN: usize = 4;
/// Bytes of a file that are read at once.
const CHUNK: usize = 1 << 20;
const LISTED_MAX: usize = 32;

impl Trace {
    /// Of bytes that are searched for whole. `None` if they are too short to mean anything, or too long for a trace.
    pub(crate) fn of(kind: TraceKind, bytes: &[u8]) -> Option<Self> {
        Self::from(kind, bytes, 0)
    }

    /// Of bytes that begin like these, and are the same from `from` on; what lies between may be anything.
    pub(crate) fn from(kind: TraceKind, bytes: &[u8], from: usize) -> Option<Self> {
        let (head, digest) = (*bytes.first_chunk()?, Sha256::digest(bytes.get(from..)?).into());
        let (from, length) = (u16::try_from(from).ok()?, u16::try_from(bytes.len()).ok()?);
        (length - from >= 16).then_some(Self { kind, head, from, length, digest })
    }

    fn is_at(&self, bytes: &[u8]) -> bool {
        let searched = bytes.get(usize::from(self.from)..usize::from(self.length));
        searched.is_some_and(|searched| Sha256::digest(searched)[..] == self.digest)
    }
}

/// Is told how far a search has come, and says whether it goes on.
pub(crate) type Progress<'p> = &'p mut dyn FnMut(&SearchReport) -> bool;

/// A search for many traces at once.
pub(crate) struct Search<'t> {
    /// One bit for every pair of bytes with which a trace begins.
    begins: Box<[u64; 1024]>,
    traces: Vec<&'t Trace>,
    longest: usize,
}

impl<'t> Search<'t> {
    pub(crate) fn new(traces: &'t [Trace]) -> Self {
        let mut begins = Box::new([0; 1024]);
        for trace in traces {
            let pair = usize::from(u16::from_le_bytes([trace.head[0], trace.head[1]]));
            begins[pair / 64] |= 1 << (pair % 64);
        }
        let longest = traces.iter().map(|trace| usize::from(trace.length)).max().unwrap_or(HEAD_LEN);
        Self { begins, traces: traces.iter().collect(), longest }
    }

    /// Searches everything below `folder`, whose files are called after it by `name`. Links are not followed: what they
    /// lead to is searched where it lies, or is not the store's. False if `progress`, asked after every file, has ended it.
    pub(crate) fn folder(&self, name: &str, folder: &Path, report: &mut SearchReport, progress: Progress<'_>) -> bool {
        let mut folders = vec![folder.to_path_buf()];
        while let Some(at) = folders.pop() {
            let entries = match fs::read_dir(&at) {
                Ok(entries) => entries,
                Err(error) => {
                    report.missed(&self.label(name, folder, &at), &error);
                    continue;
                }
            };
            for entry in entries {
                let Ok(entry) = entry.inspect_err(|error| report.missed(&self.label(name, folder, &at), error)) else {
                    continue;
                };
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() => {
                        let (path, label) = (entry.path(), self.label(name, folder, &entry.path()));
                        if let Err(error) = self.file(&label, &path, report) {
                            report.missed(&label, &error);
                        }
                        if !progress(report) {
                            return false;
                        }
                    }
                    Ok(_) => {}
                    Err(error) => report.missed(&self.label(name, folder, &entry.path()), &error),
                }
            }
        }
        true
    }

    fn file(&self, label: &str, path: &Path, report: &mut SearchReport) -> io::Result<()> {
        let mut file = File::open(path)?;
        let mut buffer = Wiped(vec![0; CHUNK + self.longest]);
        let (mut held, mut offset) = (0, 0);
        loop {
            let read = fill(&mut file, &mut buffer.0[held..])?;
            report.bytes += read as u64;
            let end = held + read;
            let is_last = read < CHUNK + self.longest - held;
            // What begins in the last bytes is looked at when what follows them is there.
            let searched = if is_last { end } else { end - self.longest + 1 };
            self.bytes(&buffer.0[..end], searched, &mut |at, kind| {
                report.found(Hit { kind, file: label.to_owned(), offset: offset + at as u64 });
            });
            if is_last {
                report.files += 1;
                return Ok(());
            }
            buffer.0.copy_within(searched..end, 0);
            (held, offset) = (end - searched, offset + searched as u64);
        }
    }

    /// What begins in the first `searched` of these bytes.
    fn bytes(&self, bytes: &[u8], searched: usize, found: &mut dyn FnMut(usize, TraceKind)) {
        for at in 0..searched.min(bytes.len().saturating_sub(HEAD_LEN - 1)) {
            let pair = usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
            if self.begins[pair / 64] >> (pair % 64) & 1 == 0 {
                continue;
            }
            let rest = &bytes[at..];
            for trace in self.traces.iter().filter(|trace| rest.starts_with(&trace.head)) {
                if trace.is_at(rest) {
                    found(at, trace.kind);
                }
            }
        }
    }

    #[expect(clippy::unused_self, reason = "a name is part of a search")]
    fn label(&self, name: &str, folder: &Path, path: &Path) -> String {
        let below = path.strip_prefix(folder).unwrap_or(path);
        PathBuf::from(name).join(below).to_string_lossy().into_owned()
    }
}

impl SearchReport {
    /// How many things of each kind are searched for.
    pub(crate) fn of(traces: &[Trace]) -> Self {
        let mut report = Self::default();
        traces.iter().for_each(|trace| *report.searched_for.entry(trace.kind).or_default() += 1);
        report
    }

    /// Whether everything was read, and nothing found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.hits_total == 0 && self.unread_total == 0
    }

    fn found(&mut self, hit: Hit) {
        self.hits_total += 1;
        if self.hits.len() < LISTED_MAX {
            self.hits.push(hit);
        }
    }

    /// A file that is gone holds nothing; the engine removes files all the time.
    fn missed(&mut self, label: &str, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        tracing::warn!(label, %error, "a file cannot be searched");
        self.unread_total += 1;
        if self.unread.len() < LISTED_MAX {
            self.unread.push(label.to_owned());
        }
    }
}

/// What is read may hold what is searched for.
struct Wiped(Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..]) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Vec<u8> {
        Sha256::digest([byte]).to_vec()
    }

    fn search(traces: &[Trace], folder: &Path) -> SearchReport {
        let mut report = SearchReport::of(traces);
        Search::new(traces).folder("store", folder, &mut report, &mut |_| true);
        report
    }

    #[test]
    fn what_is_there_is_found_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let traces: Vec<Trace> = (0..60).map(|byte| Trace::of(TraceKind::TenantKey, &secret(byte)).unwrap()).collect();
        fs::create_dir(folder.path().join("deep")).unwrap();
        let path = folder.path().join("deep/file");
        let length = 3 * CHUNK + 17;
        // At the edges of chunks, of the file, and where one chunk overlaps the next.
        let edges = [0, 1, CHUNK - 31, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 16, 2 * CHUNK + 15, length - 32];
        for (number, at) in (0..).zip(edges) {
            let mut bytes = vec![7; length];
            bytes[at..at + 32].copy_from_slice(&secret(number));
            fs::write(&path, &bytes).unwrap();
            let report = search(&traces, folder.path());
            let hit = Hit { kind: TraceKind::TenantKey, file: "store/deep/file".into(), offset: at as u64 };
            assert_eq!((report.hits, report.hits_total), (vec![hit], 1), "at {at}");
            assert_eq!((report.files, report.bytes), (1, length as u64));
            bytes[at + 31] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(search(&traces, folder.path()).is_clean(), "a byte of it is another");
        }
        fs::write(&path, &secret(3)[..31]).unwrap();
        assert!(search(&traces, folder.path()).is_clean(), "cut off by the end of the file");
    }

    #[test]
    fn what_lies_between_may_be_anything() {
        let folder = tempfile::tempdir().unwrap();
        let pattern = [&[1, 1, 0, 0][..], &[0; 12], &secret(1)[..16]].concat();
        let traces = [Trace::from(TraceKind::RingSlot, &pattern, 16).unwrap()];
        let mut there = pattern.clone();
        there[4..16].fill(9);
        fs::write(folder.path().join("rings"), [&[0; 100][..], &there].concat()).unwrap();
        assert_eq!(search(&traces, folder.path()).hits[0].offset, 100);
        there[1] = 2;
        fs::write(folder.path().join("rings"), there).unwrap();
        assert!(search(&traces, folder.path()).is_clean());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_of_and_a_link_is_not_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let traces = [Trace::of(TraceKind::RingKey, &secret(1)).unwrap()];
        fs::write(elsewhere.path().join("key"), secret(1)).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("key"), folder.path().join("link")).unwrap();
        assert_eq!(search(&traces, folder.path()).files, 0);
        assert_eq!(search(&traces, elsewhere.path()).hits_total, 1, "the control");
        let report = search(&traces, &elsewhere.path().join("key"));
        assert_eq!((report.unread_total, report.is_clean()), (1, false), "no folder");
    }

    #[test]
    fn nothing_short_has_a_trace() {
        assert!(Trace::of(TraceKind::WrappedSecret, &[1; 15]).is_none());
        assert!(Trace::of(TraceKind::WrappedSecret, &[1; 16]).is_some());
        assert!(Trace::from(TraceKind::RingSlot, &[1; 31], 16).is_none());
    }
}
