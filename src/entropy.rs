//! Randomness comes in through a trait: the operating system's in life, a recorded stream in the tests of formats.
#![expect(clippy::disallowed_types, reason = "the one owner of the operating system's generator")]

use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::{Error, Result};

/// Fills buffers with bytes that nobody can predict.
pub(crate) trait Entropy: Send + Sync + 'static {
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// The operating system's generator, asked anew at every call: no state in this process to clone, fork or leak.
#[derive(Debug)]
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        SysRng
            .try_fill_bytes(buffer)
            .map_err(|source| Error::internal("the operating system gave no random bytes").with_source(source))
    }
}

impl dyn Entropy {
    /// `N` fresh bytes that are not secret: nonces, incarnations.
    pub(crate) fn bytes<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}
