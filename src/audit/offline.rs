//! Verifying an exported trail without the store that wrote it.

use std::io::{BufRead, Read};

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::line::{self, LINE_MAX_LEN};
use super::note::VerifierKey;
use super::tree::{Hash, Tree};
use crate::error::{Error, ErrorKind, Result};

/// A trail that is what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Which trail of which store: `strongroom/<store id>/<incarnation>`.
    pub origin: String,
    /// How many events it has.
    pub size: u64,
    /// The root hash of their tree.
    pub root: Hash,
    /// Whether the trail's own checkpoint was held against a key.
    pub is_signed: bool,
    /// The size of the earlier checkpoint out of which it has grown, if one was given.
    pub grown_from: Option<u64>,
}

/// The last line of an exported trail.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastLine {
    pub(super) checkpoint: String,
}

/// A trail that is being read from its beginning, held against a checkpoint that somebody kept.
#[derive(Debug)]
pub(super) struct Growth {
    pub(super) tree: Tree,
    earlier: Option<Checkpoint>,
}

/// Verifies an exported trail: every line says what its leaf says, and the leaves are those of the checkpoint in the
/// last line. With `key`, that checkpoint, and `earlier` too, were signed by the store: without it they are believed.
/// With `earlier`, a checkpoint that was kept, the trail has not been cut or rewritten since.
///
/// Reads a line at a time.
///
/// # Errors
/// [`Tampered`](crate::ErrorKind::Tampered) and [`Corrupt`](crate::ErrorKind::Corrupt) if the trail is not what it
/// should be, with a word on what is wrong; [`Invalid`](crate::ErrorKind::Invalid) if `earlier` is no checkpoint or that
/// of another trail; [`Unavailable`](crate::ErrorKind::Unavailable) if it cannot be read.
pub fn verify_export(mut trail: impl BufRead, key: Option<&VerifierKey>, earlier: Option<&str>) -> Result<Verified> {
    verify_events(&mut trail, key, earlier, &mut |_| Ok(()))
}

/// The same, handing every leaf to `each`, in order. Nothing of them is to be believed before this returns.
pub(crate) fn verify_events(
    mut trail: &mut dyn BufRead,
    key: Option<&VerifierKey>,
    earlier: Option<&str>,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Verified> {
    let mut growth = Growth::from(earlier.map(|note| open(note, key)).transpose()?)?;
    let mut line = String::new();
    loop {
        read_line(&mut trail, &mut line)?;
        if let Ok(LastLine { checkpoint }) = serde_json::from_str(&line) {
            let mut behind = [0];
            if trail.read(&mut behind).map_err(|source| Error::io("the trail cannot be read", source))? > 0 {
                return Err(Error::corrupt("something follows the checkpoint of the trail"));
            }
            let checkpoint = open(&checkpoint, key)?;
            return growth.finish(&checkpoint, key.is_some());
        }
        let leaf = line::parse(&line, growth.tree.size())?;
        each(&leaf)?;
        growth.push(&leaf)?;
    }
}

fn open(note: &str, key: Option<&VerifierKey>) -> Result<Checkpoint> {
    key.map_or_else(|| Checkpoint::read_unverified(note), |key| Checkpoint::open(note, key))
}

/// The next line, without its newline.
fn read_line(trail: &mut impl BufRead, line: &mut String) -> Result<()> {
    line.clear();
    let failed = |source| Error::io("the trail cannot be read", source);
    let length = trail.by_ref().take(LINE_MAX_LEN as u64 + 1).read_line(line).map_err(failed)?;
    if length == 0 {
        return Err(Error::corrupt("the trail ends without a checkpoint"));
    }
    if !line.ends_with('\n') {
        return Err(Error::corrupt("a line of the trail is cut off, or too long"));
    }
    line.pop();
    Ok(())
}

impl Growth {
    pub(super) fn from(earlier: Option<Checkpoint>) -> Result<Self> {
        let growth = Self { tree: Tree::default(), earlier };
        growth.compare()?;
        Ok(growth)
    }

    pub(super) fn push(&mut self, leaf: &[u8]) -> Result<()> {
        self.tree.push(leaf);
        self.compare()
    }

    /// Holds the trail against its head, when every event has been pushed.
    pub(super) fn finish(self, head: &Checkpoint, is_signed: bool) -> Result<Verified> {
        let Self { tree, earlier } = self;
        let (size, root) = (tree.size(), tree.root());
        if let Some(earlier) = &earlier {
            if earlier.origin() != head.origin() {
                return Err(Error::invalid("the earlier checkpoint is that of another trail"));
            }
            if earlier.size() > size {
                let text = format!("the trail has {size} events, and had {} at the earlier checkpoint", earlier.size());
                return Err(Error::new(ErrorKind::Tampered, text));
            }
        }
        if head.size() != size {
            let text = format!("the trail has {size} events, and its head counts {}", head.size());
            return Err(Error::new(ErrorKind::Tampered, text));
        }
        if *head.root() != root {
            return Err(Error::new(
                ErrorKind::Tampered,
                "the events of the trail are not those that its head vouches for",
            ));
        }
        let grown_from = earlier.map(|earlier| earlier.size());
        Ok(Verified { origin: head.origin().to_owned(), size, root, is_signed, grown_from })
    }

    fn compare(&self) -> Result<()> {
        match &self.earlier {
            Some(earlier) if earlier.size() == self.tree.size() && *earlier.root() != self.tree.root() => {
                let text = format!("the first {} events are not those of the earlier checkpoint", earlier.size());
                Err(Error::new(ErrorKind::Tampered, text))
            }
            _ => Ok(()),
        }
    }
}
