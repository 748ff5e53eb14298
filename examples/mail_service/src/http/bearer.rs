//! Who asks: the bearer token of a request (RFC 6750), turned into the mailbox that the path names.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::App;
use super::problem::Problem;
use super::turns::Turn;
use crate::store::Mailbox;

/// The bearer of a verified token, at the mailbox that the path names.
pub struct Caller {
    /// The mailbox.
    pub mailbox: Mailbox,
    /// The name that the token gives its bearer, to show; who they are is [`Mailbox::subject`].
    pub name: String,
    /// Held until the request is answered.
    _turn: Turn,
}

impl Caller {
    /// The bearer of a token at the mailbox that it speaks for.
    pub async fn at_home(app: &App, headers: &HeaderMap) -> Result<Self, Problem> {
        let token = token(headers)?;
        let turn = app.turns.take(token).await?;
        let mailbox = app.store.home(token).await?;
        Ok(Self::new(mailbox, token, turn))
    }

    /// Of a token that the mailbox was opened with, which has verified it.
    fn new(mailbox: Mailbox, token: &str, turn: Turn) -> Self {
        tracing::Span::current().record("tenant", mailbox.tenant());
        let name = name(token).unwrap_or_else(|| mailbox.subject().to_owned());
        Self { mailbox, name, _turn: turn }
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let token = Zeroizing::new(token(&parts.headers)?.to_owned());
        let params = RawPathParams::from_request_parts(parts, app).await;
        let params = params.map_err(|_| Problem::bad_request("the path is not UTF-8"))?;
        let tenant = params.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value.to_owned());
        let turn = app.turns.take(&token).await?;
        let mailbox = app.store.mailbox(&token, tenant.as_deref().unwrap_or_default()).await?;
        Ok(Self::new(mailbox, &token, turn))
    }
}

fn token(headers: &HeaderMap) -> Result<&str, Problem> {
    let value = headers.get(header::AUTHORIZATION).ok_or_else(Problem::sign_in)?;
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(Problem::sign_in)?;
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(token.trim()),
        false => Err(Problem::sign_in()),
    }
}

/// The claim `name` (OpenID Connect Core, section 5.1): of what has been verified, and only to be shown.
fn name(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let name = claims["name"].as_str()?;
    let is_fine = (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    is_fine.then(|| name.to_owned())
}
