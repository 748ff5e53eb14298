//! Signed tokens (JWT, RFC 7519, held to the practices of RFC 8725).

use std::fmt;
use std::time::Duration;

pub use entra::Entra;
pub use jwks::{Jwks, KeySource};
pub use oidc::Oidc;
#[cfg(feature = "oidc")]
pub use remote::{OidcKeys, OidcKeysBuilder};

use super::{Claims, Rejection, Verifier};
use crate::error::{Error, Result};
use crate::kms::Connection;
use json::Value;
use key::Key;
use profile::Profile;
use token::{SignedClaims, UnverifiedToken};

mod base64url;
mod entra;
mod json;
mod jwks;
mod key;
mod oidc;
mod profile;
#[cfg(feature = "oidc")]
mod remote;
mod token;

/// Verifies signed access tokens of the issuers that it was told to trust.
///
/// Trust is a chain, and a token is held to every link of it: a signing key vouches only for its own issuer, an
/// issuer only for its own tenants. Each issuer has key material of its own; there is no pool of keys in which one
/// issuer's key could be found for another's token.
///
/// Until the signature has been verified one claim is looked at: `iss`, to know whose keys to look in. What comes
/// of trusting it is that the token must then be signed with a key of that issuer.
///
/// Signatures are RS256, PS256, ES256 or EdDSA with Ed25519. They are verified by AWS-LC through `jsonwebtoken`,
/// without that crate's process-wide provider: installing another one, or enabling several, changes nothing here.
///
/// ```
/// # fn main() -> strongroom::Result<()> {
/// use strongroom::identity::{Entra, Jwks, JwtVerifier, Oidc};
///
/// # let keys_of_entra = Jwks::from_json(r#"{"keys":[]}"#)?;
/// let verifier = JwtVerifier::builder()
///     .entra(Entra::new("6e74172b-be56-4843-9ff4-e66a39bb12e3"), keys_of_entra)
///     .oidc(Oidc::new("https://id.contoso.example", "mail").tenants(["contoso"]), || Jwks::from_file("keys.json"))
///     .build()?;
/// # let _ = verifier;
/// # Ok(())
/// # }
/// ```
pub struct JwtVerifier {
    issuers: Vec<Issuer>,
    leeway_secs: u64,
}

/// What a [`JwtVerifier`] is made of.
#[must_use]
pub struct JwtVerifierBuilder {
    issuers: Vec<Issuer>,
    leeway: Duration,
}

/// An issuer, or a family of them, with the keys that vouch for it.
struct Issuer {
    profile: Box<dyn Profile>,
    keys: Box<dyn KeySource>,
}

impl JwtVerifier {
    /// A verifier that trusts nobody yet.
    pub fn builder() -> JwtVerifierBuilder {
        JwtVerifierBuilder { issuers: vec![], leeway: Duration::from_mins(1) }
    }
}

impl JwtVerifierBuilder {
    /// Trusts tokens of Entra ID.
    pub fn entra(self, profile: Entra, keys: impl KeySource) -> Self {
        self.issuer(Box::new(profile), Box::new(keys))
    }

    /// Trusts tokens of an OpenID Connect issuer.
    pub fn oidc(self, profile: Oidc, keys: impl KeySource) -> Self {
        self.issuer(Box::new(profile), Box::new(keys))
    }

    /// How far the clocks of the issuers and of the store may be apart: whole seconds, at most five minutes. The
    /// default is one minute.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The verifier.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if no issuer is trusted, one is trusted twice or with keys of another, a
    /// profile contradicts its own rules, or the leeway is too long.
    pub fn build(self) -> Result<JwtVerifier> {
        let Self { issuers, leeway } = self;
        if issuers.is_empty() {
            return Err(Error::invalid("a verifier of tokens trusts at least one issuer"));
        }
        if leeway > LEEWAY_MAX {
            return Err(Error::invalid("the leeway of a verifier of tokens is at most five minutes"));
        }
        for (index, Issuer { profile, keys }) in issuers.iter().enumerate() {
            if let Some(flaw) = profile.flaw() {
                return Err(Error::invalid(format!("issuer {index} of a verifier of tokens: {flaw}")));
            }
            if issuers[..index].iter().any(|other| overlap(&*other.profile, &**profile)) {
                return Err(Error::invalid("an issuer is trusted twice"));
            }
            // Where each key must say itself whose it is, that is asked of every token.
            let is_of_another = |of: &str| !profile.keys_must_name_issuer() && !profile.speaks_as(of);
            if keys.issuer().is_some_and(is_of_another) {
                return Err(Error::invalid("the keys of an issuer are given as those of another"));
            }
        }
        Ok(JwtVerifier { issuers, leeway_secs: leeway.as_secs() })
    }

    fn issuer(mut self, profile: Box<dyn Profile>, keys: Box<dyn KeySource>) -> Self {
        self.issuers.push(Issuer { profile, keys });
        self
    }
}

impl Verifier for JwtVerifier {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let token = UnverifiedToken::parse(credential)?;
        let issuer = token.issuer()?.to_owned();
        let Issuer { profile, keys } =
            self.issuers.iter().find(|known| known.profile.speaks_as(&issuer)).ok_or(Rejection::IssuerMismatch)?;
        if !profile.allows_kind(token.kind()?) {
            return Err(Rejection::TypeNotAllowed);
        }
        let keys = keys.keys(token.key_id()?, now_secs).map_err(|_| Rejection::Unavailable)?;
        let key = keys.get(token.key_id()?).ok_or(Rejection::UnknownKey)?;
        let claims = token.verified_by(key, now_secs)?;

        check_kind(&claims)?;
        let principal = profile.principal(&claims, &issuer)?;
        check_scope(&**profile, key, &issuer, &principal.tenant)?;
        check_audience(&claims, profile.audience())?;
        let expires_at_secs = self.check_times(&claims, now_secs)?;
        Ok(Claims {
            issuer,
            tenant: principal.tenant,
            subject: principal.subject,
            subject_kind: principal.kind,
            expires_at_secs,
            roles: claims.texts("roles")?.map(profile::owned).unwrap_or_default(),
            scopes: profile.scopes(&claims)?,
        })
    }

    fn could_accept(&self, issuer: &str, tenant: &str) -> bool {
        let mut profiles = self.issuers.iter().map(|known| &*known.profile);
        profiles.any(|profile| profile.could_name(issuer, tenant) && lets_in(profile, tenant))
    }

    fn connections(&self) -> Vec<Connection> {
        self.issuers.iter().flat_map(|issuer| issuer.keys.connections()).collect()
    }
}

impl JwtVerifier {
    /// Until when the token counts, if it counts now (RFC 7519, sections 4.1.4 to 4.1.6).
    fn check_times(&self, claims: &SignedClaims, now_secs: u64) -> Result<u64, Rejection> {
        let expires_at_secs = claims.seconds("exp")?.ok_or(Rejection::Malformed)? + self.leeway_secs;
        let not_before_secs = claims.seconds("nbf")?.unwrap_or(0);
        // Only its form counts: `nbf` says when a token begins, `iat` when somebody wrote it.
        claims.seconds("iat")?;
        if now_secs >= expires_at_secs {
            return Err(Rejection::Expired);
        }
        if not_before_secs > now_secs.saturating_add(self.leeway_secs) {
            return Err(Rejection::NotYetValid);
        }
        Ok(expires_at_secs)
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self.issuers.iter().map(|issuer| issuer.profile.sample_issuer()).collect();
        let Self { issuers: _, leeway_secs } = self;
        f.debug_struct("JwtVerifier").field("issuers", &issuers).field("leeway_secs", leeway_secs).finish()
    }
}

impl fmt::Debug for JwtVerifierBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers: Vec<_> = self.issuers.iter().map(|issuer| issuer.profile.sample_issuer()).collect();
        f.debug_struct("JwtVerifierBuilder").field("issuers", &issuers).field("leeway", &self.leeway).finish()
    }
}

fn overlap(one: &dyn Profile, other: &dyn Profile) -> bool {
    one.speaks_as(&other.sample_issuer()) || other.speaks_as(&one.sample_issuer())
}

/// Whatever `typ` says, some claims belong to other kinds of token only.
fn check_kind(claims: &SignedClaims) -> Result<(), Rejection> {
    if claims.has_any(ACTOR_CLAIMS) {
        return Err(Rejection::ActorNotAllowed);
    }
    if claims.has_any(CLAIMS_OF_OTHER_KINDS) {
        return Err(Rejection::TypeNotAllowed);
    }
    if claims.has("cnf") {
        return Err(Rejection::ProofRequired);
    }
    Ok(())
}

/// The links from the key to the issuer and from the issuer to the tenant.
fn check_scope(profile: &dyn Profile, key: &Key, issuer: &str, tenant: &str) -> Result<(), Rejection> {
    if !key.vouches_for(issuer, tenant) || profile.keys_must_name_issuer() && !key.names_issuer() {
        return Err(Rejection::KeyOutOfScope);
    }
    if lets_in(profile, tenant) { Ok(()) } else { Err(Rejection::TenantOutOfScope) }
}

fn lets_in(profile: &dyn Profile, tenant: &str) -> bool {
    profile.tenants().is_none_or(|tenants| tenants.contains(tenant))
}

/// One text or a list of texts, one of which is `audience` to the byte (RFC 7519, section 4.1.3).
fn check_audience(claims: &SignedClaims, audience: &str) -> Result<(), Rejection> {
    let named = match claims.get("aud") {
        Some(Value::Text(named)) => vec![named.as_str()],
        _ => claims.texts("aud")?.ok_or(Rejection::Malformed)?,
    };
    if named.contains(&audience) { Ok(()) } else { Err(Rejection::AudienceMismatch) }
}

const LEEWAY_MAX: Duration = Duration::from_mins(5);

/// Claims with which one party acts in the name of another (RFC 8693, section 4.1, and Microsoft's own). A session
/// has one actor, so a token with two is not understood.
const ACTOR_CLAIMS: &[&str] = &["act", "actort", "actortoken"];

/// Hashes that tie an ID token to what was issued with it (OpenID Connect Core, section 3.3.2.11), and the events of
/// a security event token such as a logout token (RFC 8417, section 4.1).
const CLAIMS_OF_OTHER_KINDS: &[&str] = &["at_hash", "c_hash", "s_hash", "events"];

#[cfg(test)]
mod tests;
