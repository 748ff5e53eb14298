//! How a step of the story ends: as it was told, or with a sentence about what was otherwise.

use std::error::Error;

pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

pub fn fail<T>(message: impl Into<String>) -> Outcome<T> {
    Err(message.into().into())
}

/// Holds an expectation.
pub fn expect(holds: bool, message: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { fail(message) }
}
