//! What a vault's answers mean. All permanent faults share the status 400 and those of RSA keys come as 500, so the
//! message decides; the map is in the manual's chapter on roots.

use serde::Deserialize;
use ureq::http::StatusCode;

use super::client::Reply;
use crate::kms::RootError;

/// Why an answer is not the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// As it is, whatever was asked.
    Root(RootError),
    /// Our token is not good for this: it has expired, or somebody refuses.
    Forbidden,
    /// There is no key of that name.
    Missing,
    /// The version may not be used any more, or is not kept.
    TooOld,
    /// The key is of another kind than it was: it takes a context where it took none, or the other way round.
    OtherKind,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Outer<T> {
    data: T,
}

/// Parts of messages, as OpenBao 2.7 and Vault 1.x write them.
const MESSAGES: [(&str, Fault); 12] = [
    ("message authentication failed", Fault::Root(RootError::Tampered)),
    ("failed to RSA decrypt", Fault::Root(RootError::Tampered)),
    ("invalid ciphertext", Fault::Root(RootError::Tampered)),
    ("version is too new", Fault::Root(RootError::Tampered)),
    ("encryption key not found", Fault::Missing),
    ("disallowed by policy (too old)", Fault::TooOld),
    ("soft-deleted key", Fault::Root(RootError::Disabled)),
    ("no handler for route", Fault::Root(RootError::Disabled)),
    ("unsupported path", Fault::Root(RootError::Disabled)),
    ("missing 'context' for key derivation", Fault::OtherKind),
    ("provided for non-AEAD cipher suite", Fault::OtherKind),
    ("invalid role or secret ID", Fault::Forbidden),
];

impl Reply {
    /// Whether it is a success, or what it is instead. What does not read as a vault's answer is none: a proxy's page
    /// refuses nobody.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if matches!(self.status, StatusCode::OK | StatusCode::NO_CONTENT) {
            return Ok(());
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Fault::Root(RootError::Throttled));
        }
        let Ok(Errors { errors }) = serde_json::from_slice(&self.body) else {
            tracing::warn!(status = self.status.as_u16(), "an answer that is not a vault's");
            return Err(Fault::Root(RootError::Unreachable));
        };
        let meaning = MESSAGES.iter().find(|(part, _)| errors.iter().any(|error| error.contains(part)));
        Err(match (meaning, self.status) {
            (_, StatusCode::FORBIDDEN) => Fault::Forbidden,
            (Some((_, fault)), _) => *fault,
            (None, StatusCode::NOT_FOUND) => Fault::Missing,
            (None, status) => {
                tracing::warn!(status = status.as_u16(), ?errors, "an answer of a vault that says nothing known");
                Fault::Root(RootError::Unreachable)
            }
        })
    }

    /// The part of a success that was asked for. Text in it is borrowed, so that no copy of a secret is left.
    pub(super) fn data<'r, T: Deserialize<'r>>(&'r self) -> Result<T, RootError> {
        let outer: Outer<T> = serde_json::from_slice(&self.body).map_err(|_| {
            tracing::warn!("an answer of a vault cannot be read");
            RootError::Unreachable
        })?;
        Ok(outer.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn check(status: u16, body: &str) -> Result<(), Fault> {
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, retry_after: None, body: Zeroizing::new(body.as_bytes().to_vec()) }.check()
    }

    #[test]
    fn messages_decide_and_not_the_status() {
        let root = |error| Err(Fault::Root(error));
        let said = |status, text: &str| check(status, &format!(r#"{{"errors":["{text}"]}}"#));
        assert_eq!(said(400, "cipher: message authentication failed"), root(RootError::Tampered));
        let rsa = "1 error occurred:\\n\\t* failed to RSA decrypt the ciphertext: crypto/rsa: decryption error";
        assert_eq!(said(500, rsa), root(RootError::Tampered));
        assert_eq!(said(400, "invalid ciphertext: version is too new"), root(RootError::Tampered));
        assert_eq!(said(400, "refusing to use soft-deleted key"), root(RootError::Disabled));
        assert_eq!(said(400, "encryption key not found"), Err(Fault::Missing));
        assert_eq!(said(403, "permission denied"), Err(Fault::Forbidden));
        assert_eq!(said(503, "Vault is sealed"), root(RootError::Unreachable));
        assert_eq!(said(429, "request path: rate limit quota exceeded"), root(RootError::Throttled));
        assert_eq!(said(500, "internal error"), root(RootError::Unreachable));
        assert_eq!(check(404, r#"{"errors":[]}"#), Err(Fault::Missing));
        assert_eq!(check(204, ""), Ok(()));
    }

    #[test]
    fn what_is_not_a_vaults_answer_refuses_nobody() {
        for status in [301, 307, 400, 403, 404, 407, 500, 502, 503] {
            for body in ["", "<html>permission denied</html>", r#"{"error":"permission denied"}"#, "[]", "null"] {
                assert_eq!(check(status, body), Err(Fault::Root(RootError::Unreachable)), "{status} {body}");
            }
        }
    }
}
