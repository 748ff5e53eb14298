//! Purging a tenant for good, with proof: what is said about it, and the signed receipt that a customer keeps.
//!
//! A custodian of the tenant asks for it, which ends all access at once and can be taken back for as long as the tenant's
//! rules lay down. A second custodian approves. Then the keys are destroyed, the store searches itself for them, and
//! signs what it has found. The chapter [purge](crate::manual::purge) has the rest.
//!
//! [`verify_receipt`] verifies a receipt anywhere, without the store and without a key of it.

mod receipt;
mod verify;

use serde::{Deserialize, Serialize};

pub use self::receipt::{Declaration, Escrowed, Medium, Receipt, RootState, RootVersion, Samples};
pub(crate) use self::verify::digest;
pub use self::verify::{VerifiedReceipt, verify_receipt};
use crate::name::TenantName;
pub use crate::traces::{Hit, SearchReport, TraceKind};

/// What somebody has asked for, approved or declared, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Statement {
    /// Who vouched for them: the issuer of the credential.
    pub issuer: String,
    /// What the issuer calls the tenant.
    pub tenant: String,
    /// Who it was, in the issuer's words.
    pub subject: String,
    /// Why, in their words.
    pub reason: String,
    /// When, in seconds since 1970.
    pub at_secs: u64,
}

/// How far a purge has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PurgeStage {
    /// Asked for: access has ended, and nothing is destroyed. It can be taken back.
    Requested,
    /// Approved by a second custodian, and still to be taken back until it is carried out.
    Approved,
    /// The keys are destroyed; the proof has yet to be made.
    Destroying,
    /// The keys are destroyed, and something that could bring them back was found: the receipt says what. Remove it and
    /// have the store searched again.
    NeedsAttention,
    /// Destroyed and proven. Copies outside of the store may be left, which the receipt names.
    Proven,
    /// Destroyed and proven, and nothing is left that could open a stray copy.
    Final,
}

/// A purge, from its request on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PurgeStatus {
    /// The tenant.
    pub tenant: TenantName,
    /// What tells it from others of the same name: 32 hex digits.
    pub incarnation: String,
    /// How far it has come.
    pub stage: PurgeStage,
    /// Who has asked for it.
    pub requested: Statement,
    /// Until when it waits at least, in seconds since 1970, by the store's clock.
    pub due_secs: u64,
    /// Who has approved it.
    pub approved: Option<Statement>,
    /// When the keys were destroyed, in seconds since 1970.
    pub destroyed_secs: Option<u64>,
    /// Receipts that were issued; the last one counts.
    pub receipts: u32,
    /// What the last receipt lacks to be final.
    pub missing: Vec<String>,
}

impl PurgeStage {
    /// The stage in a word or two.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Destroying => "keys destroyed",
            Self::NeedsAttention => "needs attention",
            Self::Proven => "proven",
            Self::Final => "final",
        }
    }
}

impl Statement {
    /// Whether this is of the same person as another, whatever tenant their credentials were for: within an issuer a
    /// subject is one person.
    pub(crate) fn is_by_same_person(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.subject == other.subject
    }
}
