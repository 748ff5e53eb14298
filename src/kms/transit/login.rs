//! Tokens of a vault: where they come from, and when another is due.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::answers::Fault;
use super::client::{Client, Request, Turn};
use crate::clock::{Clock, Deadline};
use crate::kms::RootError;

/// The longest token, in bytes.
const TOKEN_MAX: usize = 4096;

/// What a token is had for.
pub(super) enum Credential {
    /// A token that somebody else looks after. It is used as it is.
    Token(Zeroizing<String>),
    /// A file that somebody else keeps a good token in, as the agents of vaults do.
    TokenFile(PathBuf),
    AppRole {
        mount: String,
        role_id: String,
        secret_id: Zeroizing<String>,
    },
}

pub(super) struct Login {
    credential: Credential,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// Somebody is logging in; the others wait for it, as long as they may.
    is_busy: bool,
    logins: u64,
}

pub(super) struct Token {
    pub(super) value: Zeroizing<String>,
    /// Which login it is of.
    pub(super) number: u64,
    /// From here on another is had, while this one is still good.
    due: Option<Deadline>,
}

#[derive(Deserialize)]
struct LoggedIn<'r> {
    #[serde(borrow)]
    auth: Auth<'r>,
}

#[derive(Deserialize)]
struct Auth<'r> {
    client_token: &'r str,
    lease_duration: u64,
}

impl Login {
    pub(super) fn new(credential: Credential, clock: Arc<dyn Clock>) -> Self {
        Self { credential, clock, state: Mutex::default(), changed: Condvar::new() }
    }

    /// A token, and whether it was had just now and not before.
    ///
    /// # Errors
    /// `Denied` if the login is refused; `Unreachable`, `Throttled` as the vault answers.
    pub(super) fn token(&self, client: &Client, turn: &Turn<'_>) -> Result<(Arc<Token>, bool), RootError> {
        self.newer_than(0, client, turn)
    }

    /// A token of a later login than this one, which was refused.
    pub(super) fn after(&self, refused: &Token, client: &Client, turn: &Turn<'_>) -> Result<Arc<Token>, RootError> {
        if matches!(self.credential, Credential::Token(_)) {
            return Err(RootError::Denied);
        }
        self.newer_than(refused.number, client, turn).map(|(token, _)| token)
    }

    fn newer_than(&self, number: u64, client: &Client, turn: &Turn<'_>) -> Result<(Arc<Token>, bool), RootError> {
        let mut state = self.state();
        loop {
            let there = state.token.as_ref().filter(|token| token.number > number);
            if let Some(token) = there.filter(|token| !token.is_due(&*self.clock)) {
                return Ok((token.clone(), false));
            }
            if !state.is_busy {
                break;
            }
            state = self.changed.wait_timeout(state, turn.left()?).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_busy = true;
        drop(state);
        let _busy = Busy(self);
        let (value, lifetime) = self.log_in(client, turn)?;
        let mut state = self.state();
        state.logins += 1;
        let due = lifetime.map(|lifetime| Deadline::after(&*self.clock, lifetime * 2 / 3));
        let token = Arc::new(Token { value, number: state.logins, due });
        state.token = Some(token.clone());
        Ok((token, true))
    }

    /// A token and how long it is good for, if that is known.
    fn log_in(&self, client: &Client, turn: &Turn<'_>) -> Result<(Zeroizing<String>, Option<Duration>), RootError> {
        match &self.credential {
            Credential::Token(token) => Ok((token.clone(), None)),
            Credential::TokenFile(path) => read_token(path).map(|token| (token, None)),
            Credential::AppRole { mount, role_id, secret_id } => {
                let body = super::bodies::approle(role_id, secret_id);
                let reply = client.send(&Request::post(format!("auth/{mount}/login"), body), None, turn)?;
                match reply.check() {
                    Ok(()) => {}
                    Err(Fault::Root(error)) => return Err(error),
                    Err(fault) => {
                        tracing::warn!(call = %turn.call, ?fault, "a vault refuses our login");
                        return Err(RootError::Denied);
                    }
                }
                let LoggedIn { auth } = serde_json::from_slice(&reply.body).map_err(|_| RootError::Unreachable)?;
                // A vault says 0 for a token that does not expire.
                let lifetime = (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration));
                Ok((Zeroizing::new(auth.client_token.to_owned()), lifetime))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever logs in; however it ends, the next one may.
struct Busy<'l>(&'l Login);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().is_busy = false;
        self.0.changed.notify_all();
    }
}

impl Token {
    fn is_due(&self, clock: &dyn Clock) -> bool {
        self.due.is_some_and(|due| due.has_passed(clock))
    }
}

fn read_token(path: &std::path::Path) -> Result<Zeroizing<String>, RootError> {
    use std::io::Read;
    let unreadable = |error| {
        tracing::warn!(%error, "the file of a vault's token cannot be read");
        RootError::Unreachable
    };
    let mut text = Zeroizing::new(String::with_capacity(TOKEN_MAX + 1));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(TOKEN_MAX as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    let token = text.trim();
    if token.is_empty() || token.len() > TOKEN_MAX {
        return Err(unreadable(std::io::Error::other("it holds no token")));
    }
    Ok(Zeroizing::new(token.to_owned()))
}
