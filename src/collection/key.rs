//! Record keys: typed at the API, sequences of components underneath.
//!
//! A tuple is a sequence of its elements. A lone string or byte string is cut after every separator, which stays with
//! its component, so that the components joined are the key.
#![expect(clippy::cast_sign_loss, clippy::cast_possible_wrap, reason = "bit patterns, kept whole")]

use crate::error::{Error, Result};

/// The longest key, in bytes of all its components.
pub const KEY_MAX_LEN: usize = 4096;
/// The most components of a key.
pub const KEY_MAX_COMPONENTS: usize = 16;

/// A key, or a prefix of one, as components.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Components {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Whether the last component may go on: a prefix that stops within a component.
    partial: bool,
}

/// Types that can be the key of a collection: tuples of [`Component`]s, a lone integer, `&str` and `&[u8]`.
///
/// Sealed: an encoding that is not injective would let two keys meet.
pub trait Key: sealed::Sealed {
    /// The key as it is passed in.
    type Ref<'k>: Send + Sync;
    /// The key as it comes back from a scan.
    type Owned: Send + 'static;

    /// The key as a scan would bring it back, to be kept or sent elsewhere.
    fn own(key: &Self::Ref<'_>) -> Self::Owned;
    /// A key that came back from a scan, as it is passed in.
    fn lend(key: &Self::Owned) -> Self::Ref<'_>;

    #[doc(hidden)]
    fn shape() -> String;
    #[doc(hidden)]
    fn split(key: &Self::Ref<'_>, separator: u8, out: &mut Components);
    #[doc(hidden)]
    fn join(components: &Components) -> Option<Self::Owned>;
    /// The key's bytes in an `Ordered` collection.
    #[doc(hidden)]
    fn ordered(components: &Components) -> Vec<u8>;
    #[doc(hidden)]
    fn from_ordered(bytes: &[u8], separator: u8) -> Option<Components>;
}

/// The first components of a key of type `K`: a shorter tuple, or, for string keys, the beginning of a string.
pub trait Prefix<K: Key>: sealed::SealedPrefix<K> {
    #[doc(hidden)]
    fn split(&self, separator: u8, out: &mut Components);
}

/// Types that can be an element of a tuple key: `&str`, `&[u8]`, and the integers from 8 to 128 bits.
pub trait Component: sealed::Sealed {
    /// The component as it is passed in.
    type Ref<'c>: Send + Sync;
    /// The component as it comes back.
    type Owned: Send + 'static;

    #[doc(hidden)]
    fn own_part(value: &Self::Ref<'_>) -> Self::Owned;
    #[doc(hidden)]
    fn lend_part(value: &Self::Owned) -> Self::Ref<'_>;

    #[doc(hidden)]
    const SHAPE: &'static str;
    /// Bytes of every value, if they are always as many.
    #[doc(hidden)]
    const WIDTH: Option<usize>;
    #[doc(hidden)]
    fn push(value: &Self::Ref<'_>, out: &mut Vec<u8>);
    #[doc(hidden)]
    fn read(bytes: &[u8]) -> Option<Self::Owned>;
}

mod sealed {
    pub trait Sealed {}
    pub trait SealedPrefix<K> {}
}

impl Components {
    pub(super) fn of<K: Key>(key: &K::Ref<'_>, separator: u8) -> Result<Self> {
        let mut components = Self::default();
        K::split(key, separator, &mut components);
        components.check()
    }

    pub(super) fn of_prefix<K: Key>(prefix: &impl Prefix<K>, separator: u8) -> Result<Self> {
        let mut components = Self::default();
        prefix.split(separator, &mut components);
        components.check()
    }

    pub(super) fn from_parts(parts: &[Vec<u8>]) -> Self {
        let mut components = Self::default();
        parts.iter().for_each(|part| components.push(|bytes| bytes.extend_from_slice(part)));
        components
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    /// Whether the last component is only the beginning of one.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }

    fn check(self) -> Result<Self> {
        if self.bytes.len() > KEY_MAX_LEN || self.ends.len() > KEY_MAX_COMPONENTS {
            return Err(Error::invalid("a key has at most 4,096 bytes and 16 components"));
        }
        Ok(self)
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// Cuts after every separator.
    fn push_cut(&mut self, key: &[u8], separator: u8) {
        // The limit is checked afterwards; a key past it is not copied.
        if key.len() > KEY_MAX_LEN {
            return self.push(|bytes| bytes.resize(KEY_MAX_LEN + 1, 0));
        }
        for part in key.split_inclusive(|&byte| byte == separator) {
            self.push(|bytes| bytes.extend_from_slice(part));
        }
    }

    fn push_element<C: Component>(&mut self, value: &C::Ref<'_>) {
        if self.bytes.len() <= KEY_MAX_LEN {
            self.push(|bytes| C::push(value, bytes));
        }
    }
}

/// A lone string or byte string: `split` and `join` are inverse, and an empty key is no component at all.
macro_rules! whole_key {
    ($type:ty, $target:ty, $owned:ty, $shape:literal, $from:expr) => {
        impl Key for $type {
            type Ref<'k> = &'k $target;
            type Owned = $owned;

            fn own(key: &Self::Ref<'_>) -> Self::Owned {
                <$owned>::from(*key)
            }

            fn lend(key: &Self::Owned) -> Self::Ref<'_> {
                key
            }

            fn shape() -> String {
                $shape.to_owned()
            }

            fn split(key: &Self::Ref<'_>, separator: u8, out: &mut Components) {
                out.push_cut(key.as_ref(), separator);
            }

            fn join(components: &Components) -> Option<Self::Owned> {
                $from(components.bytes.clone())
            }

            fn ordered(components: &Components) -> Vec<u8> {
                components.bytes.clone()
            }

            fn from_ordered(bytes: &[u8], separator: u8) -> Option<Components> {
                let mut components = Components::default();
                components.push_cut(bytes, separator);
                Some(components)
            }
        }

        impl sealed::SealedPrefix<$type> for &$target {}

        impl Prefix<$type> for &$target {
            fn split(&self, separator: u8, out: &mut Components) {
                let bytes: &[u8] = self.as_ref();
                out.push_cut(bytes, separator);
                out.partial = bytes.last().is_some_and(|&last| last != separator);
            }
        }
    };
}

whole_key!(&str, str, String, "str", |bytes| String::from_utf8(bytes).ok());
whole_key!(&[u8], [u8], Vec<u8>, "bytes", Some);

impl sealed::Sealed for &str {}
impl sealed::Sealed for &[u8] {}

impl Component for &str {
    type Ref<'c> = &'c str;
    type Owned = String;
    const SHAPE: &'static str = "str";
    const WIDTH: Option<usize> = None;

    fn own_part(value: &Self::Ref<'_>) -> Self::Owned {
        (*value).to_owned()
    }

    fn lend_part(value: &Self::Owned) -> Self::Ref<'_> {
        value
    }

    fn push(value: &Self::Ref<'_>, out: &mut Vec<u8>) {
        <&[u8]>::push(&value.as_bytes(), out);
    }

    fn read(bytes: &[u8]) -> Option<Self::Owned> {
        std::str::from_utf8(bytes).ok().map(str::to_owned)
    }
}

impl Component for &[u8] {
    type Ref<'c> = &'c [u8];
    type Owned = Vec<u8>;
    const SHAPE: &'static str = "bytes";
    const WIDTH: Option<usize> = None;

    fn own_part(value: &Self::Ref<'_>) -> Self::Owned {
        value.to_vec()
    }

    fn lend_part(value: &Self::Owned) -> Self::Ref<'_> {
        value
    }

    fn push(value: &Self::Ref<'_>, out: &mut Vec<u8>) {
        // One byte past the limit is enough to be refused.
        out.extend_from_slice(&value[..value.len().min(KEY_MAX_LEN + 1)]);
    }

    fn read(bytes: &[u8]) -> Option<Self::Owned> {
        Some(bytes.to_vec())
    }
}

/// Integers: big-endian, the sign bit of signed ones flipped, so that bytes sort as numbers do.
macro_rules! integers {
    ($($type:ident, $unsigned:ident, $flip:expr;)*) => {$(
        impl sealed::Sealed for $type {}

        impl Component for $type {
            type Ref<'c> = $type;
            type Owned = $type;
            const SHAPE: &'static str = stringify!($type);
            const WIDTH: Option<usize> = Some(size_of::<$type>());

            fn own_part(value: &Self::Ref<'_>) -> Self::Owned {
                *value
            }

            fn lend_part(value: &Self::Owned) -> Self::Ref<'_> {
                *value
            }

            fn push(value: &Self::Ref<'_>, out: &mut Vec<u8>) {
                out.extend_from_slice(&(*value as $unsigned ^ $flip).to_be_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self::Owned> {
                Some(($unsigned::from_be_bytes(bytes.try_into().ok()?) ^ $flip) as $type)
            }
        }

        impl Key for $type {
            type Ref<'k> = $type;
            type Owned = $type;

            fn own(key: &Self::Ref<'_>) -> Self::Owned {
                *key
            }

            fn lend(key: &Self::Owned) -> Self::Ref<'_> {
                *key
            }

            fn shape() -> String {
                <($type,)>::shape()
            }

            fn split(key: &Self::Ref<'_>, _: u8, out: &mut Components) {
                out.push_element::<$type>(key);
            }

            fn join(components: &Components) -> Option<Self::Owned> {
                <($type,)>::join(components).map(|(number,)| number)
            }

            fn ordered(components: &Components) -> Vec<u8> {
                <($type,)>::ordered(components)
            }

            fn from_ordered(bytes: &[u8], separator: u8) -> Option<Components> {
                <($type,)>::from_ordered(bytes, separator)
            }
        }

        impl sealed::SealedPrefix<$type> for () {}

        impl Prefix<$type> for () {
            fn split(&self, _: u8, _: &mut Components) {}
        }
    )*};
}

macro_rules! tuple_key {
    ($($element:ident $place:tt),+) => {
        impl<$($element: Component),+> sealed::Sealed for ($($element,)+) {}

        impl<$($element: Component),+> Key for ($($element,)+) {
            type Ref<'k> = ($($element::Ref<'k>,)+);
            type Owned = ($($element::Owned,)+);

            fn own(key: &Self::Ref<'_>) -> Self::Owned {
                ($($element::own_part(&key.$place),)+)
            }

            fn lend(key: &Self::Owned) -> Self::Ref<'_> {
                ($($element::lend_part(&key.$place),)+)
            }

            fn shape() -> String {
                format!("({})", [$($element::SHAPE),+].join(","))
            }

            fn split(key: &Self::Ref<'_>, _: u8, out: &mut Components) {
                $(out.push_element::<$element>(&key.$place);)+
            }

            fn join(components: &Components) -> Option<Self::Owned> {
                let mut parts = components.iter();
                let key = ($($element::read(parts.next()?)?,)+);
                parts.next().is_none().then_some(key)
            }

            fn ordered(components: &Components) -> Vec<u8> {
                order(components, &[$($element::WIDTH),+])
            }

            fn from_ordered(bytes: &[u8], _: u8) -> Option<Components> {
                unorder(bytes, &[$($element::WIDTH),+])
            }
        }
    };
}

/// The first elements of a tuple (none to all of them) as a prefix of it.
macro_rules! tuple_prefix {
    ([$($element:ident $place:tt),+] [$($head:ident $head_place:tt),*]) => {
        impl<'k, $($element: Component),+> sealed::SealedPrefix<($($element,)+)> for ($($head::Ref<'k>,)*) {}

        impl<'k, $($element: Component),+> Prefix<($($element,)+)> for ($($head::Ref<'k>,)*) {
            fn split(&self, _: u8, _out: &mut Components) {
                $(_out.push_element::<$head>(&self.$head_place);)*
            }
        }
    };
}

/// Builds the impls of tuples from one element to all, with their prefixes.
macro_rules! tuples {
    (@prefixes $all:tt $($head:tt)*) => {
        $(tuple_prefix!($all $head);)*
    };
    ([$($done:tt)*] [$($heads:tt)*]) => {};
    ([$($done:ident $done_place:tt),*] [$($heads:tt)*] $next:ident $next_place:tt $($rest:tt)*) => {
        tuple_key!($($done $done_place,)* $next $next_place);
        tuples!(@prefixes [$($done $done_place,)* $next $next_place]
            $($heads)* [$($done $done_place,)* $next $next_place]);
        tuples!([$($done $done_place,)* $next $next_place]
            [$($heads)* [$($done $done_place,)* $next $next_place]] $($rest)*);
    };

}

tuples!([] [[]] A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12 N 13 O 14 P 15);

integers! {
    u8, u8, 0;
    u16, u16, 0;
    u32, u32, 0;
    u64, u64, 0;
    u128, u128, 0;
    i8, u8, 1 << 7;
    i16, u16, 1 << 15;
    i32, u32, 1 << 31;
    i64, u64, 1 << 63;
    i128, u128, 1 << 127;
}

/// The elements of a tuple as bytes that sort as the tuple does: integers as they are; strings with every 00 as
/// 00 FF, and 00 01 behind them, so that no string's bytes begin another's.
fn order(components: &Components, widths: &[Option<usize>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(components.bytes.len() + 8);
    for (part, width) in components.iter().zip(widths) {
        if width.is_some() {
            out.extend_from_slice(part);
            continue;
        }
        for &byte in part {
            out.push(byte);
            if byte == 0 {
                out.push(0xFF);
            }
        }
        out.extend_from_slice(&[0, 1]);
    }
    out
}

/// The inverse of [`order`], of a whole key.
fn unorder(mut bytes: &[u8], widths: &[Option<usize>]) -> Option<Components> {
    let mut components = Components::default();
    for width in widths {
        let part = match width {
            Some(width) => {
                let (part, rest) = bytes.split_at_checked(*width)?;
                bytes = rest;
                part.to_vec()
            }
            None => take_escaped(&mut bytes)?,
        };
        components.push(|out| out.extend_from_slice(&part));
    }
    bytes.is_empty().then_some(components)
}

fn take_escaped(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut part = Vec::new();
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if byte != 0 {
            part.push(byte);
            continue;
        }
        let (&mark, rest) = bytes.split_first()?;
        *bytes = rest;
        match mark {
            0xFF => part.push(0),
            1 => return Some(part),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
