//! The engine joint: an ordered key-value store with atomic batches, snapshots and numbered keyspaces.
//!
//! Two implementations, RocksDB and memory, held to one conformance suite (`tests.rs`). Nothing above this module
//! can hand an engine a value that is not [`Opaque`].

mod memory;
#[cfg(feature = "rocksdb")]
pub(crate) mod rocks;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use memory::MemoryEngine;

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// Which of a cell's keyspaces: the number of a box.
pub(crate) type Keyspace = u32;

/// One row: key and value as the engine holds them.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// What may reach the disk as a value: sealed bytes, and nothing else. Exactly two types implement it, `Envelope`
/// and the ring's `Slot`; a test in `tests/it` checks that the list has not grown.
pub(crate) trait Opaque {
    fn into_bytes(self) -> Vec<u8>;
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Durability {
    /// After it has been synced to the disk (group commit: threads that write at once share one sync). An
    /// acknowledged write survives a power cut.
    #[default]
    Synced,
    /// After it has reached the operating system. An acknowledged write survives the end of the process, and not a
    /// power cut; the newest such writes may then be missing, never a middle one, never half a batch.
    Buffered,
}

/// Writes that happen together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    ops: Vec<Op>,
    expectations: Vec<Expectation>,
    #[cfg_attr(not(feature = "rocksdb"), expect(dead_code, reason = "memory is as durable as it gets"))]
    durability: Durability,
}

enum Op {
    Put {
        keyspace: Keyspace,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        keyspace: Keyspace,
        key: Vec<u8>,
    },
    /// `from..to`; without `to` up to the end of the keyspace.
    DeleteRange {
        keyspace: Keyspace,
        from: Vec<u8>,
        to: Option<Vec<u8>>,
    },
}

/// What must hold of a key for its batch to be applied.
#[derive(Debug)]
struct Expectation {
    keyspace: Keyspace,
    key: Vec<u8>,
    /// The first bytes of the value that must be there; `None`: the key must be absent.
    head: Option<Vec<u8>>,
}

/// Rows of one page of a scan.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Row>,
    /// Whether rows may follow the last of these.
    pub(crate) more: bool,
}

/// What can be said of a key without waiting for anybody.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtHand {
    Found,
    Absent,
    /// That takes the disk.
    Unknown,
}

/// The half of an engine that changes nothing. Implementations are `Sync`; every call may block on the disk, except
/// [`get_at_hand`](Self::get_at_hand).
pub(crate) trait Reader: Send + Sync + 'static {
    /// Hands the value of `key` to `read`; false if there is none.
    fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// The same from memory alone. A reader that says nothing here has nothing there.
    #[cfg(feature = "tokio")]
    fn get_at_hand(&self, _: Keyspace, _: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<AtHand> {
        Ok(AtHand::Unknown)
    }

    /// Hands each value that is there to `read` with its key's place in `keys`.
    fn multi_get(&self, keyspace: Keyspace, keys: &[Vec<u8>], read: &mut dyn FnMut(usize, &[u8])) -> Result<()>;

    /// About how many rows a keyspace has: what was replaced or removed lately may count.
    fn estimate_rows(&self, keyspace: Keyspace) -> Result<u64>;

    /// A snapshot of all keyspaces as they are now.
    fn view(&self) -> Result<Box<dyn View>>;

    /// Notes that it is used now. False once another has taken its place, and if it has failed: whoever keeps a
    /// reader asks before every use.
    fn is_current(&self) -> bool {
        true
    }
}

/// An ordered key-value store.
pub(crate) trait Engine: Reader {
    /// Applies the whole batch atomically and makes it visible, or nothing of it.
    ///
    /// `Conflict`: an expectation did not hold, nothing was changed. Any other error: the outcome is unknown.
    fn apply(&self, batch: Batch) -> Result<()>;

    /// Removes every row of a keyspace and the bytes that held them. True if none of them is left, so that it can be
    /// handed out again; false while somebody's snapshot holds on to them. Resumable: call again.
    fn wipe(&self, keyspace: Keyspace) -> Result<bool>;

    /// Writes to disk what only the operating system holds (buffered writes), durably. Other writes go on meanwhile.
    fn sync(&self) -> Result<()>;

    /// Makes a copy of the whole store as it is now in `to`, a folder that is not there yet, on the same file system:
    /// files that no longer change are linked, not copied.
    #[cfg(feature = "backup")]
    fn checkpoint(&self, to: &std::path::Path) -> Result<()>;
}

/// A snapshot. No engine iterator outlives a call, so that a scan is `Send + 'static`.
pub(crate) trait View: Send + Sync {
    /// As [`Reader::get`], in the snapshot.
    fn get(&self, keyspace: Keyspace, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Rows in `from..to` (without `to` up to the end), in order, until they hold `limit_bytes` or more.
    fn page(&self, keyspace: Keyspace, from: &[u8], to: Option<&[u8]>, limit_bytes: usize) -> Result<Page>;
}

impl Batch {
    pub(crate) fn new(durability: Durability) -> Self {
        Self { durability, ..Self::default() }
    }

    pub(crate) fn put(&mut self, keyspace: Keyspace, key: Vec<u8>, value: impl Opaque) {
        self.ops.push(Op::Put { keyspace, key, value: value.into_bytes() });
    }

    pub(crate) fn delete(&mut self, keyspace: Keyspace, key: Vec<u8>) {
        self.ops.push(Op::Delete { keyspace, key });
    }

    pub(crate) fn delete_range(&mut self, keyspace: Keyspace, from: Vec<u8>, to: Option<Vec<u8>>) {
        self.ops.push(Op::DeleteRange { keyspace, from, to });
    }

    pub(crate) fn expect_absent(&mut self, keyspace: Keyspace, key: Vec<u8>) {
        self.expectations.push(Expectation { keyspace, key, head: None });
    }

    /// The value of `key` must begin with `head`.
    pub(crate) fn expect_head(&mut self, keyspace: Keyspace, key: Vec<u8>, head: Vec<u8>) {
        self.expectations.push(Expectation { keyspace, key, head: Some(head) });
    }
}

impl Expectation {
    fn holds_for(&self, value: Option<&[u8]>) -> bool {
        match (&self.head, value) {
            (None, None) => true,
            (Some(head), Some(value)) => value.starts_with(head),
            _ => false,
        }
    }
}

impl Op {
    fn keyspace(&self) -> Keyspace {
        match self {
            Self::Put { keyspace, .. } | Self::Delete { keyspace, .. } | Self::DeleteRange { keyspace, .. } => {
                *keyspace
            }
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, keyspace) = match self {
            Self::Put { keyspace, .. } => ("Put", keyspace),
            Self::Delete { keyspace, .. } => ("Delete", keyspace),
            Self::DeleteRange { keyspace, .. } => ("DeleteRange", keyspace),
        };
        write!(f, "{name} in {keyspace}")
    }
}

/// The first key after every key that begins with `prefix`: the last byte that is not FF increased, the rest cut.
/// `None` if there is no such key.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
