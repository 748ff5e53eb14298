//! What can go wrong in a demonstration: an expectation that does not hold, or an error of a part that it uses.

use std::error::Error;
use std::fmt::Debug;

use strongroom::ErrorKind;

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// An expectation that does not hold, as a sentence.
pub fn fail<T>(message: impl Into<String>) -> Outcome<T> {
    Err(message.into().into())
}

/// Holds an expectation.
pub fn expect(holds: bool, message: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { fail(message()) }
}

/// Holds the expectation that the store refuses, in one of these ways. Says in which.
pub fn expect_refusal<T: Debug>(
    what: &str,
    answer: strongroom::Result<T>,
    allowed: &[ErrorKind],
) -> Outcome<ErrorKind> {
    match answer {
        Ok(_) => fail(format!("{what}: was NOT refused")),
        Err(error) if allowed.contains(&error.kind()) => Ok(error.kind()),
        Err(error) => fail(format!("{what}: refused as `{error}`, expected {allowed:?}")),
    }
}
