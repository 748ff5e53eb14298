//! Looks for thousands of byte strings at once, at every offset of every file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use crate::failure::Outcome;

/// What a pattern is a piece of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Plaintext,
    RecordKey,
    TenantName,
}

/// The shortest pattern: shorter ones would turn up in random bytes by chance.
pub const PATTERN_MIN_LEN: usize = 7;

/// Byte strings to look for. A scan keeps the last seven bytes in a register; a bitmap says for nearly every offset
/// that no pattern ends there, a table then says how long those are that could, and a hash of the whole decides.
pub struct Patterns {
    kinds: HashMap<Vec<u8>, Kind>,
    lengths_by_tail: HashMap<u64, Vec<usize>>,
    may_end: Vec<u64>,
    longest: usize,
}

/// What a search found.
#[derive(Default)]
pub struct Hits {
    by_kind: HashMap<Kind, u64>,
    by_pattern: HashMap<Vec<u8>, u64>,
    pub files: usize,
    pub bytes: u64,
}

const BITMAP_BITS: u32 = 20;
const TAIL_MASK: u64 = (1 << (8 * PATTERN_MIN_LEN)) - 1;

impl Patterns {
    /// Adds a pattern; false if it is too short, or there already.
    pub fn add(&mut self, kind: Kind, pattern: &[u8]) -> bool {
        if pattern.len() < PATTERN_MIN_LEN || self.kinds.contains_key(pattern) {
            return false;
        }
        let tail = pattern[pattern.len() - PATTERN_MIN_LEN..].iter().fold(0, |tail, &byte| shift(tail, byte));
        let lengths = self.lengths_by_tail.entry(tail).or_default();
        if !lengths.contains(&pattern.len()) {
            lengths.push(pattern.len());
        }
        let bit = slot(tail);
        self.may_end[bit / 64] |= 1 << (bit % 64);
        self.longest = self.longest.max(pattern.len());
        self.kinds.insert(pattern.to_vec(), kind);
        true
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.kinds.values().filter(|&&of| of == kind).count()
    }

    /// The same patterns without those of `kind` that `hits` has seen.
    pub fn without(self, kind: Kind, hits: &Hits) -> Self {
        let mut rest = Self::default();
        for (pattern, of) in &self.kinds {
            if *of != kind || hits.times(pattern) == 0 {
                rest.add(*of, pattern);
            }
        }
        rest
    }

    /// Searches every byte of every file below `folder`.
    pub fn search(&self, folder: &Path, bar: &ProgressBar) -> Outcome<Hits> {
        let mut hits = Hits::default();
        for file in files(folder)? {
            self.search_file(&file, &mut hits, bar)?;
            hits.files += 1;
        }
        Ok(hits)
    }

    /// Reads piece by piece; the end of each piece stays, so that no pattern is lost between two.
    pub fn search_file(&self, path: &Path, hits: &mut Hits, bar: &ProgressBar) -> Outcome {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; (1 << 20) + self.longest];
        let (mut kept, mut tail) = (0, 0);
        loop {
            let read = file.read(&mut buffer[kept..])?;
            if read == 0 {
                return Ok(());
            }
            let end = kept + read;
            for at in kept..end {
                tail = shift(tail, buffer[at]);
                let bit = slot(tail);
                if self.may_end[bit / 64] & (1 << (bit % 64)) != 0 {
                    self.look_closer(tail, &buffer[..=at], hits);
                }
            }
            hits.bytes += read as u64;
            bar.inc(read as u64);
            let keep = end.min(self.longest);
            buffer.copy_within(end - keep..end, 0);
            kept = keep;
        }
    }

    #[cold]
    fn look_closer(&self, tail: u64, so_far: &[u8], hits: &mut Hits) {
        for &length in self.lengths_by_tail.get(&tail).into_iter().flatten() {
            let Some(candidate) = so_far.len().checked_sub(length).map(|start| &so_far[start..]) else { continue };
            if let Some(&kind) = self.kinds.get(candidate) {
                *hits.by_kind.entry(kind).or_default() += 1;
                match hits.by_pattern.get_mut(candidate) {
                    Some(times) => *times += 1,
                    None => drop(hits.by_pattern.insert(candidate.to_vec(), 1)),
                }
            }
        }
    }
}

impl Default for Patterns {
    fn default() -> Self {
        let may_end = vec![0; 1 << (BITMAP_BITS - 6)];
        Self { kinds: HashMap::new(), lengths_by_tail: HashMap::new(), may_end, longest: 0 }
    }
}

impl Hits {
    pub fn count(&self, kind: Kind) -> u64 {
        self.by_kind.get(&kind).copied().unwrap_or(0)
    }

    /// How often a pattern was found.
    pub fn times(&self, pattern: &[u8]) -> u64 {
        self.by_pattern.get(pattern).copied().unwrap_or(0)
    }

    /// Whether every pattern of `kind` was found at least once.
    pub fn seen(&self, patterns: &Patterns, kind: Kind) -> bool {
        patterns.kinds.iter().all(|(pattern, &of)| of != kind || self.times(pattern) > 0)
    }
}

/// Every regular file below `folder`, in order.
pub fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = vec![];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn shift(tail: u64, byte: u8) -> u64 {
    ((tail << 8) | u64::from(byte)) & TAIL_MASK
}

/// Where the bitmap answers for a tail (Fibonacci hashing).
fn slot(tail: u64) -> usize {
    (tail.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - BITMAP_BITS)) as usize
}
