//! Secrets that refuse: no `Clone`, no `Deref`, no `Display`; `Debug` redacts, `Drop` wipes, equality takes the
//! same time whatever the bytes.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::entropy::Entropy;
use crate::error::Result;

/// `N` secret bytes on the heap, so that moving the owner leaves no copy behind.
pub(crate) struct Secret<const N: usize>(Box<[u8; N]>);

/// Overwrites bytes with zeros, in a way that the compiler may not leave out. For buffers of any length: the crate
/// `zeroize` writes them byte by byte, which takes as long as decrypting them.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}

/// A record's value on its way to the seal. Wiped when dropped, and when it moves because it has grown.
#[derive(Default)]
pub(crate) struct Plaintext(Vec<u8>);

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
    /// A second copy, wiped like the first. A method of its own, so that copies are made where somebody meant to.
    pub(crate) fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    pub(crate) fn expose_secret(&self) -> &[u8; N] {
        &self.0
    }
}

impl Plaintext {
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let length = self.0.len() + bytes.len();
        if length > self.0.capacity() {
            let mut grown = Vec::with_capacity(length.next_power_of_two().max(64));
            grown.extend_from_slice(&self.0);
            wipe(&mut self.0);
            self.0 = grown;
        }
        self.0.extend_from_slice(bytes);
    }
}

impl std::ops::Deref for Plaintext {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        wipe(&mut self.0);
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
    fn a_plaintext_holds_what_it_was_given_however_it_grew() {
        let mut plaintext = Plaintext::default();
        let all: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        all.chunks(37).for_each(|part| plaintext.extend(part));
        assert_eq!(*plaintext, *all);
        assert_eq!(*Plaintext::copy_of(&all), *all);
    }

    #[test]
    #[cfg(target_os = "linux")]
    #[cfg_attr(miri, ignore = "Miri has no /proc/self/mem")]
    fn nothing_of_a_secret_is_left_where_it_was() {
        use crate::test_kit::left_behind;
        use std::hint::black_box;
        let secret = black_box(Secret::<64>::with(|bytes| bytes.fill(0xA7)));
        let place = secret.expose_secret().as_ptr();
        assert!(!left_behind(place, 64, || drop(secret)).contains(&0xA7), "a secret that was dropped");
        let plaintext = black_box(Plaintext::copy_of(&[0xA7; 64]));
        let place = plaintext.as_ptr();
        assert!(!left_behind(place, 64, || drop(plaintext)).contains(&0xA7), "a plaintext that was dropped");
        let mut plaintext = black_box(Plaintext::copy_of(&[0xA7; 64]));
        let place = plaintext.as_ptr();
        assert!(!left_behind(place, 64, || plaintext.extend(&[1; 64])).contains(&0xA7), "a plaintext that moved");
        // The control: what nobody wipes stays where it was.
        let bytes = black_box(vec![0xA7; 64]);
        let place = bytes.as_ptr();
        assert_eq!(left_behind(place, 64, || drop(bytes)), [0xA7; 48]);
    }

    #[test]
    fn debug_shows_no_byte_of_a_secret() {
        let secret = Key32::with(|bytes| bytes.fill(0xAB));
        assert_eq!(format!("{secret:?}"), "Secret<32>(redacted)");
    }
}
