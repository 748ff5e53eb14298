//! The one place that talks to a vault: to one host, over TLS, for a bounded time, reading a bounded answer.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderValue, Method, Response, StatusCode, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::kms::{Call, CallId, RootError};

/// The longest answer that is read, in bytes: the description of an RSA key has a public key for every version.
const ANSWER_MAX: usize = 256 * 1024;
/// The longest answer that holds a secret, in bytes.
const SECRET_ANSWER_MAX: usize = 16 * 1024;
/// What a vault writes into its audit log if it is told to.
const CORRELATION_HEADER: &str = "X-Correlation-Id";

pub(super) struct Client {
    agent: Agent,
    /// Scheme, host and port, and `/v1`.
    base: String,
    namespace: Option<HeaderValue>,
}

/// What is asked. Bodies are wiped.
pub(super) struct Request {
    method: Method,
    path: String,
    body: Option<Zeroizing<String>>,
    answer_max: usize,
}

/// What was answered. Wiped.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// One call's time, and the id that all of its requests carry.
pub(super) struct Turn<'c> {
    pub(super) call: CallId,
    clock: &'c dyn Clock,
    begun_ms: u64,
    patience: Duration,
}

/// Where a vault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
}

impl Request {
    pub(super) fn get(path: String) -> Self {
        Self { method: Method::GET, path, body: None, answer_max: ANSWER_MAX }
    }

    pub(super) fn post(path: String, body: Zeroizing<String>) -> Self {
        Self { method: Method::POST, path, body: Some(body), answer_max: SECRET_ANSWER_MAX }
    }
}

impl<'c> Turn<'c> {
    pub(super) fn begin(call: &Call, clock: &'c dyn Clock) -> Self {
        Self { call: call.id(), clock, begun_ms: clock.monotonic_ms(), patience: call.patience() }
    }

    /// The time that is left.
    ///
    /// # Errors
    /// `Unreachable` if there is none.
    pub(super) fn left(&self) -> Result<Duration, RootError> {
        let gone = Duration::from_millis(self.clock.monotonic_ms().saturating_sub(self.begun_ms));
        let left = self.patience.saturating_sub(gone);
        if left.is_zero() { Err(RootError::Unreachable) } else { Ok(left) }
    }
}

impl Client {
    pub(super) fn new(address: &Address, ca_pem: Option<&[u8]>, namespace: Option<&str>) -> Result<Self> {
        let config = Agent::config_builder()
            .https_only(address.is_tls)
            .http_status_as_error(false)
            // An answer that sends us elsewhere is no answer: we talk to the host that was named, and no other.
            .max_redirects(0)
            // Not even by way of what the environment names.
            .proxy(None)
            .no_delay(true)
            .user_agent("strongroom")
            .accept_encoding("identity")
            .max_idle_age(Duration::from_secs(10))
            .tls_config(tls(address, ca_pem)?)
            .build();
        let namespace = namespace
            .map(HeaderValue::from_str)
            .transpose()
            .map_err(|_| Error::invalid("the namespace of a vault has visible characters only"))?;
        Ok(Self { agent: config.new_agent(), base: address.base(), namespace })
    }

    /// # Errors
    /// `Unreachable` for whatever is not a whole answer of HTTP within the time and the length that it may have.
    pub(super) fn send(&self, request: &Request, token: Option<&str>, turn: &Turn<'_>) -> Result<Reply, RootError> {
        let left = turn.left()?;
        let outcome = match &request.body {
            None => {
                let builder = self.agent.get(self.url(request)).config().timeout_global(Some(left)).build();
                self.with_headers(builder, token, turn)?.call()
            }
            Some(body) => {
                let builder = self.agent.post(self.url(request)).config().timeout_global(Some(left)).build();
                self.with_headers(builder, token, turn)?.send(body.as_bytes())
            }
        };
        let response = outcome.map_err(|error| silent(turn, &error))?;
        Reply::read(response, request.answer_max).map_err(|error| silent(turn, &error))
    }

    fn url(&self, request: &Request) -> String {
        debug_assert!(matches!(request.method, Method::GET | Method::POST));
        format!("{}/{}", self.base, request.path)
    }

    fn with_headers<B>(
        &self,
        mut builder: ureq::RequestBuilder<B>,
        token: Option<&str>,
        turn: &Turn<'_>,
    ) -> Result<ureq::RequestBuilder<B>, RootError> {
        builder = builder.header(CORRELATION_HEADER, turn.call.to_string()).header("X-Vault-Request", "true");
        if let Some(namespace) = &self.namespace {
            builder = builder.header("X-Vault-Namespace", namespace.clone());
        }
        if let Some(token) = token {
            let mut token = HeaderValue::from_str(token).map_err(|_| RootError::Denied)?;
            token.set_sensitive(true);
            builder = builder.header("X-Vault-Token", token);
        }
        Ok(builder)
    }
}

fn silent(turn: &Turn<'_>, error: &dyn std::fmt::Display) -> RootError {
    tracing::warn!(call = %turn.call, %error, "a vault does not answer");
    RootError::Unreachable
}

fn tls(address: &Address, ca_pem: Option<&[u8]>) -> Result<TlsConfig> {
    // Named, so that no default of the process is looked for, and none is set.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    let Some(ca_pem) = ca_pem.filter(|_| address.is_tls) else {
        return Ok(builder.root_certs(RootCerts::new_with_certs(&[])).build());
    };
    let unreadable = || Error::invalid("the certificates of a vault's authority are not in PEM");
    let items = parse_pem(ca_pem).collect::<Result<Vec<_>, _>>().map_err(|_| unreadable())?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| if let PemItem::Certificate(certificate) = item { Some(certificate) } else { None })
        .collect();
    if certificates.is_empty() {
        return Err(unreadable());
    }
    Ok(builder.root_certs(RootCerts::new_with_certs(&certificates)).build())
}

impl Reply {
    fn read(mut response: Response<Body>, answer_max: usize) -> std::io::Result<Self> {
        let status = response.status();
        // Seconds; a date is not looked at.
        let retry_after = response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
        // Room for all of it, so that no copy is left behind by growing.
        let mut body = Zeroizing::new(Vec::with_capacity(answer_max + 1));
        response.body_mut().as_reader().take(answer_max as u64 + 1).read_to_end(&mut body)?;
        if body.len() > answer_max {
            return Err(std::io::Error::other("the answer is longer than any answer of a vault"));
        }
        Ok(Self { status, retry_after: retry_after.map(Duration::from_secs), body })
    }
}

impl Address {
    /// Reads `https://host[:port]`, or `http://` with a loopback address if that was asked for.
    pub(super) fn parse(text: &str, is_plain_allowed: bool) -> Result<Self> {
        let uri: Uri = text.parse().map_err(|_| Error::invalid("the address of a vault is no URL"))?;
        let authority = uri.authority().ok_or_else(|| Error::invalid("the address of a vault names no host"))?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        if !is_bare || text.contains('#') {
            return Err(Error::invalid("the address of a vault is https://host or https://host:port, and no more"));
        }
        let host = authority.host().to_owned();
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_plain_allowed && is_loopback(&host) => false,
            _ => return Err(Error::invalid("a vault is asked over https")),
        };
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { host, port, is_tls })
    }

    fn base(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}:{}/v1", self.host, self.port)
    }
}

/// By address only: what a name means is for others to say.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn an_address_is_a_host_over_tls_or_a_loopback_address_that_was_asked_for() {
        let address = |host: &str, port, is_tls| Address { host: host.to_owned(), port, is_tls };
        assert_eq!(Address::parse("https://vault.example", false).unwrap(), address("vault.example", 443, true));
        assert_eq!(Address::parse("https://vault.example:8200/", false).unwrap(), address("vault.example", 8200, true));
        assert_eq!(Address::parse("https://[::1]:8200", false).unwrap(), address("[::1]", 8200, true));
        for host in ["127.0.0.1", "127.8.8.8", "[::1]"] {
            assert_eq!(Address::parse(&format!("http://{host}:82"), true).unwrap(), address(host, 82, false));
        }
        let refused = [
            ("http://127.0.0.1", false),
            ("http://vault.example", true),
            ("http://localhost", true),
            ("http://127.0.0.1.example", true),
            ("http://0.0.0.0", true),
            ("ftp://vault.example", true),
            ("vault.example", true),
            ("https://", true),
            ("https://somebody@vault.example", false),
            ("https://vault.example/v1", false),
            ("https://vault.example/?a=b", false),
            ("https://vault.example#a", false),
        ];
        for (text, is_plain_allowed) in refused {
            assert_eq!(Address::parse(text, is_plain_allowed).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }
}
