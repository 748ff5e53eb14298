//! Proving a root key: it wraps and unwraps, for the right context only, and this is what it allows.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{Call, CallId, RootDescription, RootError, RootId, RootKeys, RootRight, WrapContext, WrapSecret};
use crate::entropy::{Entropy, OsEntropy};
use crate::error::{Error, Result};
use crate::secret::Key32;

/// What a check of a root key found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RootCheck {
    /// The name of the root key.
    pub root: String,
    /// The version that wrapped, and unwrapped, in this check.
    pub version: String,
    /// What the provider says of the key.
    pub description: RootDescription,
    /// What an owner should know, the gravest first.
    pub findings: Vec<RootFinding>,
    /// The correlation ids of the calls that were made.
    pub calls: Vec<CallId>,
}

/// Something that a check found. The order is that of gravity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RootFinding {
    /// What it wrapped for one tenant or epoch it unwrapped for another, though its kind of key binds them.
    ContextIgnored,
    /// Wrapping under a key that is gone silently makes a new one of its name: a destroyed key seems to live.
    RecreatesMissingKeys,
    /// The key's own bytes can be had from its provider.
    Exportable,
    /// The key can be deleted, by mistake too.
    DeletionAllowed,
    /// This client may do more with the key than wrap, unwrap and describe.
    MoreRightsThanNeeded,
    /// The key has a public half, with which anybody can wrap: good for tenants, whose rings the directory vouches for,
    /// and not for the store's own root.
    AnyoneCanWrap,
    /// Its kind of key binds no context; the key that is derived from the wrapped secret does.
    ContextNotBound,
    /// Versions before the current one still unwrap: whoever has an old ring and an old version can open it.
    OldVersionsUnwrap,
    /// The provider does not say what the key is, or this client may not see it.
    NotDescribed,
}

impl RootFinding {
    /// Whether a key of which this is true must not be relied on.
    #[must_use]
    pub fn is_fault(self) -> bool {
        matches!(self, Self::ContextIgnored)
    }
}

impl RootCheck {
    /// Whether the key may be relied on: it gave back what it wrapped, and nothing found is a fault.
    ///
    /// # Errors
    /// [`Tampered`](crate::ErrorKind::Tampered) if something is.
    pub fn prove(&self) -> Result<()> {
        if self.findings.iter().any(|finding| finding.is_fault()) {
            tracing::error!(root = %self.root, findings = ?self.findings, "a root key failed its check");
            return Err(Error::tampered());
        }
        Ok(())
    }
}

/// Wraps and unwraps 32 random bytes that nothing else is under, tries to unwrap them for another tenant and epoch, and
/// asks what the key is: five calls. Whoever is about to rely on a root key, or to let another go, checks it first,
/// and then looks at [`RootCheck::prove`].
///
/// # Errors
/// As the root answers. [`RootError::Tampered`] if it does not give back what it wrapped.
pub fn check_root(roots: &dyn RootKeys, root: &RootId) -> Result<RootCheck, RootError> {
    let mut check = Check { roots, root, calls: Vec::new() };
    let entropy: &dyn Entropy = &OsEntropy;
    let tenant = entropy.bytes().map_err(|_| RootError::Unreachable)?;
    let secret = WrapSecret::new(Key32::random(entropy).map_err(|_| RootError::Unreachable)?);
    let wrapped = roots.wrap(root, &secret, &check.context(tenant, 1)?)?;
    let back = roots.unwrap(root, &wrapped, &check.context(tenant, 1)?)?;
    if !bool::from(back.key().ct_eq(secret.key())) {
        return Err(RootError::Tampered);
    }
    let mut is_bound = true;
    for (tenant, epoch) in [(tenant.map(|byte| !byte), 1), (tenant, 2)] {
        match roots.unwrap(root, &wrapped, &check.context(tenant, epoch)?) {
            Err(RootError::Tampered) => {}
            Ok(_) => is_bound = false,
            Err(error) => return Err(error),
        }
    }
    let call = check.call()?;
    let described = roots.describe(root, &call);
    let mut findings = Vec::new();
    let description = match described {
        Ok(description) => description,
        // It may wrap and unwrap, and that is all it needs.
        Err(RootError::Denied) => RootDescription::default(),
        Err(error) => return Err(error),
    };
    find(&description, is_bound, &mut findings);
    let calls = check.calls;
    Ok(RootCheck { root: root.as_str().to_owned(), version: wrapped.version, description, findings, calls })
}

struct Check<'r> {
    roots: &'r dyn RootKeys,
    root: &'r RootId,
    calls: Vec<CallId>,
}

impl Check<'_> {
    fn call(&mut self) -> Result<Call, RootError> {
        let call = Call::new().map_err(|_| RootError::Unreachable)?;
        self.calls.extend(self.roots.is_external(self.root).then_some(call.id()));
        Ok(call)
    }

    fn context(&mut self, incarnation: [u8; 16], epoch: u32) -> Result<WrapContext, RootError> {
        Ok(WrapContext::new(incarnation, self.root.clone(), epoch, self.call()?))
    }
}

fn find(description: &RootDescription, is_bound: bool, findings: &mut Vec<RootFinding>) {
    let mut note = |finding, is_true: bool| findings.extend(is_true.then_some(finding));
    note(RootFinding::ContextIgnored, !is_bound && description.binds_context != Some(false));
    note(RootFinding::RecreatesMissingKeys, description.recreates_missing_keys == Some(true));
    note(RootFinding::Exportable, description.exportable == Some(true));
    note(RootFinding::DeletionAllowed, description.deletion_allowed == Some(true));
    let excess = description.rights.as_ref().is_some_and(|rights| !rights.iter().copied().all(RootRight::is_needed));
    note(RootFinding::MoreRightsThanNeeded, excess);
    note(RootFinding::AnyoneCanWrap, description.anyone_can_wrap == Some(true));
    note(RootFinding::ContextNotBound, !is_bound && description.binds_context == Some(false));
    note(RootFinding::OldVersionsUnwrap, description.oldest_usable_version != description.current_version);
    note(RootFinding::NotDescribed, description.algorithm.is_none());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::kms::Wrapped;

    /// A root key that is broken in one way.
    struct Broken {
        gives_back: u8,
        binds: Option<bool>,
    }

    impl RootKeys for Broken {
        fn wrap(&self, _: &RootId, secret: &WrapSecret, _: &WrapContext) -> Result<Wrapped, RootError> {
            Ok(Wrapped {
                version: "1".into(),
                bytes: secret.expose_secret().map(|byte| byte ^ self.gives_back).to_vec(),
            })
        }

        fn unwrap(&self, _: &RootId, wrapped: &Wrapped, _: &WrapContext) -> Result<WrapSecret, RootError> {
            WrapSecret::from_slice(&wrapped.bytes).ok_or(RootError::Tampered)
        }

        fn describe(&self, _: &RootId, _: &Call) -> Result<RootDescription, RootError> {
            Ok(RootDescription { binds_context: self.binds, ..RootDescription::new("broken") })
        }
    }

    #[test]
    fn a_root_that_is_broken_is_not_proven() {
        let root = RootId::new("broken").unwrap();
        let check = |gives_back, binds| check_root(&Broken { gives_back, binds }, &root);
        assert_eq!(check(1, None).unwrap_err(), RootError::Tampered, "it gives back something else");
        for binds in [None, Some(true)] {
            let check = check(0, binds).unwrap();
            assert!(check.findings.contains(&RootFinding::ContextIgnored));
            assert_eq!(check.prove().unwrap_err().kind(), ErrorKind::Tampered);
        }
        let honest = check(0, Some(false)).unwrap();
        assert_eq!(honest.findings, [RootFinding::ContextNotBound, RootFinding::NotDescribed]);
        honest.prove().unwrap();
        let text = serde_json::to_string(&honest).unwrap();
        assert_eq!(serde_json::from_str::<RootCheck>(&text).unwrap(), honest);
    }
}
