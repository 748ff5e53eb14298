//! What the service stores, and under which keys.

use serde::{Deserialize, Serialize};
use strongroom::CollectionDef;

/// The folders of a tenant that were made, by name. Names are hidden on the disk.
pub const FOLDERS: CollectionDef<(&str,), Folder> = CollectionDef::cbor("folders");

/// What lists show of messages, by [`Slot`]. Ordered, so that there are pages, newest first: what shows on the disk is how
/// many messages a folder has and when they arrived, which the files' own times tell anyway; no name, and no word of them.
pub const LETTERS: CollectionDef<(u64, u64, u64), Letter> = CollectionDef::cbor("letters").ordered();

/// The messages themselves (RFC 5322), as they came, by [`Letter::content`].
pub const CONTENTS: CollectionDef<u128, Vec<u8>> = CollectionDef::bytes("contents");

/// What was imported, by the SHA-256 of the message: so that importing again makes no duplicates, and brings nothing back
/// that was deleted or moved since.
pub const IMPORTED: CollectionDef<(u128, u128), Imported> = CollectionDef::cbor("imported");

/// The folders that every tenant has, with their numbers.
pub const STANDING: [(&str, u64); 3] = [("inbox", 1), ("sent", 2), ("archive", 3)];

/// A folder that a tenant has made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Folder {
    /// Random, above those of [`STANDING`].
    pub number: u64,
}

/// A message, as lists show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Letter {
    /// Where the message itself is.
    pub content: u128,
    /// From whom, for people to read: what the message says, which anybody can write.
    pub from: String,
    /// To whom, likewise.
    pub to: String,
    /// The subject, decoded.
    pub subject: String,
    /// Seconds since 1970: what the message says, or when it arrived.
    pub date_secs: i64,
    /// Bytes of the message.
    pub size: u64,
    /// The beginning of the text, for lists and for the search.
    pub excerpt: String,
    /// Whether somebody has read it.
    pub seen: bool,
    /// How many attachments it has.
    pub attachments: u32,
    /// From this second since 1970 on it is gone.
    pub expires_at_secs: Option<u64>,
}

/// That a message was imported.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Imported {
    /// When, in seconds since 1970.
    pub at_secs: u64,
}

/// Where a message lies within its folder: newest first. It keeps it when it moves, so that a move that is asked for twice
/// is one move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// `u64::MAX` less the milliseconds since 1970 when it arrived.
    pub age: u64,
    /// Random.
    pub tail: u64,
}

impl Slot {
    /// The key of the message in a folder.
    #[must_use]
    pub fn in_folder(self, folder: u64) -> (u64, u64, u64) {
        (folder, self.age, self.tail)
    }
}

/// 32 hexadecimal digits in lower case.
impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.age, self.tail)
    }
}

/// `None` of any other text than 32 hexadecimal digits in lower case.
impl Slot {
    /// The slot of this text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_hex) {
            return None;
        }
        let half = |half: &str| u64::from_str_radix(half, 16).ok();
        Some(Self { age: half(&text[..16])?, tail: half(&text[16..])? })
    }
}

/// Whether a folder may have this name: 1 to 64 characters, letters, digits, spaces and `-_.+`, no space at either end.
#[must_use]
pub fn is_folder_name(name: &str) -> bool {
    let is_fine = |c: char| c.is_alphanumeric() || " -_.+".contains(c);
    (1..=64).contains(&name.chars().count())
        && name.chars().all(is_fine)
        && name.trim() == name
        && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_reads_back_from_its_own_text_and_from_no_other() {
        let slot = Slot { age: u64::MAX - 5, tail: 7 };
        assert_eq!(slot.to_string(), "fffffffffffffffa0000000000000007");
        assert_eq!(Slot::parse(&slot.to_string()), Some(slot));
        for other in ["", "7", "FFFFFFFFFFFFFFFA0000000000000007", "+ffffffffffffffa0000000000000007"] {
            assert_eq!(Slot::parse(other), None, "{other}");
        }
    }

    #[test]
    fn folder_names_are_names() {
        for name in ["inbox", "Projekt Ärger", "2026-11", "a.b"] {
            assert!(is_folder_name(name), "{name}");
        }
        for name in ["", " inbox", "a/b", "..", "a\u{0}", &"x".repeat(65), "a\nb"] {
            assert!(!is_folder_name(name), "{name:?}");
        }
    }
}
