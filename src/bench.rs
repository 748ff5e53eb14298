//! What the benches measure that no public door leads to: sealing and opening alone, without an engine.

use crate::engine::Opaque;
use crate::error::Result;
use crate::keys::Ring;
use crate::name::Incarnation;
use crate::seal::{self, Place};

/// The seal of one collection, under keys that are no secret.
#[derive(Debug)]
pub struct Seal {
    ring: Ring,
}

const PLACE: Place<'_> = Place { collection: 256, engine_key: &[7; 30] };

impl Seal {
    /// Always the same keys.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "not a value with a default: keys that are no secret")]
    pub fn new() -> Self {
        Self { ring: Ring::for_tests(Incarnation::new([1; 16]), [2; 32], &[(1, [3; 32])]) }
    }

    /// The envelope of a value, as it goes to the engine.
    ///
    /// # Errors
    /// None that a bench sees.
    pub fn seal(&self, nonce: &[u8; 24], value: &[u8]) -> Result<Vec<u8>> {
        Ok(seal::seal(&self.ring, PLACE, nonce, value)?.into_bytes())
    }

    /// The value in an envelope.
    ///
    /// # Errors
    /// `Tampered` unless [`seal`](Self::seal) made it.
    pub fn open(&self, envelope: &[u8]) -> Result<Vec<u8>> {
        Ok(seal::open(&self.ring, PLACE, envelope)?.into_value())
    }
}
