//! Whose tokens are believed, and the one way out to the identity provider.

use std::sync::Arc;
use std::time::Duration;

use strongroom::identity::{JwtVerifier, Oidc, OidcKeys};
use strongroom::{Error, ErrorKind, Result};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Whether tokens can be verified now.
pub trait KeysAtHand: Send + Sync + 'static {
    /// Whether the keys are there.
    fn are_at_hand(&self) -> bool;
}

impl KeysAtHand for OidcKeys {
    fn are_at_hand(&self) -> bool {
        self.ready().is_ok()
    }
}

/// Keys that are part of the configuration.
pub struct Always;

impl KeysAtHand for Always {
    fn are_at_hand(&self) -> bool {
        true
    }
}

/// A verifier of the tokens that `issuer` issues for `audience`, and the keys that it goes by.
///
/// # Errors
/// `Invalid` if the issuer is none, or the certificate is none.
pub fn verifier(issuer: &str, audience: &str, ca_pem: &[u8]) -> Result<(JwtVerifier, OidcKeys)> {
    let keys = OidcKeys::discover(issuer).ca_pem(ca_pem).build()?;
    let verifier = JwtVerifier::builder().oidc(Oidc::new(issuer, audience), keys.clone()).build()?;
    Ok((verifier, keys))
}

/// An agent that believes these certificates and no others, waits ten seconds and follows nobody elsewhere.
///
/// # Errors
/// `Invalid` if `ca_pem` is no certificate.
pub fn agent(ca_pem: &[u8]) -> Result<Agent> {
    let invalid = |_| Error::new(ErrorKind::Invalid, "the certificate of the identity provider is none");
    let certificate = Certificate::from_pem(ca_pem).map_err(invalid)?;
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&[certificate]))
        .build();
    let config = Agent::config_builder().http_status_as_error(false).https_only(true).proxy(None).max_redirects(0);
    Ok(config.tls_config(tls).timeout_global(Some(Duration::from_secs(10))).build().new_agent())
}

/// Whether an address (`http://..`) is one of this machine, so that what is sent there without TLS crosses no network.
#[must_use]
pub fn is_here(url: &str) -> bool {
    let host = url.strip_prefix("http://").and_then(|rest| rest.split(['/', '?', '#']).next());
    let host = host.map(|host| host.rsplit_once(':').map_or(host, |(host, _)| host));
    host.is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host))
}
