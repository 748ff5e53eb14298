//! What unit tests share: vectors, hex, and entropy that was written down beforehand.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::entropy::Entropy;
use crate::error::{Error, Result};
use crate::identity::{Claims, Rejection, SubjectKind, Verifier};
use crate::secret::Secret;

/// `tests/vectors/derive.json`, made by `tests/reference/derive.py` from the format page alone.
pub(crate) fn reference() -> Value {
    serde_json::from_str(include_str!("../tests/vectors/derive.json")).expect("valid JSON")
}

/// The entries of one section, at least as many as there were when the test was written.
pub(crate) fn section(name: &str, at_least: usize) -> Vec<Value> {
    let entries = reference()[name].as_array().expect("a section").clone();
    assert!(entries.len() >= at_least, "{name} has lost vectors");
    entries
}

pub(crate) fn hex(value: &Value) -> Vec<u8> {
    unhex(value.as_str().expect("hex text"))
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().expect("another length")
}

pub(crate) fn secret<const N: usize>(value: &Value) -> Secret<N> {
    Secret::from_slice(&hex(value)).expect("another length")
}

pub(crate) fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("a u32")
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// What lies, after `end`, where these bytes lay on the heap before it: read as the kernel shows this process, since
/// safe code cannot look. Without the first 16, in which allocators keep their books.
#[cfg(target_os = "linux")]
pub(crate) fn left_behind(place: *const u8, length: usize, end: impl FnOnce()) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let memory = std::fs::File::open("/proc/self/mem").expect("the memory of this process");
    let mut left = vec![0; length];
    end();
    memory.read_exact_at(&mut left, std::hint::black_box(place).addr() as u64).expect("the allocator's memory");
    left.split_off(16)
}

/// Takes the tenant from the credential at its word.
pub(crate) struct Gullible;

impl Verifier for Gullible {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let roles = ["read", "write", "custodian"].map(|role| format!("strongroom.{role}")).to_vec();
        Ok(Claims {
            issuer: "i".into(),
            tenant: credential.into(),
            subject: "s".into(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 60,
            roles,
            scopes: None,
        })
    }
}

/// A store in memory whose root keys lie in `folder` and whose verifier is [`Gullible`].
pub(crate) fn in_memory(folder: &std::path::Path) -> crate::StrongroomBuilder {
    let roots = crate::LocalRoots::open_with_root(folder.join("keys"), "service").expect("root keys");
    crate::Strongroom::in_memory(roots, Gullible).service_speaker("i", "service")
}

/// Hands out what it was given, call by call, and fails when a call asks for another length.
pub(crate) struct Scripted(Mutex<VecDeque<Vec<u8>>>);

impl Scripted {
    pub(crate) fn new(script: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(Mutex::new(script.into_iter().collect()))
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Entropy for Scripted {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let next = next.filter(|next| next.len() == buffer.len());
        buffer.copy_from_slice(&next.ok_or_else(|| Error::internal("the script says otherwise"))?);
        Ok(())
    }
}
