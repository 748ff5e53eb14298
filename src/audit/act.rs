//! What can be done to a store, by the names under which trails remember it.

use std::borrow::Cow;
use std::fmt;

/// What was done. A name of at most 64 bytes; the constants are those that this release writes. Names are never given
/// another meaning, and one that this release does not know is shown as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Act(Cow<'static, str>);

/// The longest name of an act, in bytes.
pub(super) const ACT_MAX_LEN: usize = 64;

macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Act {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)*
            /// Every act that this release writes.
            pub const KNOWN: &[Self] = &[$(Self::$name),*];
        }
    };
}

acts! {
    /// A tenant was made, with keys and a box of its own.
    TENANT_MADE = "tenant made";
    /// A tenant's sessions were ended, and no more are admitted.
    TENANT_SUSPENDED = "tenant suspended";
    /// A suspended tenant was opened again.
    TENANT_RESUMED = "tenant resumed";
    /// A tenant was deleted: its keys are gone.
    TENANT_DELETED = "tenant deleted";
    /// Another policy was proposed.
    POLICY_PROPOSED = "policy proposed";
    /// A proposed policy was put in force.
    POLICY_APPLIED = "policy applied";
    /// Other rules were proposed.
    RULES_PROPOSED = "rules proposed";
    /// Another policy was proposed because the root keys are lost.
    RECOVERY_PROPOSED = "recovery proposed";
    /// Giving access back was proposed.
    RESTORE_PROPOSED = "restore proposed";
    /// A proposal was taken back.
    PROPOSAL_WITHDRAWN = "proposal withdrawn";
    /// The rules of a tenant (dual control, automatic rotation, escrow) were changed.
    RULES_CHANGED = "rules changed";
    /// A custodian ordered fresh wrap secrets and a fresh ring key.
    ROOTS_ROTATED = "roots rotated";
    /// A new epoch is being written.
    EPOCH_BEGUN = "epoch begun";
    /// A new epoch is in force.
    EPOCH_DONE = "epoch done";
    /// A new generation of the tenant key is in use.
    GENERATION_ADDED = "generation added";
    /// Records of old generations are being sealed anew.
    RESEAL_BEGUN = "reseal begun";
    /// No record of an old generation is left.
    RESEAL_DONE = "reseal done";
    /// A generation's key was destroyed.
    GENERATION_RETIRED = "generation retired";
    /// A custodian ordered that nothing of the tenant opens.
    REVOKED = "revoked";
    /// A custodian lifted that order.
    RESTORED = "restored";
    /// A crash came between a change of a tenant's keys and its entry: the change is in force, and this is what it has come to.
    KEYS_SETTLED = "keys settled";
    /// An owner of a root key refused, and the tenant is fenced.
    FENCE_OBSERVED = "fence observed";
    /// An owner allows again, and the fence is lifted.
    FENCE_LIFTED = "fence lifted";
    /// The root keys cannot be reached; what is in memory serves on.
    OUTAGE_BEGUN = "outage begun";
    /// The root keys are still away, and what is in memory will soon serve no more.
    OUTAGE_WARNED = "outage warned";
    /// The root keys answer again.
    OUTAGE_ENDED = "outage ended";
    /// The recovery root is asked, in an outage or by order.
    RECOVERY_ROOT_USED = "recovery root used";
    /// A purge was asked for.
    PURGE_REQUESTED = "purge requested";
    /// A request for a purge was taken back.
    PURGE_CANCELLED = "purge cancelled";
    /// A second custodian approved a purge.
    PURGE_APPROVED = "purge approved";
    /// One step of a purge was taken.
    PURGE_STEP = "purge step";
    /// A purge is finished, and its receipt written.
    PURGE_DONE = "purge done";
    /// Rings were written into an escrow.
    RINGS_EXPORTED = "rings exported";
    /// A ring came back from an escrow.
    RINGS_IMPORTED = "rings imported";
    /// A backup was made.
    BACKUP_MADE = "backup made";
    /// A tenant's records came back from a backup as a new tenant.
    TENANT_RESTORED = "tenant restored";
    /// The store came back from a backup.
    STORE_RESTORED = "store restored";
    /// A root key was asked to unwrap or to wrap.
    ROOT_KEY_ASKED = "root key asked";
    /// Credentials were refused at the door of sessions: how many, for one reason, in one minute.
    SESSIONS_REFUSED = "sessions refused";
    /// Credentials were refused at the door of custodians: how many, for one reason, in one minute.
    CUSTODY_REFUSED = "custody refused";
    /// A trail was exported.
    AUDIT_EXPORTED = "audit exported";
}

impl Act {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The act of a name, known or not; `None` if that is no name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let is_name = (1..=ACT_MAX_LEN).contains(&name.len()) && !name.chars().any(char::is_control);
        is_name.then(|| {
            let known = Self::KNOWN.iter().find(|act| act.as_str() == name).cloned();
            known.unwrap_or_else(|| Self(Cow::Owned(name.to_owned())))
        })
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_has_a_name_of_its_own() {
        let mut names: Vec<&str> = Act::KNOWN.iter().map(Act::as_str).collect();
        assert!(names.len() > 30);
        assert!(names.iter().all(|name| Act::named(name).is_some()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Act::KNOWN.len());
    }

    #[test]
    fn a_name_of_a_later_release_is_shown_as_it_stands() {
        assert_eq!(Act::named("moon landed").unwrap().as_str(), "moon landed");
        assert_eq!(Act::named("revoked").unwrap(), Act::REVOKED);
        for bad in ["", "two\nlines", &"x".repeat(65)] {
            assert!(Act::named(bad).is_none(), "{bad:?}");
        }
    }
}
