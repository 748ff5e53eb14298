//! The one place that talks to a vault: to one host, over TLS, for a bounded time, reading a bounded answer.

use std::time::Duration;

use ureq::http::{HeaderValue, Method, Response, StatusCode};
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::https::{self, Authorities, Origin};
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
    pub(super) fn new(address: &Origin, ca_pem: Option<&[u8]>, namespace: Option<&str>) -> Result<Self> {
        let authorities = match ca_pem.filter(|_| address.is_tls) {
            Some(ca_pem) => Authorities::from_pem(ca_pem)?,
            None => Authorities::Nobody,
        };
        let namespace = namespace
            .map(HeaderValue::from_str)
            .transpose()
            .map_err(|_| Error::invalid("the namespace of a vault has visible characters only"))?;
        let scheme = if address.is_tls { "https" } else { "http" };
        let base = format!("{scheme}://{}:{}/v1", address.host, address.port);
        Ok(Self { agent: https::agent(authorities, address.is_tls), base, namespace })
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

impl Reply {
    fn read(mut response: Response<Body>, answer_max: usize) -> std::io::Result<Self> {
        let status = response.status();
        // Seconds; a date is not looked at.
        let retry_after = response.headers().get("Retry-After").and_then(|value| value.to_str().ok()?.parse().ok());
        let body = https::read_body(&mut response, answer_max)?;
        Ok(Self { status, retry_after: retry_after.map(Duration::from_secs), body })
    }
}
