//! What can go wrong, and the code that the tool then ends with.

use std::process::ExitCode;

use strongroom::{Error, ErrorKind};

/// What went wrong.
#[derive(Debug)]
pub struct Failure {
    pub kind: ErrorKind,
    pub message: String,
}

impl Failure {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Something is missing or wrong on the command line or in the settings.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// The code for scripts.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            ErrorKind::Invalid => 1,
            ErrorKind::Unavailable | ErrorKind::Throttled | ErrorKind::Internal => 3,
            ErrorKind::Tampered | ErrorKind::Corrupt => 4,
            // Denied, NotFound, Conflict, KeyRevoked, KeyDestroyed, Closed.
            _ => 2,
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = match error.kind() {
            ErrorKind::Denied => {
                "\n  A token must be valid now, carry the role `strongroom.custodian`, and speak for the \
                                  service or, for acts of a tenant's own custodians, for that tenant."
            }
            _ => "",
        };
        let cause = std::error::Error::source(&error).map(|cause| format!("\n  {cause}")).unwrap_or_default();
        Self::new(error.kind(), format!("{error}{cause}{hint}"))
    }
}
