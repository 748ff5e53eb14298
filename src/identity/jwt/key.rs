//! One public key of an issuer: which signatures it verifies, when, and for whom it vouches.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::base64url;
use super::json::{Object, WrongType};
use crate::identity::Rejection;

/// A key as the issuer published it (a JWK, RFC 7517).
#[derive(Debug)]
pub(super) struct Key {
    /// `None` for a key of a type that is not known here; it verifies nothing.
    material: Option<DecodingKey>,
    /// What its type, its `alg`, its `use` and its `key_ops` leave it.
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    not_before_secs: Option<u64>,
    expires_at_secs: Option<u64>,
}

/// What makes a key unfit to be loaded at all, as a sentence about it.
pub(super) type Flaw = &'static str;

/// The allow-list: exact names, public-key signatures only.
pub(super) fn allowed_algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "PS256" => Some(Algorithm::PS256),
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

impl Key {
    /// Reads a key. One of a type, curve or use that is not known here is no flaw: issuers publish such keys beside
    /// those for signatures (RFC 7517, section 5). It verifies nothing.
    pub(super) fn read(jwk: &Object) -> Result<Self, Flaw> {
        let key_type = jwk.text("kty")?.ok_or("it has no kty")?;
        if key_type == "oct" || jwk.has_any(PRIVATE_MEMBERS) {
            return Err("it is a secret: only public keys belong here");
        }
        let curve = jwk.text("crv")?;
        let (material, mut algorithms) = match (key_type, curve) {
            ("RSA", _) => (Some(rsa(jwk)?), vec![Algorithm::RS256, Algorithm::PS256]),
            ("EC", Some("P-256")) => (Some(p256(jwk)?), vec![Algorithm::ES256]),
            ("OKP", Some("Ed25519")) => (Some(ed25519(jwk)?), vec![Algorithm::EdDSA]),
            _ => (None, vec![]),
        };
        let for_signatures = jwk.text("use")?.is_none_or(|purpose| purpose == "sig");
        let for_verifying = jwk.texts("key_ops")?.is_none_or(|operations| operations.contains(&"verify"));
        let stated = jwk.text("alg")?;
        algorithms.retain(|algorithm| {
            for_signatures && for_verifying && stated.is_none_or(|name| allowed_algorithm(name) == Some(*algorithm))
        });
        Ok(Self {
            material,
            algorithms,
            issuer: jwk.text("issuer")?.map(str::to_owned),
            not_before_secs: jwk.seconds("nbf")?,
            expires_at_secs: jwk.seconds("exp")?,
        })
    }

    /// Whether `signature` is this key's over `message`, and the key fit and in its validity. No leeway: a key that
    /// has ended has ended.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        message: &[u8],
        signature: &Vec<u8>,
        now_secs: u64,
    ) -> Result<(), Rejection> {
        let fits = self.algorithms.contains(&algorithm);
        let material = self.material.as_ref().filter(|_| fits).ok_or(Rejection::KeyUnfit)?;
        if self.expires_at_secs.is_some_and(|expires_at| now_secs >= expires_at) {
            return Err(Rejection::KeyExpired);
        }
        if self.not_before_secs.is_some_and(|not_before| now_secs < not_before) {
            return Err(Rejection::KeyNotYetValid);
        }
        // The provider by name. `jsonwebtoken`'s own entry points take a process-wide default, which panics at its
        // first use if a program enables both or neither of that crate's providers, and which anybody may replace.
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, material).map_err(|_| Rejection::KeyUnfit)?;
        verifier.verify(message, signature).map_err(|_| Rejection::SignatureInvalid)
    }

    /// Whether the key vouches for tokens of `issuer` about `tenant`. Entra ID publishes keys of many issuers in one
    /// set, and says with each whose it is, as an issuer or as a template with the tenant left open. That nobody
    /// compared the two let one stolen key sign for every tenant (Storm-0558).
    pub(super) fn vouches_for(&self, issuer: &str, tenant: &str) -> bool {
        self.issuer.as_ref().is_none_or(|own| own.replace("{tenantid}", tenant) == issuer)
    }

    /// Whether the key says itself whose it is.
    pub(super) fn names_issuer(&self) -> bool {
        self.issuer.is_some()
    }
}

impl From<WrongType> for Flaw {
    fn from(WrongType: WrongType) -> Self {
        "a member of it is of the wrong type"
    }
}

fn rsa(jwk: &Object) -> Result<DecodingKey, Flaw> {
    let (modulus, exponent) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let first = *modulus.first().ok_or("its modulus is empty")?;
    if first == 0 || exponent.first() == Some(&0) {
        return Err("its numbers have leading zeros");
    }
    let bits = modulus.len() * 8 - first.leading_zeros() as usize;
    if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) {
        return Err("its modulus has fewer than 2048 or more than 8192 bits");
    }
    if exponent.len() > size_of::<u32>() || exponent.iter().fold(0, |e, byte| e << 8 | u32::from(*byte)) < 65_537 {
        return Err("its exponent is below 65537 or above 2^32");
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// The point in the form of SEC 1, section 2.3.3, which is what `jsonwebtoken` means by DER here.
fn p256(jwk: &Object) -> Result<DecodingKey, Flaw> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != 32 || y.len() != 32 {
        return Err("its coordinates are not of 32 bytes");
    }
    Ok(DecodingKey::from_ec_der(&[&[0x04], x.as_slice(), y.as_slice()].concat()))
}

fn ed25519(jwk: &Object) -> Result<DecodingKey, Flaw> {
    let x = bytes(jwk, "x")?;
    if x.len() != 32 {
        return Err("its point is not of 32 bytes");
    }
    Ok(DecodingKey::from_ed_der(&x))
}

fn bytes(jwk: &Object, name: &str) -> Result<Vec<u8>, Flaw> {
    let text = jwk.text(name)?.ok_or("a member of it is missing")?;
    base64url::decode(text).ok_or("a member of it is not base64url")
}

/// The members that hold secrets in any type of key (RFC 7518, sections 6.2.2, 6.3.2 and 6.4; RFC 8037).
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/// Below: factored or soon to be. Above: only to keep the verifier busy.
const RSA_MIN_BITS: usize = 2048;
const RSA_MAX_BITS: usize = 8192;
