//! A signed token in its compact form (RFC 7515, section 7.1), taken apart strictly.

use std::ops::Deref;

use jsonwebtoken::Algorithm;

use super::base64url;
use super::json::Object;
use super::key::{Key, allowed_algorithm};
use crate::identity::Rejection;

/// A token that nobody has vouched for. It gives away who it says issued it and which key it says signed it, since
/// without these no key can be found, and no other claim.
pub(super) struct UnverifiedToken<'a> {
    header: Object,
    algorithm: Algorithm,
    claims: Object,
    signed: &'a str,
    signature: Vec<u8>,
}

/// The claims of a token whose signature has been verified: what [`UnverifiedToken::verified_by`] returns, and
/// nobody else can make.
pub(super) struct SignedClaims(Object);

impl<'a> UnverifiedToken<'a> {
    /// Takes `credential` apart and holds the header to its rules.
    pub(super) fn parse(credential: &'a str) -> Result<Self, Rejection> {
        if credential.len() > TOKEN_MAX_LEN {
            return Err(Rejection::TooLong);
        }
        let mut parts = credential.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Rejection::Malformed);
        };
        let signed = &credential[..header.len() + 1 + payload.len()];
        let header = Object::parse(&decode(header)?)?;
        if header.has_any(FORBIDDEN_IN_HEADER) {
            return Err(Rejection::HeaderNotAllowed);
        }
        let algorithm = header.text("alg")?.and_then(allowed_algorithm).ok_or(Rejection::AlgorithmNotAllowed)?;
        let claims = Object::parse(&decode(payload)?)?;
        Ok(Self { header, algorithm, claims, signed, signature: decode(signature)? })
    }

    /// Who the token says issued it. Unverified: good for finding the keys that it must then be verified with.
    pub(super) fn issuer(&self) -> Result<&str, Rejection> {
        self.claims.text("iss")?.ok_or(Rejection::Malformed)
    }

    /// The name of the key that the token says signed it.
    pub(super) fn key_id(&self) -> Result<&str, Rejection> {
        self.header.text("kid")?.ok_or(Rejection::UnknownKey)
    }

    /// The kind of token that it says it is (RFC 8725, section 3.11).
    pub(super) fn kind(&self) -> Result<Option<&str>, Rejection> {
        Ok(self.header.text("typ")?)
    }

    /// The claims, if `key` signed them: over the very bytes that were presented, not over what was read in them.
    pub(super) fn verified_by(self, key: &Key, now_secs: u64) -> Result<SignedClaims, Rejection> {
        key.verify(self.algorithm, self.signed.as_bytes(), &self.signature, now_secs)?;
        Ok(SignedClaims(self.claims))
    }
}

impl Deref for SignedClaims {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.0
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    base64url::decode(part).ok_or(Rejection::Malformed)
}

const TOKEN_MAX_LEN: usize = 16 * 1024;

/// `crit` and `b64` change how the rest is read, `zip` unpacks to any size, and the others bring a key along or
/// have the verifier fetch one. `x5t`, a mere name that Entra ID sends beside `kid`, is let pass unread.
const FORBIDDEN_IN_HEADER: &[&str] = &["crit", "b64", "zip", "jku", "jwk", "x5u", "x5c"];
