//! What a vault says of a key, and what our token may do with it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::kms::{RootDescription, RootError, RootRight};

/// A key as `GET <mount>/keys/<name>` shows it.
#[derive(Clone, Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are the vault's")]
pub(super) struct KeyInfo {
    #[serde(rename = "type")]
    algorithm: String,
    #[serde(default)]
    derived: bool,
    pub(super) latest_version: u32,
    min_decryption_version: u32,
    #[serde(default)]
    pub(super) min_available_version: u32,
    deletion_allowed: bool,
    exportable: bool,
    #[serde(default)]
    allow_plaintext_backup: bool,
    #[serde(default)]
    pub(super) soft_deleted: bool,
    /// By version, when each was made; of RSA keys the public half too.
    keys: BTreeMap<u32, serde_json::Value>,
}

/// How a key binds what it wraps to its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// As associated data of an AEAD.
    AssociatedData,
    /// In the derivation of the key that is used.
    Derivation,
    /// Not at all: RSA has no place for it.
    Nothing,
}

/// What a token may do, by path.
pub(super) type Capabilities = BTreeMap<String, Vec<String>>;

const AEAD: [&str; 4] = ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];
const RSA: [&str; 3] = ["rsa-2048", "rsa-3072", "rsa-4096"];

impl KeyInfo {
    /// # Errors
    /// `Disabled` for a kind of key that cannot wrap.
    pub(super) fn binding(&self) -> Result<Binding, RootError> {
        let is = |kinds: &[&str]| kinds.contains(&self.algorithm.as_str());
        match (is(&AEAD), self.derived, is(&RSA)) {
            (true, true, _) => Ok(Binding::Derivation),
            (true, false, _) => Ok(Binding::AssociatedData),
            (_, _, true) => Ok(Binding::Nothing),
            _ => {
                tracing::warn!(algorithm = self.algorithm, "a key of a kind that cannot wrap");
                Err(RootError::Disabled)
            }
        }
    }

    /// Whether this is the key that was seen `before`, a while ago, and not another that was made in its place.
    pub(super) fn is_same_as(&self, before: &Self) -> bool {
        let newest_then = before.latest_version;
        self.algorithm == before.algorithm
            && self.latest_version >= newest_then
            && before.keys.get(&newest_then).is_some_and(|made| self.keys.get(&newest_then) == Some(made))
    }

    pub(super) fn describe(&self, location: String) -> Result<RootDescription, RootError> {
        let binding = self.binding()?;
        let derived = if self.derived { " (derived)" } else { "" };
        let oldest = self.min_decryption_version.max(self.min_available_version).max(1);
        Ok(RootDescription {
            algorithm: Some(format!("{}{derived}", self.algorithm)),
            binds_context: Some(binding != Binding::Nothing),
            anyone_can_wrap: Some(binding == Binding::Nothing),
            current_version: Some(format!("v{}", self.latest_version)),
            oldest_usable_version: Some(format!("v{oldest}")),
            current_since_secs: self.keys.get(&self.latest_version).and_then(serde_json::Value::as_u64),
            deletion_allowed: Some(self.deletion_allowed),
            exportable: Some(self.exportable || self.allow_plaintext_backup),
            location: Some(location),
            ..RootDescription::new(super::PROVIDER)
        })
    }
}

/// The paths that say what a token may do with a key, each with what it stands for.
pub(super) fn paths(mount: &str, key: &str) -> [(String, RootRight); 8] {
    [
        (encrypt_path(mount, key), RootRight::Wrap),
        (format!("{mount}/decrypt/{key}"), RootRight::Unwrap),
        (format!("{mount}/keys/{key}"), RootRight::Describe),
        (format!("{mount}/keys/{key}/rotate"), RootRight::Rotate),
        (format!("{mount}/keys/{key}/config"), RootRight::Configure),
        (format!("{mount}/keys/{key}/soft-delete"), RootRight::Delete),
        (format!("{mount}/export/encryption-key/{key}"), RootRight::Export),
        (format!("{mount}/backup/{key}"), RootRight::Export),
    ]
}

pub(super) fn encrypt_path(mount: &str, key: &str) -> String {
    format!("{mount}/encrypt/{key}")
}

pub(super) fn rights(mount: &str, key: &str, capabilities: &Capabilities) -> BTreeSet<RootRight> {
    let any = |path: &str, wanted: &[&str]| {
        let granted = capabilities.get(path).map_or(&[][..], Vec::as_slice);
        granted.iter().any(|one| one == "root" || wanted.contains(&one.as_str()))
    };
    let mut rights: BTreeSet<RootRight> = paths(mount, key)
        .into_iter()
        .filter(|(path, right)| match right {
            RootRight::Describe | RootRight::Export => any(path, &["read"]),
            RootRight::Delete => any(path, &["delete"]),
            _ => any(path, &["update", "create"]),
        })
        .map(|(_, right)| right)
        .collect();
    if any(&format!("{mount}/keys/{key}"), &["delete"]) {
        rights.insert(RootRight::Delete);
    }
    rights
}

/// Whether a token may make a key by wrapping under a name that has none.
pub(super) fn may_create(mount: &str, key: &str, capabilities: &Capabilities) -> bool {
    let granted = capabilities.get(&encrypt_path(mount, key));
    granted.is_none_or(|granted| granted.iter().any(|one| matches!(one.as_str(), "create" | "root" | "sudo")))
}
