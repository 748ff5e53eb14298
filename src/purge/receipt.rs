//! The receipt of a purge: JSON as the text of a signed note (c2sp.org/signed-note), under the store's Ed25519 key and
//! the name of the tenant's trail. Read strictly: whatever is not to the byte what would be written is refused.

use serde::{Deserialize, Serialize};

use super::Statement;
use crate::error::{Error, Result};
use crate::traces::SearchReport;

/// What the receipt says of itself, and what it is told by.
const DOCUMENT: &str = "strongroom purge receipt, version 1";

/// What was destroyed, on whose behalf, what was searched for it, and what is left that the store cannot reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
pub struct Receipt {
    /// `strongroom purge receipt, version 1`
    pub document: String,
    /// The store, as 32 hex digits.
    pub store: String,
    /// The tenant's name.
    pub tenant: String,
    /// What tells the tenant from others of the same name, as 32 hex digits.
    pub incarnation: String,
    /// 1 for the first receipt of a purge, then one more for each that takes its place.
    pub number: u32,
    /// When it was issued, in seconds since 1970, by the store's clock.
    pub issued_secs: u64,
    /// Who has asked for the purge.
    pub requested: Statement,
    /// The second custodian.
    pub approved: Statement,
    /// The end of the cooling-off, in seconds since 1970.
    pub due_secs: u64,
    /// When the keys were destroyed, in seconds since 1970.
    pub destroyed_secs: u64,
    /// The epochs of the ring that were destroyed.
    pub epochs: Vec<u32>,
    /// The generations of the tenant key that were destroyed; unknown, and none here, if the keys could not be opened.
    pub generations: Vec<u32>,
    /// Whether the root keys still opened the ring: then the plain secrets were searched for too. Else they were in
    /// nobody's reach, and what was searched for are the wrapped ones.
    pub keys_were_opened: bool,
    /// The versions of root keys under which a stray copy of the ring could be opened, each with how it was last found.
    pub roots: Vec<RootVersion>,
    /// Escrows that may hold the ring.
    pub escrows: Vec<Escrowed>,
    /// What the ring lay on.
    pub medium: Medium,
    /// Whether the sealed records are gone from the tables too: not if an open scan kept a snapshot of them. Without a
    /// key they are noise.
    pub records_wiped: bool,
    /// The search of every file of the store.
    pub search: SearchReport,
    /// The attempt to open sealed records that were set aside, with the root keys in hand.
    pub samples: Samples,
    /// The head of the tenant's audit trail when this was issued: a signed checkpoint.
    pub checkpoint: String,
    /// Whether everything was read, nothing was found, and nothing could be opened.
    pub proven: bool,
    /// Whether it is proven and nothing is left that could open a stray copy.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// What is missing for that.
    pub missing: Vec<String>,
}

/// A version of a root key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RootVersion {
    /// The root key.
    pub root: String,
    /// Its version, as its provider names it.
    pub version: String,
    /// How it was found.
    pub state: RootState,
}

/// How a version of a root key was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RootState {
    /// It can be used.
    Alive,
    /// Its owner refuses, or has switched it off: that can be taken back.
    Refused,
    /// It is gone for good, by the answer of its provider.
    Destroyed,
    /// Nobody answered.
    Unknown,
}

/// An escrow that may hold the ring; or, before the last 100, all of them together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Escrowed {
    /// Its number among the exports of the store.
    pub number: u64,
    /// The last number, of several together; else the same.
    pub through: u64,
    /// When it was made, in seconds since 1970, the first of several; `None` for one that was begun and whose end was not
    /// written down.
    pub exported_secs: Option<u64>,
    /// The SHA-256 of the file, in hex; not of several.
    pub sha256: Option<String>,
    /// Who has declared that it is destroyed. Why stands in the trail.
    pub destroyed: Option<Declaration>,
}

/// Who vouches for the end of an escrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Declaration {
    /// Who it was, in the words of their issuer, at most 128 bytes of it.
    pub subject: String,
    /// When, in seconds since 1970.
    pub at_secs: u64,
}

/// What the ring lay on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Medium {
    /// The file system.
    pub file_system: String,
    /// Whether what is overwritten there is gone; `None` if that cannot be told. A disk that remaps its blocks, and
    /// snapshots of a volume, are below what a file system shows.
    pub overwrites_in_place: Option<bool>,
}

/// Sealed records that were set aside before the purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Samples {
    /// How many there were: none if the process ended in between.
    pub tried: u32,
    /// Rings that still opened with the root keys in hand, from copies that were found.
    pub rings_opened: u32,
    /// How many of the samples one of those rings opened, or one of the windows is the key of.
    pub opened: u32,
    /// How many windows of 32 bytes, of every file, were tried as keys of the samples; `None` unless that was asked for, and
    /// if there were no samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<u64>,
}

impl Declaration {
    pub(crate) fn of(statement: &Statement) -> Self {
        let cut = statement.subject.floor_char_boundary(128);
        Self { subject: statement.subject[..cut].to_owned(), at_secs: statement.at_secs }
    }
}

impl Escrowed {
    /// Several as one.
    pub(crate) fn together(several: &[Self]) -> Option<Self> {
        let (first, last) = (several.first()?, several.last()?);
        Some(Self { through: last.through, sha256: None, ..first.clone() })
    }
}

impl Receipt {
    pub(crate) fn document() -> String {
        DOCUMENT.to_owned()
    }

    /// The text that is signed.
    pub(crate) fn render(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        let text = text.map_err(|source| Error::internal("a receipt cannot be written").with_source(source))?;
        Ok(format!("{text}\n"))
    }

    /// Reads the text of a receipt, strictly.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is none, or of a version that this release does not know.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let invalid = || Error::invalid("this is no receipt of a purge");
        let receipt: Self = serde_json::from_str(text).map_err(|source| invalid().with_source(source))?;
        if receipt.document != DOCUMENT || receipt.render()? != text {
            return Err(invalid());
        }
        Ok(receipt)
    }

    /// Fills in whether this proves the purge, and is final, and what is missing.
    pub(crate) fn judge(mut self) -> Self {
        let mut missing = Vec::new();
        let SearchReport { hits_total, unread_total, .. } = &self.search;
        for (count, what) in [
            (*hits_total, "places in files of the store hold what was to be destroyed"),
            (*unread_total, "files could not be searched"),
            (u64::from(self.samples.rings_opened), "copies of the ring were found that open"),
            (u64::from(self.samples.opened), "of the sealed records that were set aside open, or their key was found"),
        ] {
            if count > 0 {
                missing.push(format!("{count} {what}"));
            }
        }
        self.proven = missing.is_empty();
        for RootVersion { root, version, state } in &self.roots {
            if *state != RootState::Destroyed {
                missing.push(format!("version {version} of the root key {root} is not destroyed"));
            }
        }
        for escrow in self.escrows.iter().filter(|escrow| escrow.destroyed.is_none()) {
            missing.push(format!("escrow {} has not been declared destroyed", escrow.number));
        }
        self.is_final = missing.is_empty();
        self.missing = missing;
        self
    }
}
