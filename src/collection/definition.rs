//! What a collection is: named once, as a constant that carries its types.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::{Codec, CodecId};
use super::key::Key;
use crate::engine::Durability;
use crate::name;

/// The definition of a collection: its name, the types of its keys and values, and how both are stored. Pinned in the
/// tenant's catalog when the collection is first opened for writing.
///
/// Keys that people choose are best a tuple of one, `CollectionDef<(&str,), _>`: a lone `&str` is a path, cut at its separator
/// into at most 16 components, of which siblings show.
///
/// ```
/// # use strongroom::CollectionDef;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Message { text: String }
/// const MAIL: CollectionDef<(&str, u64), Message> = CollectionDef::cbor("mail");
/// const FILES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("files").separator(b'/');
/// const EVENTS: CollectionDef<u64, Message> = CollectionDef::bincode("events").ordered();
/// ```
///
/// A name has 1 to 63 bytes of `a-z`, `0-9`, `-`, `_` and `.`, and begins with a letter or digit. A constant with another one
/// does not compile:
///
/// ```compile_fail,E0080
/// # use strongroom::CollectionDef;
/// const MAIL: CollectionDef<u64, String> = CollectionDef::cbor("Mail");
/// ```
pub struct CollectionDef<K, V> {
    pub(super) name: &'static str,
    pub(super) codec: Codec<V>,
    pub(super) mode: KeyMode,
    pub(super) separator: u8,
    pub(super) durability: Durability,
    key: PhantomData<fn() -> K>,
}

/// How record keys lie on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KeyMode {
    /// Encrypted component by component. On the disk show: how many components a key has, their lengths, and which
    /// keys share a parent. Scans by whole components only, in no particular order.
    #[default]
    Hidden,
    /// In the clear, in the order of the keys: the one thing that this crate writes unencrypted, and only for
    /// collections that say so. For keys that are no secret, where ranges are needed.
    Ordered,
}

/// What the catalog pins: a collection opens with exactly this, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) key: String,
    pub(super) mode: KeyMode,
    pub(super) separator: u8,
    pub(super) codec: CodecId,
}

impl<K: Key, V: Serialize + DeserializeOwned> CollectionDef<K, V> {
    /// Values as CBOR (RFC 8949): self-describing. Fields may be added to a type as long as older records still
    /// decode (`#[serde(default)]`). At most 200 levels deep. CBOR writes `Some(x)` as `x`, so that `Some(None)` and
    /// `Some(())` come back as `None`.
    ///
    /// # Panics
    /// If `name` is no [name](CollectionDef), and that, in a constant, is when it is compiled.
    #[must_use]
    pub const fn cbor(name: &'static str) -> Self {
        Self::new(name, Codec::CBOR)
    }

    /// Values as bincode (little-endian, fixed-width): compact, and the shape of the type is frozen.
    ///
    /// # Panics
    /// As [`cbor`](Self::cbor).
    #[must_use]
    pub const fn bincode(name: &'static str) -> Self {
        Self::new(name, Codec::BINCODE)
    }
}

impl<K: Key> CollectionDef<K, Vec<u8>> {
    /// Values as they are.
    ///
    /// # Panics
    /// As [`cbor`](CollectionDef::cbor).
    #[must_use]
    pub const fn bytes(name: &'static str) -> Self {
        Self::new(name, Codec::BYTES)
    }
}

impl<K: Key, V> CollectionDef<K, V> {
    /// Record keys in the clear and in order, see [`KeyMode::Ordered`].
    #[must_use]
    pub const fn ordered(mut self) -> Self {
        self.mode = KeyMode::Ordered;
        self
    }

    /// Where lone string and byte-string keys are cut into components; `/` unless said otherwise. Tuples are not cut.
    #[must_use]
    pub const fn separator(mut self, separator: u8) -> Self {
        self.separator = separator;
        self
    }

    /// How durable writes to this collection are unless a batch says otherwise; [`Durability::Synced`] unless said
    /// here. Not pinned in the catalog.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    const fn new(name: &'static str, codec: Codec<V>) -> Self {
        assert!(name::is_name(name), "{}", name::NAME_RULE);
        Self { name, codec, mode: KeyMode::Hidden, separator: b'/', durability: Durability::Synced, key: PhantomData }
    }

    pub(super) fn shape(&self) -> Shape {
        Shape { key: K::shape(), mode: self.mode, separator: self.separator, codec: self.codec.id }
    }
}

impl<K, V> Clone for CollectionDef<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for CollectionDef<K, V> {}

impl<K, V> std::fmt::Debug for CollectionDef<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CollectionDef")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .field("codec", &self.codec.id)
            .finish_non_exhaustive()
    }
}
