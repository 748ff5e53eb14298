//! Signed notes (c2sp.org/signed-note): a text, an empty line, and signatures of it, each on a line of its own.
//!
//! ```text
//! — <key name> base64(key id[4] || Ed25519 signature of the text[64])
//! key id = SHA-256(key name || 0A || 01 || public key)[..4]
//! ```
//!
//! Small, plain and read by the tools of transparency logs: so auditors need nothing of ours to check what we signed.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};
use crate::signing::{PublicKey, SIGNATURE_LEN, Signer};

/// The longest note, in bytes: sixteen signatures of any kind have room in it.
pub(crate) const NOTE_MAX_LEN: usize = 256 << 10;
const NAME_MAX_LEN: usize = 256;
/// What a line begins with that is a signature: an em dash and a space.
const DASH: &str = "\u{2014} ";
const ED25519: u8 = 1;

/// Whose notes are believed: a name and its public key, written `<name>+<8 hex digits>+<base64>` as the tools of
/// transparency logs write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: PublicKey,
}

/// Signs a text that ends in a newline.
pub(crate) fn sign(signer: &Signer, name: &str, text: &str) -> Result<String> {
    if !is_name(name) || !is_text(text) || !text.ends_with('\n') {
        return Err(Error::internal("a text to be signed is no note"));
    }
    let key = VerifierKey { name: name.to_owned(), key: signer.public()? };
    let signature = [&key.id()[..], &signer.sign_text(text)?].concat();
    Ok(format!("{text}\n{DASH}{name} {}\n", STANDARD.encode(signature)))
}

/// The text of a note, whoever signed it or did not.
///
/// # Errors
/// `Invalid` if it is no note.
pub(super) fn text_of(note: &str) -> Result<&str> {
    split(note).map(|(text, _)| text).ok_or_else(malformed)
}

impl VerifierKey {
    pub(crate) fn new(name: &str, key: PublicKey) -> Result<Self> {
        if !is_name(name) {
            return Err(Error::internal("a key of notes has no name"));
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// Whose it is: the origin of a trail.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key has signed. Signatures of others are passed over, as the standard asks.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is no note; [`Tampered`](crate::ErrorKind::Tampered) if this key
    /// has not signed it.
    pub fn open<'n>(&self, note: &'n str) -> Result<&'n str> {
        let (text, lines) = split(note).ok_or_else(malformed)?;
        let mut is_signed = false;
        for line in lines.lines() {
            let (name, signature) = parse_signature(line).ok_or_else(malformed)?;
            if let Some(signature) = signature.strip_prefix(&self.id()).filter(|_| name == self.name) {
                let signature = <&[u8; SIGNATURE_LEN]>::try_from(signature).map_err(|_| malformed())?;
                if !self.key.vouches_for_text(text, signature) {
                    return Err(unsigned());
                }
                is_signed = true;
            }
        }
        if is_signed { Ok(text) } else { Err(unsigned()) }
    }

    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([b'\n', ED25519]).chain_update(self.key.0);
        let [a, b, c, d, ..] = <[u8; 32]>::from(hash.finalize());
        [a, b, c, d]
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::invalid("a verifier key is written <name>+<8 hex digits>+<base64>");
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key), true) = (parts.next(), parts.next(), parts.next(), text.len() < 1024)
        else {
            return Err(invalid());
        };
        let key = STANDARD.decode(key).ok().filter(|_| is_name(name)).ok_or_else(invalid)?;
        let key = key.strip_prefix(&[ED25519]).and_then(|key| key.try_into().ok()).ok_or_else(invalid)?;
        let key = Self { name: name.to_owned(), key: PublicKey(key) };
        // The id guards against a slip of the pen, and nothing else.
        if key.hex_id() == id { Ok(key) } else { Err(invalid()) }
    }
}

impl VerifierKey {
    fn hex_id(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.id()))
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[ED25519], &self.key.0[..]].concat());
        write!(f, "{}+{}+{key}", self.name, self.hex_id())
    }
}

/// The text, with its last newline, and the lines of the signatures.
fn split(note: &str) -> Option<(&str, &str)> {
    if !is_text(note) || !note.ends_with('\n') {
        return None;
    }
    let end = note.rfind("\n\n")?;
    let (text, lines) = (&note[..=end], &note[end + 2..]);
    (!lines.is_empty() && lines.lines().all(|line| line.starts_with(DASH))).then_some((text, lines))
}

fn parse_signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
    let signature = STANDARD.decode(signature).ok().filter(|bytes| bytes.len() > 4)?;
    is_name(name).then_some((name, signature))
}

fn is_name(name: &str) -> bool {
    (1..=NAME_MAX_LEN).contains(&name.len())
        && !name.chars().any(|char| char.is_whitespace() || char.is_control() || char == '+')
}

fn is_text(text: &str) -> bool {
    text.len() <= NOTE_MAX_LEN && !text.chars().any(|char| char < ' ' && char != '\n')
}

fn malformed() -> Error {
    Error::invalid("this is no signed note")
}

fn unsigned() -> Error {
    Error::new(ErrorKind::Tampered, "the note is not signed by this key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Key32;

    fn signer(byte: u8) -> Signer {
        Signer::new(&Key32::with(|seed| seed.fill(byte))).unwrap()
    }

    fn key(byte: u8, name: &str) -> VerifierKey {
        VerifierKey::new(name, signer(byte).public().unwrap()).unwrap()
    }

    /// The key and the note in the documentation of golang.org/x/mod/sumdb/note.
    #[test]
    fn a_note_of_others_is_read() {
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let parsed = VerifierKey::from_str(key).unwrap();
        assert_eq!(parsed.to_string(), key);
        assert!(parsed.open(note).unwrap().ends_with("what your problem is.\n"));
    }

    #[test]
    fn a_note_is_good_for_its_text_its_key_and_its_name_alone() {
        let note = sign(&signer(1), "log", "first\n\nsecond\n").unwrap();
        assert_eq!(key(1, "log").open(&note).unwrap(), "first\n\nsecond\n");
        let kind = |key: &VerifierKey, note: &str| key.open(note).unwrap_err().kind();
        assert_eq!(kind(&key(2, "log"), &note), ErrorKind::Tampered);
        assert_eq!(kind(&key(1, "other"), &note), ErrorKind::Tampered);
        assert_eq!(kind(&key(1, "log"), &note.replace("first", "First")), ErrorKind::Tampered);
        // A name and id that are ours with a signature that is not: refused, whatever else is signed.
        let (text, lines) = split(&note).unwrap();
        let forged = sign(&signer(1), "log", "other\n").unwrap();
        let both = format!("{text}\n{lines}{}", split(&forged).unwrap().1);
        assert_eq!(kind(&key(1, "log"), &both), ErrorKind::Tampered);
        let witnessed = format!("{text}\n{}{lines}", split(&sign(&signer(2), "witness", text).unwrap()).unwrap().1);
        assert_eq!(key(1, "log").open(&witnessed).unwrap(), text, "others may sign too");
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let note = sign(&signer(1), "log", "text\n").unwrap();
        let cut = note.trim_end().to_owned();
        let notes = [
            String::new(),
            "text\n".into(),
            "text\n\n".into(),
            cut,
            note.replace('t', "\t"),
            note.replace("log ", "l+g "),
            note.replace('\u{2014}', "-"),
            format!("{}\n{note}", "x".repeat(NOTE_MAX_LEN)),
        ];
        for note in notes {
            assert_eq!(key(1, "log").open(&note).unwrap_err().kind(), ErrorKind::Invalid, "{note:.80}");
        }
    }

    #[test]
    fn a_verifier_key_is_read_to_the_letter() {
        let key = key(1, "strongroom/x");
        let text = key.to_string();
        assert_eq!(text.parse::<VerifierKey>().unwrap(), key);
        for wrong in ["", "a+b", "+00000000+AA==", &text[1..], &format!("{text}="), &text.replace("room", "roon")] {
            assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong}");
        }
    }
}
