//! Access tokens of Entra ID, version 2.0.

use std::collections::BTreeSet;

use super::profile::{self, ACCESS_TOKEN_KINDS, Principal, Profile};
use super::token::SignedClaims;
use crate::identity::Rejection;

/// Access tokens of Entra ID (version 2.0, worldwide cloud), of every tenant or of some.
///
/// The tenant is `tid`, and the issuer must be that tenant's own. The subject is `tid` and `oid` joined by a dot:
/// the `sub` of these tokens differs between applications, and e-mail addresses and user names change hands.
/// `aud` is the application id of the service.
///
/// Give it the keys of `https://login.microsoftonline.com/common/discovery/v2.0/keys`. Each of them says whose it
/// is, and vouches for no one else; one that does not say vouches for nobody.
#[derive(Clone, Debug)]
pub struct Entra {
    audience: String,
    tenants: Option<BTreeSet<String>>,
}

impl Entra {
    /// The tokens that are for `audience`.
    #[must_use]
    pub fn new(audience: impl Into<String>) -> Self {
        Self { audience: audience.into(), tenants: None }
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
        let all_guids = self.tenants.iter().flatten().all(|tenant| is_guid(tenant));
        (!all_guids).then_some("a tenant of Entra ID is a GUID in lower case")
    }

    fn sample_issuer(&self) -> String {
        issuer_of("00000000-0000-0000-0000-000000000000")
    }

    fn speaks_as(&self, issuer: &str) -> bool {
        let tenant = issuer.strip_prefix(ISSUER_PREFIX).and_then(|rest| rest.strip_suffix(ISSUER_SUFFIX));
        tenant.is_some_and(is_guid)
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
        if issuer != issuer_of(tenant) {
            return Err(Rejection::IssuerMismatch);
        }
        let object = guid(claims, "oid", Rejection::SubjectMissing, Rejection::SubjectMalformed)?;
        Ok(Principal { tenant: tenant.to_owned(), subject: format!("{tenant}.{object}") })
    }

    fn scopes(&self, claims: &SignedClaims) -> Result<Option<Vec<String>>, Rejection> {
        profile::scopes(claims, "scp")
    }
}

/// The one issuer that may speak for a tenant.
fn issuer_of(tenant: &str) -> String {
    format!("{ISSUER_PREFIX}{tenant}{ISSUER_SUFFIX}")
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

const ISSUER_PREFIX: &str = "https://login.microsoftonline.com/";
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
