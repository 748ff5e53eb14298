//! The public keys of an issuer (a JWK set, RFC 7517), and where they come from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::json::{Object, Value};
use super::key::{Flaw, Key};
use crate::error::{Error, Result};
use crate::kms::Connection;

/// The public keys of an issuer. Cheap to clone.
///
/// Reading is strict, because a set that is not what it seems is a set that somebody tampered with: a key without
/// `kid`, two keys of one `kid`, a secret or private key, an RSA modulus below 2048 bits, a member twice or of the
/// wrong type fail the whole set. Keys of types and uses that are not known here are no error and verify nothing.
#[derive(Clone, Debug)]
pub struct Jwks {
    keys: Arc<BTreeMap<String, Key>>,
}

/// Where the keys of an issuer come from: a [`Jwks`] that stays as it is, a closure, or a source that fetches (`OidcKeys`,
/// with feature `oidc`).
///
/// Asked for every token that names the issuer, so that a key that is taken out verifies nothing from then on. A
/// source that fetches answers from its cache.
pub trait KeySource: Send + Sync + 'static {
    /// The keys as of `now_secs`, seconds since 1970.
    ///
    /// `kid` is the key that a token asks for. A source may look once more when it has no such key, and not often:
    /// the token has not been verified, so whoever sends many with invented names would have it look many times.
    ///
    /// # Errors
    /// Any error refuses the token as [`Unavailable`](crate::identity::Rejection::Unavailable).
    fn keys(&self, kid: &str, now_secs: u64) -> Result<Jwks>;

    /// Whose keys these are, if the source knows: then no verifier can be built that takes them for another issuer's.
    fn issuer(&self) -> Option<&str> {
        None
    }

    /// Every place outside of this process that the source can connect to.
    fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }
}

impl Jwks {
    /// Reads a set from the text of its JSON, of at most 1 MiB.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for what [`Jwks`] lists.
    pub fn from_json(text: &str) -> Result<Self> {
        if text.len() > JWKS_MAX_LEN {
            return Err(Error::invalid("a JWK set has at most 1 MiB"));
        }
        let set = Object::parse(text.as_bytes())
            .map_err(|_| Error::invalid("a JWK set is one JSON object in which no member occurs twice"))?;
        let Some(Value::List(entries)) = set.get("keys") else {
            return Err(Error::invalid("a JWK set has a list of keys"));
        };
        let mut keys = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            add(&mut keys, entry).map_err(|flaw| Error::invalid(format!("key {index} of the JWK set: {flaw}")))?;
        }
        Ok(Self { keys: Arc::new(keys) })
    }

    /// Reads a set from a file, once. To follow changes of the file, give the verifier a closure that calls this.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the file cannot be read, [`Invalid`](crate::ErrorKind::Invalid)
    /// as for [`Jwks::from_json`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let failed = |error| Error::io("the file of a JWK set cannot be read", error);
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(JWKS_MAX_LEN as u64 + 1).read_to_string(&mut text).map_err(failed)?;
        Self::from_json(&text)
    }

    /// Whether there is a key of this name.
    #[must_use]
    pub fn contains(&self, kid: &str) -> bool {
        self.keys.contains_key(kid)
    }

    #[cfg(feature = "oidc")]
    pub(super) fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    pub(super) fn get(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
    }
}

impl KeySource for Jwks {
    fn keys(&self, _kid: &str, _now_secs: u64) -> Result<Jwks> {
        Ok(self.clone())
    }
}

impl<F: Fn() -> Result<Jwks> + Send + Sync + 'static> KeySource for F {
    fn keys(&self, _kid: &str, _now_secs: u64) -> Result<Jwks> {
        self()
    }
}

fn add(keys: &mut BTreeMap<String, Key>, entry: &Value) -> Result<(), Flaw> {
    let Value::Object(jwk) = entry else {
        return Err("it is not an object");
    };
    let kid = jwk.text("kid")?.filter(|kid| !kid.is_empty()).ok_or("it has no kid")?;
    match keys.insert(kid.to_owned(), Key::read(jwk)?) {
        None => Ok(()),
        Some(_) => Err("another key has the same kid"),
    }
}

const JWKS_MAX_LEN: usize = 1 << 20;
