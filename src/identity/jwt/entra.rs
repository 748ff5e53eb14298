//! Access tokens of Entra ID, version 2.0.

use std::collections::BTreeSet;

use super::profile::{self, ACCESS_TOKEN_KINDS, Principal, Profile};
use super::token::SignedClaims;
use crate::identity::{Rejection, SubjectKind};

/// Access tokens of Entra ID (version 2.0), of every tenant or of some.
///
/// The tenant is `tid`, and the issuer must be that tenant's own. The subject is `tid` and `oid` joined by a dot:
/// the `sub` of these tokens differs between applications, and e-mail addresses and user names change hands.
/// `aud` is the application id of the service.
///
/// Give it the keys of `https://login.microsoftonline.com/common/discovery/v2.0/keys` (`OidcKeys::entra` fetches them).
/// Each of them says whose it is, and vouches for no one else; one that does not say vouches for nobody.
///
/// A token with `scp` is of a person who uses a program; what they may do is what their roles and these scopes both allow.
/// One without is of a program that acts for itself, with nobody signed in, and then its `idtyp` is `app`, or, where the
/// service has not asked Entra ID for that claim, its `sub` is its `oid`. Such an app-only token has the roles that an
/// administrator of the tenant has granted to the program, which is a subject like any other: `oid` is its object in that
/// tenant. Anything in between, such as an ID token, is refused. Both kinds are accepted unless
/// [`people_only`](Self::people_only) or [`apps_only`](Self::apps_only) is set.
#[derive(Clone, Debug)]
pub struct Entra {
    audience: String,
    authority: String,
    tenants: Option<BTreeSet<String>>,
    only: Option<SubjectKind>,
}

impl Entra {
    /// The tokens that are for `audience`.
    #[must_use]
    pub fn new(audience: impl Into<String>) -> Self {
        Self { audience: audience.into(), authority: WORLDWIDE.to_owned(), tenants: None, only: None }
    }

    /// The cloud that issues the tokens, `https://host[:port]`. The default is the worldwide one,
    /// `https://login.microsoftonline.com`; national clouds have others, such as `https://login.microsoftonline.us`. Its keys
    /// are those of `OidcKeys::entra_at` the same authority.
    #[must_use]
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = authority.into();
        self
    }

    /// Refuses app-only tokens: for a service that has no background jobs of customers.
    #[must_use]
    pub fn people_only(mut self) -> Self {
        self.only = Some(SubjectKind::Person);
        self
    }

    /// Refuses everything but app-only tokens: for a service that only programs call.
    #[must_use]
    pub fn apps_only(mut self) -> Self {
        self.only = Some(SubjectKind::App);
        self
    }

    /// Only tokens of these tenants (`tid`, in lower case). The default is every tenant of Entra ID: which of them
    /// are customers, the store knows.
    #[must_use]
    pub fn tenants<T: Into<String>>(mut self, tenants: impl IntoIterator<Item = T>) -> Self {
        self.tenants = Some(tenants.into_iter().map(Into::into).collect());
        self
    }
}

impl Profile for Entra {
    fn flaw(&self) -> Option<&'static str> {
        if self.audience.is_empty() {
            return Some("the audience is empty");
        }
        if !is_authority(&self.authority) {
            return Some("an authority of Entra ID is https://host or https://host:port, in lower case");
        }
        let all_guids = self.tenants.iter().flatten().all(|tenant| is_guid(tenant));
        (!all_guids).then_some("a tenant of Entra ID is a GUID in lower case")
    }

    fn sample_issuer(&self) -> String {
        self.issuer_of("00000000-0000-0000-0000-000000000000")
    }

    fn speaks_as(&self, issuer: &str) -> bool {
        let path = issuer.strip_prefix(&self.authority).and_then(|path| path.strip_prefix('/'));
        path.and_then(|path| path.strip_suffix(ISSUER_SUFFIX)).is_some_and(is_guid)
    }

    fn could_name(&self, issuer: &str, tenant: &str) -> bool {
        is_guid(tenant) && issuer == self.issuer_of(tenant)
    }

    fn audience(&self) -> &str {
        &self.audience
    }

    fn tenants(&self) -> Option<&BTreeSet<String>> {
        self.tenants.as_ref()
    }

    fn keys_must_name_issuer(&self) -> bool {
        true
    }

    fn allows_kind(&self, kind: Option<&str>) -> bool {
        kind.is_some_and(|kind| profile::is_kind(kind, &["JWT"]) || profile::is_kind(kind, ACCESS_TOKEN_KINDS))
    }

    fn principal(&self, claims: &SignedClaims, issuer: &str) -> Result<Principal, Rejection> {
        if claims.text("ver")? != Some("2.0") {
            return Err(Rejection::VersionNotAllowed);
        }
        if claims.has_any(ACTOR_CLAIMS) {
            return Err(Rejection::ActorNotAllowed);
        }
        if claims.has("nonce") {
            return Err(Rejection::TypeNotAllowed);
        }
        let tenant = guid(claims, "tid", Rejection::TenantMissing, Rejection::TenantMalformed)?;
        if issuer != self.issuer_of(tenant) {
            return Err(Rejection::IssuerMismatch);
        }
        let object = guid(claims, "oid", Rejection::SubjectMissing, Rejection::SubjectMalformed)?;
        let kind = kind_of(claims, object)?;
        if self.only.is_some_and(|only| only != kind) {
            return Err(Rejection::SubjectKindNotAllowed);
        }
        Ok(Principal { tenant: tenant.to_owned(), subject: format!("{tenant}.{object}"), kind })
    }

    fn scopes(&self, claims: &SignedClaims) -> Result<Option<Vec<String>>, Rejection> {
        profile::scopes(claims, "scp")
    }
}

impl Entra {
    /// The one issuer that may speak for a tenant.
    fn issuer_of(&self, tenant: &str) -> String {
        format!("{}/{tenant}{ISSUER_SUFFIX}", self.authority)
    }
}

/// A person by way of a program, or a program alone. What is neither is not an access token: an ID token has no scopes, and
/// its `sub` is not the `oid`.
fn kind_of(claims: &SignedClaims, object: &str) -> Result<SubjectKind, Rejection> {
    let kind = claims.text("idtyp")?;
    match claims.has("scp") {
        true if matches!(kind, None | Some("user")) => Ok(SubjectKind::Person),
        false if kind == Some("app") => Ok(SubjectKind::App),
        false if kind.is_none() && claims.text("sub")? == Some(object) => Ok(SubjectKind::App),
        _ => Err(Rejection::TypeNotAllowed),
    }
}

fn is_authority(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b':' | b'[' | b']');
    text.strip_prefix("https://").is_some_and(|host| !host.is_empty() && host.bytes().all(is_plain))
}

fn guid<'a>(
    claims: &'a SignedClaims,
    claim: &str,
    missing: Rejection,
    malformed: Rejection,
) -> Result<&'a str, Rejection> {
    Some(profile::name(claims, claim, missing, malformed)?).filter(|name| is_guid(name)).ok_or(malformed)
}

/// Whether `text` is a GUID as Entra ID writes it: 8-4-4-4-12 digits, lower case. Upper case is refused rather than
/// converted, so that a tenant has one spelling wherever it is compared.
fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

/// Entra ID of all but national clouds.
pub(super) const WORLDWIDE: &str = "https://login.microsoftonline.com";
const ISSUER_SUFFIX: &str = "/v2.0";

/// What actor tokens carry: tokens between Microsoft's own services, whose bearer could name any user of any tenant
/// (CVE-2025-55241). No version 2.0 access token has these; what version 1.0 calls `appidacr` is `azpacr` there.
const ACTOR_CLAIMS: &[&str] = &["trustedfordelegation", "identityprovider", "nameid", "nii", "appidacr"];

#[cfg(test)]
mod tests {
    use super::is_guid;

    #[test]
    fn a_guid_has_one_spelling() {
        assert!(is_guid("9188040d-6c67-4c5b-b112-36a304b66dad"));
        for other in [
            "",
            "9188040D-6C67-4C5B-B112-36A304B66DAD",
            "9188040d6c674c5bb11236a304b66dad",
            "{9188040d-6c67-4c5b-b112-36a304b66dad}",
            "9188040d-6c67-4c5b-b112-36a304b66da",
            "9188040d-6c67-4c5b-b112-36a304b66dadd",
            "9188040d-6c67-4c5b-b11-236a304b66dad",
            "9188040g-6c67-4c5b-b112-36a304b66dad",
            "9188040d-6c67-4c5b-b112-36a304b66dad-",
            " 9188040d-6c67-4c5b-b112-36a304b66da",
        ] {
            assert!(!is_guid(other), "{other}");
        }
    }
}
