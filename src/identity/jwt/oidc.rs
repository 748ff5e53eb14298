//! Access tokens of OpenID Connect issuers.

use std::collections::BTreeSet;

use super::profile::{self, ACCESS_TOKEN_KINDS, Principal, Profile};
use super::token::SignedClaims;
use crate::identity::{Rejection, SubjectKind};

/// Access tokens of one OpenID Connect issuer, as JWTs.
///
/// Issuers differ in how they write the type of a token; unless [`access_tokens_only`](Self::access_tokens_only) is
/// set, one without a type passes for an access token if it does not look like another kind.
///
/// A token whose `sub` is its `client_id` is that of a program that acts for itself (RFC 9068, section 2.2), which
/// [`Claims::subject_kind`](crate::identity::Claims::subject_kind) then says; of any other it says nothing.
#[derive(Clone, Debug)]
pub struct Oidc {
    issuer: String,
    audience: String,
    tenants: Option<BTreeSet<String>>,
    tenant_claim: String,
    subject_claim: String,
    access_tokens_only: bool,
}

impl Oidc {
    /// The tokens of `issuer` (its `iss`, compared byte by byte) that are for `audience`.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            tenants: None,
            tenant_claim: "tid".to_owned(),
            subject_claim: "sub".to_owned(),
            access_tokens_only: false,
        }
    }

    /// The tenants that this issuer may speak for. The default is any name: harmless, since a tenant of the store
    /// belongs to one issuer, and one thing less for an issuer to try if it is known.
    #[must_use]
    pub fn tenants<T: Into<String>>(mut self, tenants: impl IntoIterator<Item = T>) -> Self {
        self.tenants = Some(tenants.into_iter().map(Into::into).collect());
        self
    }

    /// The claim that names the tenant. The default is `tid`.
    #[must_use]
    pub fn tenant_claim(mut self, claim: impl Into<String>) -> Self {
        self.tenant_claim = claim.into();
        self
    }

    /// The claim that names the subject. The default is `sub`. Claims that can change hands, such as `email`, are
    /// refused (OpenID Connect Core, section 5.7).
    #[must_use]
    pub fn subject_claim(mut self, claim: impl Into<String>) -> Self {
        self.subject_claim = claim.into();
        self
    }

    /// Only tokens that say that they are access tokens: `typ` is `at+jwt` (RFC 9068, section 4). Set it if the
    /// issuer can.
    #[must_use]
    pub fn access_tokens_only(mut self) -> Self {
        self.access_tokens_only = true;
        self
    }
}

impl Profile for Oidc {
    fn flaw(&self) -> Option<&'static str> {
        let Self { issuer, audience, tenants, tenant_claim, subject_claim, access_tokens_only: _ } = self;
        if [issuer, audience, tenant_claim, subject_claim]
            .into_iter()
            .chain(tenants.iter().flatten())
            .any(String::is_empty)
        {
            return Some("an issuer, an audience, a tenant or the name of a claim is empty");
        }
        let changes_hands = CLAIMS_THAT_CHANGE_HANDS.contains(&subject_claim.as_str());
        changes_hands.then_some("the subject claim can change hands")
    }

    fn sample_issuer(&self) -> String {
        self.issuer.clone()
    }

    fn speaks_as(&self, issuer: &str) -> bool {
        self.issuer == issuer
    }

    fn audience(&self) -> &str {
        &self.audience
    }

    fn tenants(&self) -> Option<&BTreeSet<String>> {
        self.tenants.as_ref()
    }

    fn keys_must_name_issuer(&self) -> bool {
        false
    }

    fn allows_kind(&self, kind: Option<&str>) -> bool {
        match kind {
            Some(kind) if profile::is_kind(kind, ACCESS_TOKEN_KINDS) => true,
            Some(kind) => !self.access_tokens_only && profile::is_kind(kind, &["JWT"]),
            None => !self.access_tokens_only,
        }
    }

    fn principal(&self, claims: &SignedClaims, _issuer: &str) -> Result<Principal, Rejection> {
        let tenant = profile::name(claims, &self.tenant_claim, Rejection::TenantMissing, Rejection::TenantMalformed)?;
        let subject =
            profile::name(claims, &self.subject_claim, Rejection::SubjectMissing, Rejection::SubjectMalformed)?;
        Ok(Principal { tenant: tenant.to_owned(), subject: subject.to_owned(), kind: kind_of(claims)? })
    }

    /// `scp`, or else `scope` (RFC 9068, section 2.2.3).
    fn scopes(&self, claims: &SignedClaims) -> Result<Option<Vec<String>>, Rejection> {
        profile::scopes(claims, if claims.has("scp") { "scp" } else { "scope" })
    }
}

/// A program that acts for itself is the subject of its token (RFC 9068, section 2.2). Of all others this says nothing: many
/// issuers give programs subjects of their own.
fn kind_of(claims: &SignedClaims) -> Result<SubjectKind, Rejection> {
    let client = claims.text("client_id")?;
    let is_app = client.is_some() && client == claims.text("sub")?;
    Ok(if is_app { SubjectKind::App } else { SubjectKind::Unknown })
}

const CLAIMS_THAT_CHANGE_HANDS: &[&str] =
    &["email", "name", "nickname", "phone_number", "preferred_username", "unique_name", "upn"];
