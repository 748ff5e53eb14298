//! Secrets that refuse: no `Clone`, no `Deref`, no `Display`; `Debug` redacts, `Drop` wipes, equality takes the
//! same time whatever the bytes.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::entropy::Entropy;
use crate::error::Result;

/// `N` secret bytes on the heap, so that moving the owner leaves no copy behind.
pub(crate) struct Secret<const N: usize>(Box<[u8; N]>);

/// A 256-bit key or wrap secret.
pub(crate) type Key32 = Secret<32>;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_byte_of_a_secret() {
        let secret = Key32::with(|bytes| bytes.fill(0xAB));
        assert_eq!(format!("{secret:?}"), "Secret<32>(redacted)");
    }
}
