//! The service, as an import sees it: each message is sent until it is known to be there, or refused.

use std::thread;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};
use zeroize::Zeroizing;

use crate::http::encoded;
use crate::identity;
use crate::serve::Failure;

/// From so many bytes on it is asked first whether a message is there.
const ASK_FIRST_LEN: usize = 64 << 10;
/// How often a message is sent before the import gives up.
const ATTEMPTS: u32 = 5;

/// A client of the service, for one tenant.
pub struct Client {
    agent: Agent,
    base: String,
    authorization: Zeroizing<String>,
}

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there now.
    Imported,
    /// It was imported before.
    Present,
    /// It is no message, for this reason.
    Refused(String),
}

impl Client {
    /// A client of the service at `url`, which without TLS must be on this machine.
    ///
    /// # Errors
    /// If it is not, or `ca_pem` is no certificate.
    pub fn new(url: &str, ca_pem: Option<&[u8]>, tenant: &str, token: &str) -> Result<Self, Failure> {
        let agent = match ca_pem {
            Some(ca_pem) => identity::agent(ca_pem)?,
            None if identity::is_here(url) => {
                let config = Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0);
                config.timeout_global(Some(Duration::from_secs(60))).build().new_agent()
            }
            None => return Err("a token is sent: over TLS (--ca), or on this machine (http://127.0.0.1:..)".into()),
        };
        let base = format!("{}/t/{}", url.trim_end_matches('/'), encoded(tenant));
        Ok(Self { agent, base, authorization: Zeroizing::new(format!("Bearer {token}")) })
    }

    /// Makes a folder, if it is not there.
    ///
    /// # Errors
    /// If the service does not.
    pub fn make_folder(&self, folder: &str) -> Result<(), Failure> {
        let url = format!("{}/folders/{}", self.base, encoded(folder));
        let answer = persist(|| self.agent.put(&url).header("Authorization", &*self.authorization).send_empty())?;
        match answer.status().as_u16() {
            201 | 204 => Ok(()),
            _ => Err(refusal(answer).into()),
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// If the service cannot be reached, or says that the bearer may not.
    pub fn send(&self, folder: &str, raw: &[u8], is_seen: bool) -> Result<Outcome, Failure> {
        let url = format!("{}/imports/{}", self.base, hex(digest(&SHA256, raw).as_ref()));
        if raw.len() >= ASK_FIRST_LEN {
            let asked = persist(|| self.agent.get(&url).header("Authorization", &*self.authorization).call())?;
            if asked.status() == 204 {
                return Ok(Outcome::Present);
            }
        }
        let url = format!("{url}?folder={}&seen={is_seen}", encoded(folder));
        let answer = persist(|| {
            let request = self.agent.put(&url).header("Authorization", &*self.authorization);
            request.content_type("message/rfc822").send(raw)
        })?;
        match answer.status().as_u16() {
            201 => Ok(Outcome::Imported),
            204 => Ok(Outcome::Present),
            413 | 422 => Ok(Outcome::Refused(refusal(answer))),
            _ => Err(refusal(answer).into()),
        }
    }
}

/// Asks until there is an answer that is not "later". What is sent twice is there once.
fn persist(ask: impl Fn() -> Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
    let mut pause = Duration::from_millis(200);
    for attempt in 1.. {
        match ask() {
            Ok(answer) if ![429, 503, 504].contains(&answer.status().as_u16()) => return Ok(answer),
            Ok(answer) if attempt == ATTEMPTS => return Ok(answer),
            Err(error) if attempt == ATTEMPTS => return Err(format!("the service does not answer: {error}").into()),
            Ok(_) | Err(_) => thread::sleep(pause),
        }
        pause *= 2;
    }
    Err("the service does not answer".into())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The sentence of a refusal.
fn refusal(mut answer: Response<Body>) -> String {
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(64 << 10).read_to_vec().unwrap_or_default();
    let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
    problem["detail"].as_str().map_or_else(|| format!("the service answers {status}"), str::to_owned)
}
