//! One attempt to fetch the keys of an issuer: its discovery document, and then the keys, within a bounded time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::http::StatusCode;
use zeroize::Zeroizing;

use super::document;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::https::{self, Origin};
use crate::identity::Jwks;

/// The longest that an attempt takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 1 << 20;

pub(super) struct Fetcher {
    pub(super) agent: Agent,
    pub(super) issuer: String,
    /// Where the discovery document is.
    pub(super) document: String,
    /// Where the keys may be.
    pub(super) origins: BTreeSet<Origin>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Fetcher {
    /// # Errors
    /// `Unavailable` if a host does not answer, `Invalid` if what it answers is not sound.
    pub(super) fn fetch(&self) -> Result<Jwks> {
        let begun_ms = self.clock.monotonic_ms();
        let document = self.get(&self.document, PATIENCE).map_err(|error| error.at("the discovery document"))?;
        let address = document::keys_address(&document, &self.issuer, &self.origins)
            .map_err(|error| error.at("the discovery document"))?;
        let gone = Duration::from_millis(self.clock.monotonic_ms().saturating_sub(begun_ms));
        let keys = self.get(&address.to_string(), PATIENCE.saturating_sub(gone));
        let keys = keys.and_then(|keys| {
            let text = std::str::from_utf8(&keys).map_err(|_| Error::invalid("a JWK set is text"))?;
            Jwks::from_json(text)
        });
        keys.map_err(|error| error.at("the keys"))
    }

    fn get(&self, address: &str, patience: Duration) -> Result<Zeroizing<Vec<u8>>> {
        let silent = |error: &dyn std::fmt::Display| Error::new(ErrorKind::Unavailable, format!("no answer: {error}"));
        if patience.is_zero() {
            return Err(silent(&"the time is over"));
        }
        let request = self.agent.get(address).header("Accept", "application/json");
        let response = request.config().timeout_global(Some(patience)).build().call();
        let mut response = response.map_err(|error| silent(&error))?;
        if response.status() != StatusCode::OK {
            let status = response.status().as_u16();
            return Err(Error::new(ErrorKind::Unavailable, format!("the host answers with status {status}")));
        }
        https::read_body(&mut response, ANSWER_MAX).map_err(|error| silent(&error))
    }
}
