//! What a backup says of itself: every file with its length and SHA-256, signed by the store.
//!
//! `manifest = header || cells || files`, each a document behind its length; `manifest.sig = 01 || public key[32] ||
//! signature[64]`. Nothing of a manifest is read before its signature has been checked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::frames::{self, Frames};
use crate::error::{Error, Result};
use crate::name::{Incarnation, RegionName};
use crate::signing::{self, PublicKey, SIGNATURE_LEN, Signer};

/// SHA-256 of a file.
pub(super) type Sum = [u8; 32];

const MAGIC: &str = "strongroom backup";
const SIGNATURE_FORMAT: u8 = 1;
/// Bytes of a file `manifest.sig`.
pub(super) const SIGNATURE_FILE_LEN: u64 = 1 + 32 + SIGNATURE_LEN as u64;
const DAMAGED: &str = "the manifest of a backup is damaged";

/// Whose backups are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trust {
    pub(super) store: Incarnation,
    pub(super) key: PublicKey,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) header: Header,
    pub(super) cells: Vec<Cell>,
    pub(super) files: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    magic: String,
    store: Incarnation,
    pub(super) number: u64,
    pub(super) created_secs: u64,
    pub(super) scope: Extent,
    /// The backup before this one, and the SHA-256 of its manifest.
    pub(super) previous: Option<(u64, Sum)>,
    /// Tenants whose ring no escrow holds.
    pub(super) uncovered: u64,
    /// How many exports of rings had begun.
    pub(super) exports: u64,
    cells: u32,
    files: u32,
}

/// What a backup is of. Which tenant does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Extent {
    Store,
    Cell(u32),
    Tenant,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) number: u32,
    pub(super) boxes: u32,
    pub(super) region: Option<RegionName>,
    /// Not if the cell had failed or was away, and whoever made the backup accepted that.
    pub(super) is_there: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) part: Part,
    /// Its name in the database of its cell; empty for what is no file there.
    pub(super) name: String,
    pub(super) length: u64,
    pub(super) sum: Sum,
    /// Of a table, which never changes: how to know it again without reading it.
    pub(super) mark: Option<Mark>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Part {
    /// Rows of tenant zero, in order.
    Directory,
    /// The graves of deleted tenants.
    Graves,
    /// A file of a cell's database.
    Cell(u32),
    /// Rows of the one tenant of this backup, in order.
    Records,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) modified_ns: i128,
}

impl Manifest {
    pub(super) fn new(
        store: Incarnation,
        number: u64,
        created_secs: u64,
        scope: Extent,
        previous: Option<(u64, Sum)>,
    ) -> Self {
        let magic = MAGIC.to_owned();
        let header = Header {
            magic,
            store,
            number,
            created_secs,
            scope,
            previous,
            uncovered: 0,
            exports: 0,
            cells: 0,
            files: 0,
        };
        Self { header, cells: Vec::new(), files: Vec::new() }
    }

    /// The bytes of the manifest and of its signature.
    pub(super) fn sign(mut self, signer: &Signer) -> Result<(Vec<u8>, Vec<u8>)> {
        let count = |length: usize| u32::try_from(length).map_err(|_| Error::invalid("a backup has too many files"));
        (self.header.cells, self.header.files) = (count(self.cells.len())?, count(self.files.len())?);
        let mut bytes = Vec::new();
        frames::push(&mut bytes, &self.header)?;
        self.cells.iter().try_for_each(|cell| frames::push(&mut bytes, cell))?;
        self.files.iter().try_for_each(|file| frames::push(&mut bytes, file))?;
        let signature =
            [&[SIGNATURE_FORMAT][..], &signer.public()?.0, &signer.sign(signing::MANIFEST, &bytes)?].concat();
        Ok((bytes, signature))
    }

    /// Reads a manifest that `trust` has signed.
    ///
    /// # Errors
    /// `Invalid` if it is another store's, `Corrupt` if nobody has signed just these bytes.
    pub(super) fn read(bytes: &[u8], signature: &[u8; SIGNATURE_LEN], trust: &Trust) -> Result<Self> {
        let damaged = || Error::corrupt(DAMAGED);
        if !trust.key.vouches_for(signing::MANIFEST, bytes, signature) {
            return Err(damaged());
        }
        let manifest = Self::decode(bytes)?;
        if manifest.header.store != trust.store {
            return Err(Error::invalid("the backup is another store's"));
        }
        Ok(manifest)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut frames = Frames::new(bytes, DAMAGED);
        let header: Header = frames.next()?;
        if header.magic != MAGIC {
            return Err(Error::corrupt(DAMAGED));
        }
        let (cells, files): (Vec<Cell>, Vec<File>) = (frames.list(header.cells)?, frames.list(header.files)?);
        frames.finish()?;
        let is_plain = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) && !name.starts_with('.')
        };
        if files.iter().any(|file| !is_plain(&file.name) || file.name.is_empty() == matches!(file.part, Part::Cell(_)))
        {
            return Err(Error::corrupt(DAMAGED));
        }
        Ok(Self { header, cells, files })
    }

    /// The files of one part, in order.
    pub(super) fn part(&self, part: Part) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.part == part)
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }

    /// The regions that cells of this backup are of.
    pub(super) fn regions(&self) -> BTreeSet<RegionName> {
        self.cells.iter().filter(|cell| cell.is_there).filter_map(|cell| cell.region.clone()).collect()
    }

    /// Goes on as if these cells were missing.
    pub(super) fn leave_out(&mut self, which: impl Fn(&Cell) -> bool) {
        self.cells.iter_mut().filter(|cell| which(cell)).for_each(|cell| cell.is_there = false);
        let missing: BTreeSet<u32> = self.cells.iter().filter(|cell| !cell.is_there).map(|cell| cell.number).collect();
        self.files.retain(|file| !matches!(file.part, Part::Cell(number) if missing.contains(&number)));
    }

    /// A cell that is in this backup.
    pub(super) fn cell(&self, number: u32) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.number == number && cell.is_there)
    }
}

/// The signature in a file `manifest.sig`, if it claims to be that of `trust`. Whether it is good is not known yet.
///
/// # Errors
/// `Invalid` if another store has signed, `Corrupt` if the file has another form.
pub(super) fn read_signature(file: &[u8], trust: &Trust) -> Result<[u8; SIGNATURE_LEN]> {
    let damaged = || Error::corrupt(DAMAGED);
    let (&format, rest) = file.split_first().ok_or_else(damaged)?;
    let (signed_by, signature) = rest.split_at_checked(32).ok_or_else(damaged)?;
    let signature = signature.try_into().map_err(|_| damaged())?;
    if format != SIGNATURE_FORMAT {
        return Err(damaged());
    }
    if signed_by != trust.key.0 {
        return Err(Error::invalid("the backup is another store's"));
    }
    Ok(signature)
}

pub(super) fn sum(bytes: &[u8]) -> Sum {
    Sha256::digest(bytes).into()
}
