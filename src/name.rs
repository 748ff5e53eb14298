//! Names, parsed once into newtypes and valid ever after.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest name of a tenant or a collection, in bytes.
pub const NAME_MAX_LEN: usize = 63;

/// A tenant's name: 1 to 63 bytes of `a-z`, `0-9`, `-`, `_` and `.`, beginning with a letter or digit.
///
/// No upper case and nothing beyond ASCII, so that no two names look alike.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantName(String);

/// The name of a region: 1 to 32 bytes of `a-z`, `0-9` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegionName(Arc<str>);

/// What the store calls a tenant in every key and context: 16 random bytes, new at every creation, so that a name
/// that is created again never meets old data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Incarnation([u8; 16]);

impl TenantName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it breaks the rules above.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RegionName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it breaks the rule above.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=Self::MAX_LEN).contains(&name.len()) && name.bytes().all(valid) {
            return Ok(Self(name.into()));
        }
        Err(Error::invalid("the name of a region has 1 to 32 bytes of a-z, 0-9 and '-'"))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in bytes that somebody may have changed.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        Self::new(std::str::from_utf8(bytes).ok()?).ok()
    }

    const MAX_LEN: usize = 32;
}

/// What [`is_name`] asks for, in words.
pub(crate) const NAME_RULE: &str =
    "a name has 1 to 63 bytes of a-z, 0-9, '-', '_' and '.', the first a letter or digit";

/// The rule that names of tenants and collections share.
pub(crate) const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut place = 0;
    while place < bytes.len() {
        match bytes[place] {
            b'a'..=b'z' | b'0'..=b'9' => {}
            b'-' | b'_' | b'.' if place > 0 => {}
            _ => return false,
        }
        place += 1;
    }
    !bytes.is_empty() && bytes.len() <= NAME_MAX_LEN
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    if is_name(name) { Ok(()) } else { Err(Error::invalid(NAME_RULE)) }
}

impl Incarnation {
    pub(crate) const LEN: usize = 16;

    pub(crate) const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// From its 32 lower-case hex digits, as `Debug` writes them.
    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        let number = u128::from_str_radix(hex, 16).ok()?;
        (format!("{number:032x}") == hex).then(|| Self(number.to_be_bytes()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// What every name can do that is made by `new` and lent by `as_str`.
macro_rules! name_as_text {
    ($($name:ty),*) => {$(
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::error::Error;

            /// As `new`.
            fn from_str(name: &str) -> $crate::error::Result<Self> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::error::Error;

            fn try_from(name: String) -> $crate::error::Result<Self> {
                Self::new(name)
            }
        }
    )*};
}

pub(crate) use name_as_text;

name_as_text!(TenantName, RegionName);

impl From<TenantName> for String {
    fn from(name: TenantName) -> Self {
        name.0
    }
}

impl From<RegionName> for String {
    fn from(name: RegionName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Debug for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_their_rule() {
        for good in ["contoso", "a", "0-a_b.c", &"x".repeat(63)] {
            assert_eq!(good.parse::<TenantName>().unwrap().to_string(), good);
        }
        for bad in ["", "-a", ".a", "Contoso", "con toso", "a\0", "é", "\u{430}", "a/b", &"x".repeat(64)] {
            assert!(TenantName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_regions_are_held_to_their_rule() {
        for good in ["eu", "eu-west-1", "7", &"x".repeat(32)] {
            assert_eq!(good.parse::<RegionName>().unwrap().to_string(), good);
        }
        for bad in ["", "EU", "eu_west", "eu.west", "eu west", "eu/..", "eu\n", "é", &"x".repeat(33)] {
            assert!(RegionName::new(bad).is_err(), "{bad:?}");
        }
    }
}
