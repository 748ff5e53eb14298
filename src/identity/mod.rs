//! Who speaks: a credential goes in, verified [`Claims`] come out.
//!
//! The store trusts a [`Verifier`] to say for which tenant a credential speaks, and nothing else. `JwtVerifier`
//! (feature `jwt`) verifies signed tokens of Entra ID and of OpenID Connect issuers; a service with other credentials
//! brings a verifier of its own.

use std::error::Error as StdError;
use std::fmt;

#[cfg(feature = "jwt")]
pub use jwt::{Entra, Jwks, JwtVerifier, JwtVerifierBuilder, KeySource, Oidc};
#[cfg(feature = "oidc")]
pub use jwt::{OidcKeys, OidcKeysBuilder};

use crate::kms::Connection;

#[cfg(feature = "jwt")]
mod jwt;

/// What a credential says, once it has been verified. Plain data, so that anyone can write a [`Verifier`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who vouches for all the rest, for instance the `iss` of a token.
    pub issuer: String,
    /// The tenant that the credential speaks for, in the issuer's own words. Only the pair of issuer and tenant
    /// names anybody: two issuers may use the same word for two customers.
    pub tenant: String,
    /// The person or program behind the credential: stable, never handed to somebody else later, never an e-mail
    /// address.
    pub subject: String,
    /// What the subject is, as far as the issuer says. It is for telling, and grants nothing by itself.
    pub subject_kind: SubjectKind,
    /// From this second since 1970 on the credential no longer counts. Includes whatever leeway the verifier
    /// grants, so that nobody after it needs to know how much that was.
    pub expires_at_secs: u64,
    /// What the subject may be to this service, for instance the `roles` of a token. Empty when it says nothing. Those that
    /// count: `strongroom.read` and `strongroom.write` for records, `strongroom.custodian` and `strongroom.approver` for custody;
    /// all others are nobody's business here. Without any a session opens, and its first operation is
    /// [`Denied`](crate::ErrorKind::Denied).
    pub roles: Vec<String>,
    /// What the program that the subject uses may do on their behalf, `strongroom.read` and `strongroom.write`; `None` when the
    /// credential does not say.
    pub scopes: Option<Vec<String>>,
}

/// What a credential's subject is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubjectKind {
    /// The credential does not say.
    #[default]
    Unknown,
    /// A person, who uses some program.
    Person,
    /// A program that acts for itself, with nobody behind it who signed in: an app-only credential, as a background job
    /// gets it.
    App,
}

/// Turns a credential into [`Claims`], or refuses. The one joint of this module.
pub trait Verifier: Send + Sync + 'static {
    /// Verifies `credential` as of `now_secs`: seconds since 1970 on the store's clock, so that a verifier needs no
    /// clock of its own.
    ///
    /// # Errors
    /// The [`Rejection`] says why. It is for the service's own log: whoever presents the credential only ever
    /// learns that they were [`Denied`](crate::ErrorKind::Denied).
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection>;

    /// Whether a credential could ever be accepted in which `issuer` vouches for `tenant`, the value of its tenant claim. A
    /// tenant for which nobody could speak is not made: who that is cannot be changed later. A verifier that does not know,
    /// because others let the tenants' users in, says yes, as this does unless it is written anew. What comes back from a backup
    /// is not asked about.
    fn could_accept(&self, issuer: &str, tenant: &str) -> bool {
        let _ = (issuer, tenant);
        true
    }

    /// Every place outside of this process that the verifier can connect to.
    fn connections(&self) -> Vec<Connection> {
        Vec::new()
    }
}

impl<T: Verifier + ?Sized> Verifier for std::sync::Arc<T> {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        (**self).verify(credential, now_secs)
    }

    fn could_accept(&self, issuer: &str, tenant: &str) -> bool {
        (**self).could_accept(issuer, tenant)
    }

    fn connections(&self) -> Vec<Connection> {
        (**self).connections()
    }
}

/// Why a credential was refused, without a word of the credential itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// Longer than any credential has reason to be; not looked at.
    TooLong,
    /// Not a credential of the form that this verifier reads, or a member of it is missing or of the wrong type.
    Malformed,
    /// A member occurs twice, so that two readers could read two different things.
    DuplicateMember,
    /// The signature algorithm is not one of those allowed.
    AlgorithmNotAllowed,
    /// The header asks for something that only an attacker needs: a key or the address of a key inside the token,
    /// compression, an unencoded payload, extensions.
    HeaderNotAllowed,
    /// The token is of another kind than an access token.
    TypeNotAllowed,
    /// No trusted issuer, or not the one that may issue for the tenant named.
    IssuerMismatch,
    /// The issuer has no key of that name (any more), or the credential names none.
    UnknownKey,
    /// The key exists and is not meant for signatures of this algorithm.
    KeyUnfit,
    /// The key is past its validity, whatever the credential's own.
    KeyExpired,
    /// The key's validity has not begun.
    KeyNotYetValid,
    /// The signature is not the key's over exactly these bytes.
    SignatureInvalid,
    /// The key is genuine and does not vouch for this issuer and tenant.
    KeyOutOfScope,
    /// Another version of the issuer's format.
    VersionNotAllowed,
    /// Issued for another service.
    AudienceMismatch,
    /// Past its validity.
    Expired,
    /// Its validity has not begun.
    NotYetValid,
    /// Names no tenant.
    TenantMissing,
    /// What names the tenant is not a name.
    TenantMalformed,
    /// The issuer may not speak for this tenant.
    TenantOutOfScope,
    /// Names no subject.
    SubjectMissing,
    /// What names the subject is not a name.
    SubjectMalformed,
    /// A person's credential where only those of programs are accepted, or the other way round.
    SubjectKindNotAllowed,
    /// Somebody acts here in the name of somebody else.
    ActorNotAllowed,
    /// Only its holder may use it, and says so with a proof that this verifier does not ask for.
    ProofRequired,
    /// What is needed to decide cannot be reached. The credential may be good: try again later.
    Unavailable,
    /// For a reason of the verifier's own.
    Other,
}

impl Rejection {
    /// The reason, in words that stay the same: the audit trail counts by them.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "the credential is too long",
            Self::Malformed => "the credential is malformed",
            Self::DuplicateMember => "a member occurs twice",
            Self::AlgorithmNotAllowed => "the signature algorithm is not allowed",
            Self::HeaderNotAllowed => "the header has a member that is not allowed",
            Self::TypeNotAllowed => "the token is of another kind than an access token",
            Self::IssuerMismatch => "the issuer is not trusted for this",
            Self::UnknownKey => "the issuer has no such key",
            Self::KeyUnfit => "the key is not for signatures of this algorithm",
            Self::KeyExpired => "the key has expired",
            Self::KeyNotYetValid => "the key is not valid yet",
            Self::SignatureInvalid => "the signature is invalid",
            Self::KeyOutOfScope => "the key does not vouch for this issuer and tenant",
            Self::VersionNotAllowed => "the token is of a version that is not allowed",
            Self::AudienceMismatch => "the credential was issued for another service",
            Self::Expired => "the credential has expired",
            Self::NotYetValid => "the credential is not valid yet",
            Self::TenantMissing => "the credential names no tenant",
            Self::TenantMalformed => "the tenant is malformed",
            Self::TenantOutOfScope => "the issuer may not speak for this tenant",
            Self::SubjectMissing => "the credential names no subject",
            Self::SubjectMalformed => "the subject is malformed",
            Self::SubjectKindNotAllowed => "credentials of this kind of subject are not accepted",
            Self::ActorNotAllowed => "the credential lets one act in the name of another",
            Self::ProofRequired => "the credential is bound to a key of its holder",
            Self::Unavailable => "what is needed to verify the credential cannot be reached",
            Self::Other => "the verifier refused the credential",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl StdError for Rejection {}
