//! Secrets that refuse: no `Clone`, no `Deref`, no `Display`; `Debug` redacts, `Drop` wipes, equality takes the
//! same time whatever the bytes.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::entropy::Entropy;
use crate::error::Result;

/// `N` secret bytes on the heap, so that moving the owner leaves no copy behind.
pub(crate) struct Secret<const N: usize>(Box<[u8; N]>);

/// A 256-bit key or wrap secret.
pub(crate) type Key32 = Secret<32>;

/// Plaintext on its way: wiped when dropped, redacted when printed.
#[derive(Zeroize, ZeroizeOnDrop, Default)]
pub(crate) struct Plaintext(Vec<u8>);

impl<const N: usize> Secret<N> {
    /// A secret that `fill` writes in place.
    pub(crate) fn with(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0);
        secret
    }

    pub(crate) fn try_with<E>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self(Box::new([0; N]));
        fill(&mut secret.0)?;
        Ok(secret)
    }

    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self> {
        Self::try_with(|bytes| entropy.fill(bytes))
    }

    /// Copies out of a buffer whose owner wipes it; `None` if the length is another.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == N).then(|| Self::with(|secret| secret.copy_from_slice(bytes)))
    }

    /// The bytes themselves. The name is long so that every place that looks is found by `grep`.
    pub(crate) fn expose_secret(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> ConstantTimeEq for Secret<N> {
    fn ct_eq(&self, other: &Self) -> subtle::Choice {
        self.0.as_slice().ct_eq(other.0.as_slice())
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(redacted)")
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        let Self(bytes) = self;
        bytes.zeroize();
    }
}

impl Plaintext {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes without their first `count`: what follows a header that has been read.
    pub(crate) fn into_vec_without_prefix(mut self, count: usize) -> Vec<u8> {
        let length = self.0.len() - count;
        self.0.copy_within(count.., 0);
        self.0[length..].zeroize();
        self.0.truncate(length);
        std::mem::take(&mut self.0)
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plaintext({} bytes, redacted)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte_of_a_secret() {
        let secret = Key32::with(|bytes| bytes.fill(0xAB));
        assert_eq!(format!("{secret:?}"), "Secret<32>(redacted)");
        assert_eq!(format!("{:?}", Plaintext::new(b"attack at dawn".to_vec())), "Plaintext(14 bytes, redacted)");
    }

    #[test]
    fn a_prefix_taken_off_leaves_the_rest() {
        assert_eq!(Plaintext::new(b"headbody".to_vec()).into_vec_without_prefix(4), b"body");
    }
}
