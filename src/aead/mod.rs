//! The two ciphers that everything is sealed with, and nothing that knows what is sealed.
//!
//! The one owner of the AEAD crates.
#![expect(clippy::disallowed_types, reason = "the one owner of AES-GCM")]

mod siv;
#[cfg(test)]
mod tests;
mod xaes;

pub(crate) use siv::SivKey;
pub(crate) use xaes::{COMMITMENT_LEN, NONCE_LEN, OpenFailure, SEALED_OVERHEAD, TAG_LEN, XaesKey};
