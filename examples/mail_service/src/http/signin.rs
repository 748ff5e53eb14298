//! Signing in with a password, at the identity provider: a stand-in for its own page.
//!
//! With most providers a browser is sent to the provider's page, where the password is typed, and comes back with a code
//! that buys an access token (OAuth 2.0, RFC 6749, section 4.1, with PKCE, RFC 7636). OpenBao, which plays the provider
//! here, has such a page and such codes; but the access tokens that they buy are opaque, so that no service can verify
//! them by itself, and an ID token is no access token: strongroom refuses one. Signed access tokens it issues to those who
//! have signed in with a password. So this handler does the page's work: it hands name and password on over TLS, keeps
//! neither, and answers with the token. A service that learns passwords is what the redirect is there to avoid: where the
//! provider issues signed access tokens, leave [`App::sign_in`] `None`, and let the page go the usual way.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use ureq::Agent;
use zeroize::Zeroizing;

use super::App;
use super::problem::Problem;

/// How many sign in at once; one more waits.
const AT_ONCE: usize = 8;

/// Where people sign in.
pub struct SignIn {
    agent: Agent,
    address: String,
    role: String,
    turns: Semaphore,
}

/// Why nobody was signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The name or the password is wrong.
    Wrong,
    /// The provider does not answer as it should.
    Away,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    name: String,
    password: String,
}

impl SignIn {
    /// At the OpenBao at `address` (`https://host:port`), whose tokens for this service are those of `role`.
    pub fn new(agent: Agent, address: impl Into<String>, role: impl Into<String>) -> Self {
        Self { agent, address: address.into(), role: role.into(), turns: Semaphore::new(AT_ONCE) }
    }

    /// A token of the provider, for who has this name and password.
    fn token(agent: &Agent, address: &str, role: &str, name: &str, password: &str) -> Result<String, Refusal> {
        let login = format!("{address}/v1/auth/userpass/login/{name}");
        let answer = answer(agent.post(login).send(json!({"password": password}).to_string()))?;
        let session = answer["auth"]["client_token"].as_str().ok_or(Refusal::Away)?;
        let asked = agent.get(format!("{address}/v1/identity/oidc/token/{role}")).header("X-Vault-Token", session);
        let token = self::answer(asked.call()).map_err(|_| Refusal::Away);
        // The provider's own session was for this one answer.
        let end = agent.post(format!("{address}/v1/auth/token/revoke-self")).header("X-Vault-Token", session);
        drop(end.send_empty());
        Ok(token?["data"]["token"].as_str().ok_or(Refusal::Away)?.to_owned())
    }
}

fn answer(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Refusal> {
    let mut response = response.map_err(|_| Refusal::Away)?;
    match response.status().as_u16() {
        200 => {
            let body = response.body_mut().with_config().limit(1 << 20).read_to_vec();
            serde_json::from_slice(&body.map_err(|_| Refusal::Away)?).map_err(|_| Refusal::Away)
        }
        400..=499 => Err(Refusal::Wrong),
        _ => Err(Refusal::Away),
    }
}

/// `POST /signin` with `{"name": .., "password": ..}`: a token.
pub async fn post(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Value>, Problem> {
    let sign_in = app.sign_in.as_ref();
    let sign_in = sign_in.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "nobody signs in here: bring a token"))?;
    let wrong = || Problem::new(StatusCode::UNAUTHORIZED, "the name or the password is wrong");
    let credentials: Credentials =
        serde_json::from_slice(&body).map_err(|_| Problem::bad_request("a name and a password"))?;
    // The name becomes part of an address.
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !(1..=64).contains(&credentials.name.len()) || !credentials.name.chars().all(is_fine) {
        return Err(wrong());
    }
    let _turn = sign_in.turns.acquire().await;
    let (agent, address, role) = (sign_in.agent.clone(), sign_in.address.clone(), sign_in.role.clone());
    let (name, password) = (credentials.name, Zeroizing::new(credentials.password));
    let asked = move || SignIn::token(&agent, &address, &role, &name, &password);
    match tokio::task::spawn_blocking(asked).await.unwrap_or(Err(Refusal::Away)) {
        Ok(token) => Ok(Json(json!({"token": token}))),
        Err(Refusal::Wrong) => Err(wrong()),
        Err(Refusal::Away) => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the identity provider does not answer"))
        }
    }
}
