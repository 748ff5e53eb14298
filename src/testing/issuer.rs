//! The toy issuer: its tokens are real, its key is made for one world and never leaves it.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::Clock;

/// The issuer of every [`World`](super::World): a name that nobody can own (RFC 2606, section 2).
pub const ISSUER: &str = "https://strongroom-testing.invalid/not-for-production";

/// Whom the tokens are for.
pub(super) const AUDIENCE: &str = "strongroom-testing";
/// The tenant claim of the service's own custodians.
pub(super) const SERVICE: &str = "service";

/// What the key is called.
const KEY_ID: &str = "toy";
/// How long a token counts unless it says otherwise.
const LIFE: Duration = Duration::from_mins(10);

/// Signs whatever token it is asked for, with Ed25519 (`EdDSA`, RFC 8037).
pub struct Issuer {
    key: Ed25519KeyPair,
    clock: Arc<dyn Clock>,
}

/// A token under construction: an access token as of RFC 9068, issued now by the clock of its world.
#[must_use = "a token is made when it is signed"]
pub struct Token<'i> {
    issuer: &'i Issuer,
    claims: Map<String, Value>,
    roles: Vec<String>,
    scopes: Option<Vec<String>>,
    is_forged: bool,
}

impl Issuer {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { key: new_key(), clock }
    }

    /// Begins a token that speaks for `tenant`. It says that its bearer is `tester`, may do nothing yet, and counts for ten
    /// minutes.
    pub fn token(&self, tenant: &str) -> Token<'_> {
        let claims = Map::from_iter([
            ("iss".to_owned(), json!(ISSUER)),
            ("aud".to_owned(), json!(AUDIENCE)),
            ("tid".to_owned(), json!(tenant)),
            ("sub".to_owned(), json!("tester")),
        ]);
        let token = Token { issuer: self, claims, roles: Vec::new(), scopes: None, is_forged: false };
        token.expires_in(LIFE)
    }

    /// Begins a token of the service's custodian.
    pub fn custodian(&self) -> Token<'_> {
        self.token(SERVICE).role("custodian")
    }

    pub(super) fn jwks_json(&self) -> String {
        let x = encode(self.key.public_key());
        json!({ "keys": [{ "kid": KEY_ID, "use": "sig", "alg": "EdDSA", "kty": "OKP", "crv": "Ed25519", "x": x }] })
            .to_string()
    }

    fn now_secs(&self) -> u64 {
        self.clock.wall_ms() / 1000
    }
}

impl Token<'_> {
    /// Gives a role: `read` stands in the token as `strongroom.read`, and so do `write`, `custodian`, `approver` and
    /// `auditor`.
    pub fn role(mut self, role: &str) -> Self {
        self.roles.push(format!("strongroom.{role}"));
        self
    }

    /// Gives a scope, named as a role is. Roles that are not among the scopes of a token that has any do not count.
    pub fn scope(mut self, scope: &str) -> Self {
        self.scopes.get_or_insert_default().push(format!("strongroom.{scope}"));
        self
    }

    /// Says who its bearer is.
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// Counts for this long from now on; whole seconds. (The store grants a minute more, for clocks that differ.)
    pub fn expires_in(self, life: Duration) -> Self {
        let now_secs = self.issuer.now_secs();
        self.claim("iat", now_secs).claim("exp", now_secs.saturating_add(life.as_secs()))
    }

    /// Has counted until an hour ago.
    pub fn expired(self) -> Self {
        let then_secs = self.issuer.now_secs().saturating_sub(3600);
        self.claim("iat", then_secs.saturating_sub(LIFE.as_secs())).claim("exp", then_secs)
    }

    /// Is signed with another key than it says.
    pub fn forged(mut self) -> Self {
        self.is_forged = true;
        self
    }

    /// Sets any claim, for tokens that a service must refuse and for claims of its own.
    ///
    /// # Panics
    /// If `value` has no form in JSON.
    #[track_caller]
    pub fn claim(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("a claim that can be written as JSON");
        self.claims.insert(name.to_owned(), value);
        self
    }

    /// The token, as it goes into the header `Authorization: Bearer`.
    #[must_use]
    pub fn sign(self) -> String {
        let Self { issuer, mut claims, roles, scopes, is_forged } = self;
        if !roles.is_empty() {
            claims.entry("roles").or_insert(json!(roles));
        }
        if let Some(scopes) = scopes {
            claims.entry("scope").or_insert(json!(scopes.join(" ")));
        }
        let header = json!({ "alg": "EdDSA", "kid": KEY_ID, "typ": "at+jwt" }).to_string();
        let message = format!("{}.{}", encode(header), encode(Value::Object(claims).to_string()));
        let signature = match is_forged {
            true => new_key().sign(message.as_bytes()),
            false => issuer.key.sign(message.as_bytes()),
        };
        format!("{message}.{}", encode(signature))
    }
}

fn new_key() -> Ed25519KeyPair {
    Ed25519KeyPair::generate().expect("the operating system has random bytes")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("url", &ISSUER).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}
