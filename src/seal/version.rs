//! Which write set a record's value, in memory and as text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::aead::NONCE_LEN;
use crate::error::{Error, Result};

/// Which write set a record's value. Equal versions mean the same write; there is no order among them.
///
/// It is the nonce of that write: it never repeats, survives resealing, and says nothing of other records.
///
/// As text it is 48 lower-case hexadecimal digits, for instance in an entity tag (RFC 9110, section 8.8.3):
/// ```
/// use strongroom::Version;
///
/// # fn main() -> strongroom::Result<()> {
/// let if_match = "\"00112233445566778899aabbccddeeff0011223344556677\"";
/// let version: Version = if_match.trim_matches('"').parse()?;
/// assert_eq!(format!("\"{version}\""), if_match);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(pub(super) [u8; NONCE_LEN]);

impl Version {
    pub(crate) fn of_write(nonce: &[u8; NONCE_LEN]) -> Self {
        Self(*nonce)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Version(")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("..)")
    }
}

impl FromStr for Version {
    type Err = Error;

    /// Reads what `Display` writes, and nothing else.
    fn from_str(text: &str) -> Result<Self> {
        let malformed = || Error::invalid("a version has 48 lower-case hexadecimal digits");
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 2 * NONCE_LEN || !text.bytes().all(digit) {
            return Err(malformed());
        }
        let mut bytes = [0; NONCE_LEN];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| malformed())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Version {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_version_comes_back_from_its_text(bytes: [u8; NONCE_LEN]) {
            let version = Version(bytes);
            prop_assert_eq!(version.to_string().parse::<Version>().unwrap(), version);
            let json = serde_json::to_string(&version).unwrap();
            prop_assert_eq!(serde_json::from_str::<Version>(&json).unwrap(), version);
        }
    }

    #[test]
    fn nothing_else_is_one() {
        let good = "00112233445566778899aabbccddeeff0011223344556677";
        assert!(good.parse::<Version>().is_ok(), "the control");
        for bad in
            ["", &good[1..], &format!("{good}0"), &good.to_uppercase(), &good.replace("00", "+0"), &"é".repeat(24)]
        {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }
}
