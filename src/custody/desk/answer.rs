//! What the desk answers, and what it says of a dry run.

use serde::{Deserialize, Serialize};

use super::audit_act::TrailVerdict;
use super::wire::Refusal;
use crate::access::VerifiedIdentity;
#[cfg(feature = "backup")]
use crate::backup::{BackupReport, BackupSummary, ExportReport, ImportReport, VerifyReport};
use crate::custody::{
    AccessStatus, Blocker, Custody, Health, KeyStatus, RetireReport, RotationReport, TenantState, TenantSummary,
};
use crate::directory::{Proposal, Rules, Speaker, Stats};
use crate::error::Result;
use crate::kms::RootCheck;
use crate::name::TenantName;
use crate::purge::PurgeStatus;
use crate::reseal::{Census, ResealReport};

/// What an act has come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Done {
    /// Of a dry run: what would change.
    Planned(Vec<Change>),
    /// It has been done, durably, and there is no more to say.
    Acknowledged,
    /// Who asks.
    Identity(Identity),
    /// How the store is.
    Status(Status),
    /// What a look over the store has found.
    Health(Health),
    /// Every tenant, by name.
    Tenants(Vec<TenantSummary>),
    /// One tenant.
    Tenant(TenantSummary),
    /// Which tenants have been moved to the newest version of a root key.
    Rotated(RotationReport),
    /// What a root key does and allows.
    Checked(Box<RootCheck>),
    /// Events of a trail, as they stand in an export.
    Events(Vec<serde_json::Value>),
    /// A trail that is what it should be.
    Trail(TrailVerdict),
    /// The signed head of a trail.
    Checkpoint(String),
    /// Whose signature the checkpoints of a trail bear.
    VerifierKey(String),
    /// A receipt of a purge: a signed note, to the byte.
    Receipt(String),
    /// A purge, if there is one.
    Purge(Option<Box<PurgeStatus>>),
    /// Purges, by tenant.
    Purges(Vec<PurgeStatus>),
    /// What has become of the purges that were carried out or gone on with.
    PurgesRun(Vec<PurgeRun>),
    /// Whether anything of a tenant opens.
    Access(AccessStatus),
    /// A tenant's keys.
    Keys(KeyStatus),
    /// The generation of a tenant's keys that is written under now.
    Generation(u32),
    /// A tenant's records, by generation.
    Census(Census),
    /// What a reseal has come to.
    Resealed(ResealReport),
    /// Whether the key of a generation can be destroyed.
    CanDestroy(GenerationVerdict),
    /// The key of a generation is destroyed, and what that leaves to be thought of.
    Retired(RetireReport),
    /// The key of a generation has not been destroyed, because of what this names.
    NotRetired(GenerationVerdict),
    /// What a tenant's custodians have agreed on.
    Rules(Rules),
    /// What is proposed, oldest first.
    Proposals(Vec<Proposal>),
    /// The number of what has been proposed.
    Proposed(u32),
    /// What lies in the escrow.
    #[cfg(feature = "backup")]
    Exported(ExportReport),
    /// Whose rings came back from the escrow.
    #[cfg(feature = "backup")]
    Imported(ImportReport),
    /// What lies in the backup.
    #[cfg(feature = "backup")]
    BackedUp(BackupReport),
    /// The backups in a folder, oldest first.
    #[cfg(feature = "backup")]
    Backups(Vec<BackupSummary>),
    /// What was read.
    #[cfg(feature = "backup")]
    Verified(VerifyReport),
}

/// What an act would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Of what, for instance `tenant contoso`.
    pub of: String,
    /// How it is; `None` if it is not there.
    pub from: Option<String>,
    /// How it would be; `None` if it would no longer be there.
    pub to: Option<String>,
    /// Whether nothing brings back what was.
    pub is_final: bool,
}

/// Whom a token names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The issuer, and whom its tenant claim names.
    pub speaker: Speaker,
    /// The person or program.
    pub subject: String,
    /// From this second since 1970 on the store no longer counts it. At most an hour away.
    pub ends_at_secs: u64,
}

/// How a store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What it holds and takes.
    pub stats: Stats,
    /// Tenants that are suspended.
    pub suspended: usize,
    /// Tenants whose deletion is not finished.
    pub deleting: usize,
}

/// Whether the key of a generation can be destroyed. That it can is no proof: [`TenantAct::Retire`] asks again.
///
/// [`TenantAct::Retire`]: super::TenantAct::Retire
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationVerdict {
    /// The generation.
    pub generation: u32,
    /// Everything that is in the way; nothing is, if there is none.
    pub blockers: Vec<Blocker>,
}

/// What has become of one purge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeRun {
    /// How far it has come; if it failed, as it was before.
    pub status: PurgeStatus,
    /// Why it failed, if it did. It is tried again.
    pub failure: Option<Refusal>,
}

impl Change {
    /// A tenant that was not there.
    pub(super) fn made(name: &TenantName, state: &str) -> Self {
        Self { of: of_tenant(name), from: None, to: Some(state.to_owned()), is_final: false }
    }
}

impl Identity {
    pub(super) fn of(identity: &VerifiedIdentity) -> Self {
        Self {
            speaker: identity.speaker().clone(),
            subject: identity.subject().to_owned(),
            ends_at_secs: identity.ends_at_secs(),
        }
    }
}

impl Status {
    pub(super) fn of(custody: &Custody) -> Result<Self> {
        let (stats, tenants) = (custody.stats()?, custody.tenants()?);
        let count = |state| tenants.iter().filter(|tenant| tenant.state == state).count();
        Ok(Self { stats, suspended: count(TenantState::Suspended), deleting: count(TenantState::Deleting) })
    }
}

pub(super) fn of_tenant(name: &TenantName) -> String {
    format!("tenant {}", name.as_str())
}
