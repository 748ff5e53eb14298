//! How the store writes down what it knows of itself: one version byte, then serde through bincode 2.0.1
//! (little-endian, fixed-width integers). Decoded after authentication, never before, within a byte limit, and
//! without trailing bytes.
//!
//! bincode's wire format is frozen and its project has ended; `tests` holds it against `wincode`, a maintained
//! implementation of the same format, so that changing over is this file and no change of format.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The longest document, in bytes.
const LIMIT: usize = 64 * 1024;
const VERSION: u8 = 1;

pub(crate) fn encode<T: Serialize>(document: &T) -> Result<Vec<u8>> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(document, &mut bytes, config())
        .map_err(|source| Error::internal("a document of the store could not be encoded").with_source(source))?;
    if bytes.len() > LIMIT {
        return Err(Error::invalid("a document of the store would be longer than 64 KiB"));
    }
    Ok(bytes)
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let corrupt = || Error::corrupt("a document of the store cannot be decoded");
    let (&version, body) = bytes.split_first().ok_or_else(corrupt)?;
    if version != VERSION {
        return Err(Error::corrupt("a document of the store has a version that this release does not know"));
    }
    let (document, read) =
        bincode::serde::decode_from_slice(body, config()).map_err(|source| corrupt().with_source(source))?;
    if read != body.len() {
        return Err(corrupt());
    }
    Ok(document)
}

fn config() -> impl bincode::config::Config {
    bincode::config::legacy().with_limit::<LIMIT>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize, wincode::SchemaWrite, wincode::SchemaRead)]
    struct Sample {
        number: u64,
        name: String,
        list: Vec<(u8, String)>,
        choice: Option<Choice>,
        bytes: [u8; 32],
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, wincode::SchemaWrite, wincode::SchemaRead)]
    enum Choice {
        Plain,
        With(u32),
    }

    #[expect(clippy::cast_possible_truncation, reason = "any length will do")]
    fn samples() -> Vec<Sample> {
        let sample = |number, choice| Sample {
            number,
            name: "n".repeat(usize::from(number as u8)),
            list: vec![(7, "seven".into()), (8, String::new())],
            choice,
            bytes: [9; 32],
        };
        vec![sample(0, None), sample(200, Some(Choice::Plain)), sample(u64::MAX, Some(Choice::With(5)))]
    }

    #[test]
    fn documents_come_back_and_nothing_else_is_taken_for_one() {
        for sample in samples() {
            let bytes = encode(&sample).unwrap();
            assert_eq!(decode::<Sample>(&bytes).unwrap(), sample);
            for cut in 0..bytes.len() {
                assert!(decode::<Sample>(&bytes[..cut]).is_err(), "cut at {cut}");
            }
            assert!(decode::<Sample>(&[&bytes[..], &[0]].concat()).is_err(), "a trailing byte");
            assert!(decode::<Sample>(&[&[2], &bytes[1..]].concat()).is_err(), "another version");
        }
    }

    #[test]
    fn wincode_writes_and_reads_the_same_bytes() {
        for sample in samples() {
            let ours = encode(&sample).unwrap();
            assert_eq!(ours[1..], wincode::serialize(&sample).unwrap());
            assert_eq!(wincode::deserialize::<Sample>(&ours[1..]).unwrap(), sample);
        }
    }
}
