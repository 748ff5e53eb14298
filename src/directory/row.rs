//! The row of a tenant in the directory.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::keys::{Belief, EpochBelief};
use crate::name::{Incarnation, RegionName, TenantName};

/// Who may speak for a tenant: an issuer of tokens, and what that issuer calls the tenant (`tid`). Both must match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speaker {
    /// The issuer, to the letter as in the claim `iss`.
    pub issuer: String,
    /// The tenant, to the letter as in the issuer's tenant claim.
    pub tenant: String,
}

/// What the directory holds of one tenant. Which ring is believed is written here, and only here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: TenantName,
    pub(crate) incarnation: Incarnation,
    pub(crate) cell: u32,
    pub(crate) box_number: u32,
    pub(crate) status: Status,
    pub(crate) speakers: Vec<Speaker>,
    pub(crate) created_secs: u64,
    pub(crate) epoch: Epoch,
    /// The epoch that is being changed to.
    pub(crate) next: Option<Box<Epoch>>,
    /// The least sequence of a slot to be believed.
    pub(crate) sequence: u64,
    /// When the roots last allowed, in seconds since 1970; 0 if an owner has refused since.
    pub(crate) last_allowed_secs: u64,
    /// Set when an owner has refused.
    pub(crate) fence: Option<Fence>,
    /// Where alone it may live; anywhere in the store's own folder if none.
    pub(crate) region: Option<RegionName>,
    /// Set once the box has a catalog: from then on an empty box is one that was emptied.
    pub(crate) stamped: bool,
}

/// An epoch as the row knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Epoch {
    pub(crate) number: u32,
    pub(crate) policy_digest: [u8; 32],
    pub(crate) ring_check: [u8; 32],
}

/// Why nothing of a tenant opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fence {
    /// An owner of a root key has refused. It lifts when the root keys of an alternative allow again.
    Observed,
    /// A custodian of the tenant has [revoked](crate::TenantCustody::revoke) all access. It lifts only on a custodian's
    /// word.
    Ordered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Active,
    Suspended,
    /// Deleted; what is left of it is being wiped.
    Destroying,
}

/// The longest issuer or tenant claim, in bytes, and the most speakers of a tenant.
const SPEAKER_MAX_LEN: usize = 512;
const SPEAKERS_MAX: usize = 16;

impl Speaker {
    /// An issuer and what it calls the tenant.
    #[must_use]
    pub fn new(issuer: impl Into<String>, tenant: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), tenant: tenant.into() }
    }

    /// Who vouches.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// For which tenant, in the issuer's words.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    fn check(&self) -> Result<()> {
        let good = |text: &str| (1..=SPEAKER_MAX_LEN).contains(&text.len()) && !text.chars().any(char::is_control);
        if good(&self.issuer) && good(&self.tenant) {
            return Ok(());
        }
        Err(Error::invalid("an issuer and its tenant claim have 1 to 512 bytes each and no control characters"))
    }
}

impl Row {
    pub(crate) fn new(
        name: TenantName,
        speakers: Vec<Speaker>,
        region: Option<RegionName>,
        cell: u32,
        box_number: u32,
        belief: &Belief,
        created_secs: u64,
    ) -> Result<Self> {
        let epoch = belief.epochs.first().and_then(Epoch::from_belief);
        Ok(Self {
            epoch: epoch.ok_or_else(|| Error::internal("a new ring has no epoch"))?,
            incarnation: belief.incarnation,
            sequence: belief.least_sequence,
            status: Status::Active,
            last_allowed_secs: created_secs.max(1),
            next: None,
            fence: None,
            region,
            stamped: false,
            name,
            cell,
            box_number,
            speakers,
            created_secs,
        })
    }

    /// What to believe of this tenant's ring.
    #[cfg(any(feature = "backup", fuzzing))]
    pub(crate) fn belief(&self) -> Belief {
        let epochs = std::iter::once(&self.epoch).chain(self.next.as_deref()).map(Epoch::to_belief).collect();
        Belief { incarnation: self.incarnation, epochs, least_sequence: self.sequence }
    }
}

impl Epoch {
    pub(super) fn from_belief(belief: &EpochBelief) -> Option<Self> {
        let (number, policy_digest) = (belief.epoch, belief.policy_digest);
        belief.ring_check.map(|ring_check| Self { number, policy_digest, ring_check })
    }

    pub(super) fn to_belief(&self) -> EpochBelief {
        let Self { number, policy_digest, ring_check } = *self;
        EpochBelief { epoch: number, policy_digest, ring_check: Some(ring_check) }
    }
}

/// Checks who may speak for a new tenant.
pub(crate) fn check_speakers(speakers: &[Speaker]) -> Result<()> {
    if !(1..=SPEAKERS_MAX).contains(&speakers.len()) {
        return Err(Error::invalid("a tenant has 1 to 16 pairs of issuer and tenant claim"));
    }
    let named_before = |(place, speaker): (usize, &Speaker)| speakers[..place].contains(speaker);
    if speakers.iter().enumerate().any(named_before) {
        return Err(Error::invalid("a pair of issuer and tenant claim is named twice"));
    }
    speakers.iter().try_for_each(Speaker::check)
}
