//! The acts that the desk knows, each with what it answers and what it would change.

use serde::{Deserialize, Serialize};

use super::answer::{Change, Done, Identity, Status, of_tenant};
use super::audit_act::{AuditAct, TrailName};
use super::purge_act::{self, PurgedAct};
#[cfg(feature = "backup")]
use super::safekeeping;
use super::tenant_act::TenantAct;
use super::wire::Progress;
#[cfg(feature = "backup")]
use super::wire::Secret;
use super::{Folders, Line};
use crate::custody::{Custody, RootRotation, TenantSpec, TenantState, TenantSummary};
use crate::error::{Error, Result};
use crate::kms::RootId;

/// What a custodian may ask for. The names in JSON are those here in lower case, with underscores.
///
/// Paths do not occur: an act on files names a folder by the name that [`CustodyDesk::folder`] gave it, and a file in
/// it by a name without a slash.
///
/// [`CustodyDesk::folder`]: super::CustodyDesk::folder
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Act {
    /// Who the token says that its bearer is, and until when. Answered with [`Done::Identity`].
    WhoAmI,
    /// How the store is. Answered with [`Done::Status`].
    Status,
    /// [`Custody::doctor`]. Answered with [`Done::Health`].
    Doctor,
    /// Every tenant. Answered with [`Done::Tenants`].
    ListTenants,
    /// One tenant. Answered with [`Done::Tenant`].
    ShowTenant {
        /// Its name.
        name: String,
    },
    /// [`Custody::create_tenant`]. Answered with [`Done::Tenant`].
    CreateTenant(TenantSpec),
    /// [`Custody::suspend_tenant`]. Answered with [`Done::Acknowledged`].
    SuspendTenant {
        /// Its name.
        name: String,
    },
    /// [`Custody::resume_tenant`]. Answered with [`Done::Acknowledged`].
    ResumeTenant {
        /// Its name.
        name: String,
    },
    /// [`Custody::delete_tenant`]. Answered with [`Done::Acknowledged`].
    DeleteTenant {
        /// Its name.
        name: String,
    },
    /// [`Custody::rotate_root`]. Answered with [`Done::Rotated`].
    RotateRoot {
        /// The root key.
        root: String,
        /// At most so many tenants in a second.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        per_second: Option<u32>,
    },
    /// [`Custody::check_root`]. Answered with [`Done::Checked`].
    CheckRoot {
        /// The root key.
        root: String,
    },
    /// Reads an audit trail.
    Audit {
        /// Whose.
        trail: TrailName,
        /// What is asked of it.
        act: AuditAct,
    },
    /// An act of a tenant's own custodian, through [`Strongroom::tenant_custody`](crate::Strongroom::tenant_custody).
    ForTenant {
        /// The tenant.
        tenant: String,
        /// What is asked for.
        act: TenantAct,
    },
    /// [`Custody::purges`]. Answered with [`Done::Purges`].
    Purges,
    /// [`Custody::run_purges`]. Answered with [`Done::PurgesRun`].
    RunPurges,
    /// What is left to say of a purged tenant, for the service's custodians: [`Custody::purged_tenant`].
    PurgedTenant {
        /// The tenant.
        tenant: String,
        /// What is asked for.
        act: PurgedAct,
    },
    /// The same for custodians who spoke for the tenant, through
    /// [`Strongroom::purged_tenant`](crate::Strongroom::purged_tenant).
    ForPurgedTenant {
        /// The tenant.
        tenant: String,
        /// What is asked for.
        act: PurgedAct,
    },
    /// [`Custody::export_rings`], into a file that is not there yet. Answered with [`Done::Exported`].
    #[cfg(feature = "backup")]
    ExportRings {
        /// The folder, by its name.
        folder: String,
        /// The file: 1 to 63 bytes of `a-z`, `0-9`, `-`, `_` and `.`, beginning with a letter or digit.
        file: String,
        /// Whom the escrow is sealed to.
        seal: Seal,
    },
    /// [`Custody::import_rings`], from a file that is there. Answered with [`Done::Imported`].
    #[cfg(feature = "backup")]
    ImportRings {
        /// The folder, by its name.
        folder: String,
        /// The file, as an export has named it.
        file: String,
        /// What opens the escrow.
        key: Unseal,
        /// Whose rings; every tenant's if none is named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tenants: Vec<String>,
    },
    /// [`Custody::backup`]. Answered with [`Done::BackedUp`].
    #[cfg(feature = "backup")]
    Backup {
        /// The folder, by its name.
        folder: String,
        /// What is backed up.
        of: Extent,
        /// [`BackupPlan::escrow_never`](crate::backup::BackupPlan::escrow_never).
        #[serde(default)]
        escrow_never: bool,
        /// [`BackupPlan::accept_gaps`](crate::backup::BackupPlan::accept_gaps).
        #[serde(default)]
        accept_gaps: bool,
    },
    /// [`Custody::backups`]. Answered with [`Done::Backups`].
    #[cfg(feature = "backup")]
    ListBackups {
        /// The folder, by its name.
        folder: String,
    },
    /// [`Custody::verify_backup`]. Answered with [`Done::Verified`].
    #[cfg(feature = "backup")]
    VerifyBackup {
        /// The folder, by its name.
        folder: String,
        /// Which backup; the newest if none is named.
        number: Option<u64>,
    },
    /// [`Custody::restore_tenant`]. Answered with [`Done::Tenant`].
    #[cfg(feature = "backup")]
    RestoreTenant {
        /// The folder, by its name.
        folder: String,
        /// Which backup; the newest if none is named.
        number: Option<u64>,
        /// The tenant as it was called then.
        tenant: String,
        /// What it is to be called beside the living.
        name: String,
    },
}

/// Whom an escrow is sealed to.
#[cfg(feature = "backup")]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seal {
    /// Recovery keys, `age1..`; any one of them opens.
    Recipients(Vec<String>),
    /// A passphrase of twelve bytes at least.
    Passphrase(Secret),
}

/// What opens an escrow.
#[cfg(feature = "backup")]
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unseal {
    /// The secret half of a recovery key, `AGE-SECRET-KEY-1..`.
    Identity(Secret),
    /// The passphrase that it was sealed to.
    Passphrase(Secret),
}

/// What a backup is of.
#[cfg(feature = "backup")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// The whole store.
    Store,
    /// The cell of this number.
    Cell(u32),
    /// The tenant of this name.
    Tenant(String),
}

impl Act {
    /// Does it.
    #[cfg_attr(not(feature = "backup"), expect(unused_variables, reason = "only acts on files need them"))]
    pub(super) fn run(self, custody: &Custody, folders: &Folders, line: &mut Line<'_>) -> Result<Done> {
        let acknowledged = |()| Done::Acknowledged;
        match self {
            Self::WhoAmI => Ok(Done::Identity(Identity::of(custody.identity()))),
            Self::Status => Status::of(custody).map(Done::Status),
            Self::Doctor => custody.doctor().map(Done::Health),
            Self::ListTenants => custody.tenants().map(Done::Tenants),
            Self::ShowTenant { name } => custody.tenant(&name).map(Done::Tenant),
            Self::CreateTenant(spec) => custody.create_tenant(spec).map(Done::Tenant),
            Self::SuspendTenant { name } => custody.suspend_tenant(&name).map(acknowledged),
            Self::ResumeTenant { name } => custody.resume_tenant(&name).map(acknowledged),
            Self::DeleteTenant { name } => custody.delete_tenant(&name).map(acknowledged),
            Self::RotateRoot { root, per_second } => rotate_root(custody, &root, per_second, line),
            Self::CheckRoot { root } => custody.check_root(&root).map(Box::new).map(Done::Checked),
            Self::Audit { trail, act } => act.run(&(custody, trail.borrow()), line),
            Self::Purges => custody.purges().map(Done::Purges),
            Self::RunPurges => purge_act::run_all(custody),
            Self::PurgedTenant { tenant, act } => act.run(&custody.purged_tenant(&tenant)?, line),
            Self::ForTenant { .. } | Self::ForPurgedTenant { .. } => Err(for_another_door()),
            #[cfg(feature = "backup")]
            other => safekeeping::run(other, custody, folders, line),
        }
    }

    /// Checks that it could be done, and says what would change. Changes nothing.
    #[cfg_attr(not(feature = "backup"), expect(unused_variables, reason = "only acts on files need them"))]
    pub(super) fn plan(self, custody: &Custody, folders: &Folders) -> Result<Vec<Change>> {
        match self {
            Self::WhoAmI | Self::Status | Self::Doctor | Self::ListTenants => Ok(Vec::new()),
            Self::ShowTenant { name } => custody.tenant(&name).map(|_| Vec::new()),
            Self::CreateTenant(spec) => custody.check_create(spec).map(|name| vec![Change::made(&name, "active")]),
            Self::SuspendTenant { name } => plan_state(&custody.check_change(&name)?, TenantState::Suspended),
            Self::ResumeTenant { name } => plan_state(&custody.check_change(&name)?, TenantState::Active),
            Self::DeleteTenant { name } => {
                let tenant = custody.tenant(&name)?;
                let from = Some(tenant.state.as_str().to_owned());
                Ok(vec![Change { of: of_tenant(&tenant.name), from, to: None, is_final: true }])
            }
            Self::RotateRoot { root, .. } => plan_rotation(custody, &root),
            Self::CheckRoot { root } => RootId::new(root).map(|_| Vec::new()),
            Self::Audit { trail, act } => act.plan(&(custody, trail.borrow())).map(|()| Vec::new()),
            Self::Purges => custody.purges().map(|_| Vec::new()),
            Self::RunPurges => purge_act::plan_all(custody),
            Self::PurgedTenant { tenant, act } => act.plan(&custody.purged_tenant(&tenant)?),
            Self::ForTenant { .. } | Self::ForPurgedTenant { .. } => Err(for_another_door()),
            #[cfg(feature = "backup")]
            other => safekeeping::plan(other, custody, folders),
        }
    }
}

/// A change of state; none if the tenant is in it.
#[expect(clippy::unnecessary_wraps, reason = "one arm of a match of results")]
fn plan_state(tenant: &TenantSummary, to: TenantState) -> Result<Vec<Change>> {
    let change = |from: TenantState| Change {
        of: of_tenant(&tenant.name),
        from: Some(from.as_str().to_owned()),
        to: Some(to.as_str().to_owned()),
        is_final: false,
    };
    Ok(Some(tenant.state).filter(|state| *state != to).map(change).into_iter().collect())
}

/// The desk has sent a tenant's act to the service's door.
fn for_another_door() -> Error {
    Error::internal("an act of a tenant's own custodian")
}

fn rotate_root(custody: &Custody, root: &str, per_second: Option<u32>, line: &mut Line<'_>) -> Result<Done> {
    let has_gone = std::cell::Cell::new(false);
    let rotation = RootRotation::new(root)
        .on_progress(|done, total| {
            let progress = Progress { of: "tenants".to_owned(), done: done as u64, total: total as u64 };
            has_gone.set(line.tell(progress).is_err());
        })
        .stop_when(|| has_gone.get());
    let rotation = per_second.into_iter().fold(rotation, RootRotation::per_second);
    custody.rotate_root(rotation).map(Done::Rotated)
}

fn plan_rotation(custody: &Custody, root: &str) -> Result<Vec<Change>> {
    let (tenants, unknown) = custody.check_rotate_root(root)?;
    let change = |of: String| Change {
        of,
        from: Some("an epoch under some version of the root key".to_owned()),
        to: Some("an epoch under its newest, unless it is there already".to_owned()),
        is_final: true,
    };
    let named = tenants.iter().map(of_tenant);
    let rest = (unknown > 0).then(|| format!("{unknown} tenants whose rings cannot be read now"));
    Ok(named.chain(rest).map(change).collect())
}
