//! What one kind of issuer puts into its tokens.

use std::collections::BTreeSet;

use super::json::Value;
use super::token::SignedClaims;
use crate::identity::{Rejection, SubjectKind};

/// The rules for the tokens of one issuer, or of one family of issuers.
pub(super) trait Profile: Send + Sync + 'static {
    /// What is wrong with the rules themselves, as a sentence.
    fn flaw(&self) -> Option<&'static str>;

    /// One of the issuers that [`speaks_as`](Self::speaks_as) says yes to.
    fn sample_issuer(&self) -> String;

    /// Whether these rules are the ones for tokens of `issuer`. Two profiles of a verifier never both say yes.
    fn speaks_as(&self, issuer: &str) -> bool;

    /// Whether a token of `issuer` could be of `tenant`, if the service lets that tenant in.
    fn could_name(&self, issuer: &str, tenant: &str) -> bool {
        self.speaks_as(issuer) && is_name(tenant)
    }

    /// The service that the tokens must be for.
    fn audience(&self) -> &str;

    /// The tenants that the issuer may speak for; `None` if for any.
    fn tenants(&self) -> Option<&BTreeSet<String>>;

    /// Whether a key must itself say whose it is.
    fn keys_must_name_issuer(&self) -> bool;

    /// Whether a token of this `typ` may be an access token.
    fn allows_kind(&self, kind: Option<&str>) -> bool;

    /// The tenant and the subject of a token, once it is clear that it is an access token that `issuer` may issue.
    fn principal(&self, claims: &SignedClaims, issuer: &str) -> Result<Principal, Rejection>;

    /// The scopes of a token; `None` if it does not say.
    fn scopes(&self, claims: &SignedClaims) -> Result<Option<Vec<String>>, Rejection>;
}

/// Of whom a token speaks.
pub(super) struct Principal {
    pub(super) tenant: String,
    pub(super) subject: String,
    pub(super) kind: SubjectKind,
}

/// A kind of token that a profile knows, with or without the prefix that RFC 9068 lets issuers leave out.
pub(super) fn is_kind(kind: &str, known: &[&str]) -> bool {
    known.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// Access tokens that say so (RFC 9068, section 2.1).
pub(super) const ACCESS_TOKEN_KINDS: &[&str] = &["at+jwt", "application/at+jwt"];

/// A claim that names somebody: 1 to 256 bytes without control characters. `missing` if it is absent or empty (an
/// issuer that fills in a template leaves it empty for those without a tenant), `malformed` if it is anything else.
pub(super) fn name<'a>(
    claims: &'a SignedClaims,
    claim: &str,
    missing: Rejection,
    malformed: Rejection,
) -> Result<&'a str, Rejection> {
    let name = claims.text(claim).map_err(|_| malformed)?.unwrap_or_default();
    if name.is_empty() {
        return Err(missing);
    }
    if is_name(name) { Ok(name) } else { Err(malformed) }
}

fn is_name(text: &str) -> bool {
    (1..=CLAIM_NAME_MAX_LEN).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The scopes in `claim`: one text with spaces between them (RFC 8693, section 4.2), or a list.
pub(super) fn scopes(claims: &SignedClaims, claim: &str) -> Result<Option<Vec<String>>, Rejection> {
    if let Some(Value::Text(scopes)) = claims.get(claim) {
        return Ok(Some(scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect()));
    }
    Ok(claims.texts(claim)?.map(owned))
}

pub(super) fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

const CLAIM_NAME_MAX_LEN: usize = 256;
