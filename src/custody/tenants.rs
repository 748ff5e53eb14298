//! What a custodian says of a tenant that is to be made, and is told of those that are there.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::directory::{Fence, Newcomer, Speaker, Status, Tenant, check_speakers, in_specs};
use crate::error::{Error, Result};
use crate::identity::Verifier;
use crate::keys::Policy;
use crate::name::{RegionName, TenantName};

/// A tenant that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[must_use = "a specification does nothing until a custodian makes the tenant"]
pub struct TenantSpec {
    name: String,
    speakers: Vec<Speaker>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    own_cell: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
}

/// A tenant, as a custodian sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TenantSummary {
    /// Its name.
    pub name: TenantName,
    /// Whether sessions of it are admitted.
    pub state: TenantState,
    /// What shuts it all the same, by the word of its owners or its own custodians.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// Who may speak for it.
    pub speakers: Vec<Speaker>,
    /// Where alone it lives, if it was made for a region.
    pub region: Option<RegionName>,
    /// When it was made, in seconds since 1970.
    pub created_secs: u64,
}

/// Whether a tenant's sessions are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TenantState {
    /// They are.
    Active,
    /// They are not, and its records are whole.
    Suspended,
    /// It has been deleted; what is left of it is being wiped.
    Deleting,
}

impl TenantSpec {
    /// A tenant `name`, for which tokens of `issuer` speak whose tenant claim (`tid`, unless the verifier was told another) has
    /// the value `tenant_claim`. Required, because a tenant for which nobody can speak is of no use, and one for which anybody
    /// can is worse. The store's verifier has to [know](crate::identity::Verifier::could_accept) the issuer when the tenant is made.
    pub fn new(name: impl Into<String>, issuer: impl Into<String>, tenant_claim: impl Into<String>) -> Self {
        let speakers = vec![Speaker::new(issuer, tenant_claim)];
        Self { name: name.into(), speakers, region: None, own_cell: false, policy: None }
    }

    /// One more pair of issuer and tenant claim that speaks for this tenant; at most 16, each once.
    pub fn speaker(mut self, issuer: impl Into<String>, tenant_claim: impl Into<String>) -> Self {
        self.speakers.push(Speaker::new(issuer, tenant_claim));
        self
    }

    /// The tenant lives in this region and nowhere else: every byte of its records and keys lies in the folder that
    /// [`StrongroomBuilder::region`](crate::StrongroomBuilder::region) names for it. Its row in the directory (name,
    /// speakers) lies in the store's own folder. Without this it lives in the store's own folder.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The tenant gets a cell of its own: a database, files and a folder that it shares with nobody, now or later.
    /// For few: a cell costs files, memory while it is open, and some hundredths of a second to make. Without this a
    /// tenant has a box of its own in a cell that it shares.
    pub fn own_cell(mut self) -> Self {
        self.own_cell = true;
        self
    }

    /// Whose consent the tenant's keys need from the beginning; the service's root key alone unless said otherwise. From
    /// then on only the tenant's own custodian changes it.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    pub(super) fn check(self) -> Result<Newcomer> {
        let Self { name, speakers, region, own_cell, policy } = self;
        let region = region.map(RegionName::new).transpose()?;
        let name = TenantName::new(name)?;
        check_speakers(&speakers)?;
        Ok(Newcomer { name, speakers, region, own_cell, policy })
    }
}

/// Checks that somebody could ever speak as each of these: an issuer with one slash more than its own speaks for nobody.
pub(crate) fn check_accepted(verifier: &dyn Verifier, speakers: &[Speaker]) -> Result<()> {
    let never = speakers.iter().find(|speaker| !verifier.could_accept(&speaker.issuer, &speaker.tenant));
    never.map_or(Ok(()), |Speaker { issuer, tenant }| {
        let text = format!("the verifier of this store accepts no credential of {issuer:?} for {tenant:?}");
        Err(Error::invalid(text))
    })
}

/// Checks each specification, and that no two are of one name.
pub(super) fn check_all(specs: Vec<TenantSpec>) -> Result<Vec<Newcomer>> {
    let check = |(place, spec): (usize, TenantSpec)| spec.check().map_err(|error| error.at(in_specs(place)));
    let newcomers = specs.into_iter().enumerate().map(check).collect::<Result<Vec<_>>>()?;
    let mut places = HashMap::with_capacity(newcomers.len());
    for (place, newcomer) in newcomers.iter().enumerate() {
        if let Some(first) = places.insert(&newcomer.name, place) {
            return Err(Error::invalid(format!("the name is that of specs[{first}]")).at(in_specs(place)));
        }
    }
    Ok(newcomers)
}

impl TenantState {
    /// The state in a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleting => "deleting",
        }
    }
}

impl TenantSummary {
    pub(super) fn of(tenant: &Tenant) -> Self {
        let state = match tenant.status() {
            Status::Active => TenantState::Active,
            Status::Suspended => TenantState::Suspended,
            Status::Destroying => TenantState::Deleting,
        };
        Self {
            name: tenant.name().clone(),
            state,
            fence: tenant.fence(),
            speakers: tenant.speakers().to_vec(),
            region: tenant.region().cloned(),
            created_secs: tenant.created_secs(),
        }
    }
}
