//! An issuer of signed tokens, as an identity provider is one: a key pair, a public key set in a file, tokens.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use strongroom::identity::{Jwks, JwtVerifier, Oidc};
use strongroom::{Clock, SystemClock};

use crate::failure::Outcome;

/// What the tokens call their issuer, and the service that they are for.
pub const ISSUER: &str = "https://id.quickstart.example";
pub const AUDIENCE: &str = "quickstart";
/// The tenant claim of the service's own people.
pub const SERVICE: &str = "service";

const KEY_ID: &str = "2026-1";
const VALID_SECS: i64 = 3_000;

/// Signs whatever it is asked to.
pub struct Issuer {
    key: Ed25519KeyPair,
    clock: Arc<SystemClock>,
}

impl Issuer {
    /// An issuer with a new Ed25519 key.
    pub fn new() -> Outcome<Self> {
        let key = Ed25519KeyPair::generate().map_err(|_| "no key pair could be made")?;
        Ok(Self { key, clock: SystemClock::new() })
    }

    /// Writes the public key set into `folder`, for the verifier, and the key pair beside it, for whoever runs the
    /// issuer.
    pub fn publish(&self, folder: &Path) -> Outcome<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let pair = self.key.to_pkcs8().map_err(|_| "the key pair could not be written down")?;
        write_private(&folder.join("key-pair.pkcs8"), pair.as_ref())?;
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key());
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KEY_ID, "x": x });
        let path = folder.join("jwks.json");
        fs::write(&path, serde_json::to_string_pretty(&json!({ "keys": [key] }))?)?;
        Ok(path)
    }

    /// A token for somebody of `tenant` with these roles, valid for 50 minutes.
    pub fn token(&self, tenant: &str, subject: &str, roles: &[&str]) -> Outcome<String> {
        self.token_that_expires_in(VALID_SECS, tenant, subject, roles)
    }

    /// The same with any validity; a negative one is over.
    pub fn token_that_expires_in(&self, secs: i64, tenant: &str, subject: &str, roles: &[&str]) -> Outcome<String> {
        let message = message(&header("EdDSA"), &self.claims(secs, tenant, subject, roles)?);
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()))))
    }

    /// What an attacker without a key tries first: the same claims, and a header that says that they need no
    /// signature.
    pub fn token_without_signature(&self, tenant: &str, roles: &[&str]) -> Outcome<String> {
        Ok(format!("{}.", message(&header("none"), &self.claims(VALID_SECS, tenant, "mallory", roles)?)))
    }

    /// What he tries next: a genuine token with its tenant exchanged, under the signature that it had.
    pub fn token_rewritten(&self, genuine: &str, tenant: &str, roles: &[&str]) -> Outcome<String> {
        let mut parts = genuine.split('.');
        let (header, signature) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        let claims = self.claims(VALID_SECS, tenant, "mallory", roles)?;
        Ok(format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string())))
    }

    fn claims(&self, secs: i64, tenant: &str, subject: &str, roles: &[&str]) -> Outcome<Value> {
        let now_secs = i64::try_from(self.clock.wall_ms() / 1000)?;
        Ok(json!({
            "iss": ISSUER, "aud": AUDIENCE, "tid": tenant, "sub": subject, "roles": roles,
            "iat": now_secs + secs.min(0) - 60, "exp": now_secs + secs,
        }))
    }
}

/// The verifier of a service that trusts this issuer: it reads the key set anew for every token, so that a key taken
/// out of the file is dead at once.
pub fn verifier(jwks: &Path) -> strongroom::Result<JwtVerifier> {
    let jwks = jwks.to_path_buf();
    let profile = Oidc::new(ISSUER, AUDIENCE).tenants(["contoso", "fabrikam", SERVICE]);
    JwtVerifier::builder().oidc(profile, move || Jwks::from_file(&jwks)).build()
}

/// A file for its owner's eyes only.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "kid": KEY_ID, "typ": "at+jwt" })
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}
