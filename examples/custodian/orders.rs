//! From commands to requests.

use std::path::Path;
use std::time::Duration;

use strongroom::desk::{AccessAct, Act, AuditAct, Extent, PurgedAct, Seal, Secret, TenantAct, TrailName};
use strongroom::{Policy, Rules, TenantSpec};

use crate::cli::{Audit, Backup, Command, PolicyTerms, Purge, Restore, Ring, Root, Tenant};
use crate::door::Door;
use crate::failure::Failure;
use crate::steps::of_purged;
use crate::{cli, offline};

/// What is to be asked for, in order.
pub fn acts(command: &Command, door: &mut Door<'_>, dry_run: bool) -> Result<Vec<Act>, Failure> {
    let act = match command {
        Command::Login { tenant, .. } => of(tenant.as_deref(), Act::WhoAmI, TenantAct::WhoAmI),
        Command::Status { tenant } => of(tenant.as_deref(), Act::Status, TenantAct::Keys),
        Command::Doctor => Act::Doctor,
        Command::Root(Root::Rotate { name, per_second }) => {
            Act::RotateRoot { root: name.clone(), per_second: *per_second }
        }
        Command::Root(Root::Check { name }) => Act::CheckRoot { root: name.clone() },
        Command::Audit(command) => audit(command)?,
        Command::Tenant(command) => tenant(command, dry_run)?,
        Command::Policy(command) => return policy(command),
        Command::Rotate { tenant, roots: true } => own(tenant, TenantAct::RotateRoots),
        Command::Rotate { tenant, roots: false } => own(tenant, TenantAct::RotateKeys),
        Command::Ring(Ring::Export { file, recipients }) => {
            let (folder, file) = place(file, door)?;
            Act::ExportRings { folder, file, seal: seal(recipients)? }
        }
        Command::Ring(Ring::Import { file, identity, tenants }) => {
            let (folder, file) = place(file, door)?;
            Act::ImportRings { folder, file, key: offline::unseal(identity.as_deref())?, tenants: tenants.clone() }
        }
        Command::Access { tenant } => own(tenant, TenantAct::Access(AccessAct::Show)),
        Command::Revoke { why } => {
            own(&why.tenant, TenantAct::Access(AccessAct::Revoke { reason: why.reason.clone() }))
        }
        Command::Restore { why, propose: false } => {
            own(&why.tenant, TenantAct::Access(AccessAct::Restore { reason: why.reason.clone() }))
        }
        Command::Restore { why, propose: true } => {
            own(&why.tenant, TenantAct::Access(AccessAct::ProposeRestore { reason: why.reason.clone() }))
        }
        Command::Census { tenant } => own(tenant, TenantAct::Census),
        Command::Reseal { tenant, rate, .. } => own(tenant, TenantAct::Reseal { bytes_per_second: *rate }),
        Command::Purge(command) => purge(command, dry_run)?,
        Command::Backup(command) => backup(command, door)?,
        Command::RestoreBackup(Restore::Tenant { folder, tenant, name, number }) => Act::RestoreTenant {
            folder: door.folder(folder)?,
            number: *number,
            tenant: tenant.clone(),
            name: name.clone(),
        },
        _ => return Err(Failure::usage("nothing to ask a store for")),
    };
    Ok(vec![act])
}

/// The act of the service's custodians, or that of a tenant's own.
fn of(tenant: Option<&str>, service: Act, own_act: TenantAct) -> Act {
    match tenant {
        None => service,
        Some(tenant) => own(tenant, own_act),
    }
}

fn own(tenant: &str, act: TenantAct) -> Act {
    Act::ForTenant { tenant: tenant.to_owned(), act }
}

fn tenant(command: &Tenant, dry_run: bool) -> Result<Act, Failure> {
    Ok(match command {
        Tenant::Create { name, issuer, claim, speakers, in_region, own_cell, policy } => {
            let spec = TenantSpec::new(name, issuer, claim);
            let pairs = speakers.chunks_exact(2);
            let spec = pairs.fold(spec, |spec, pair| spec.speaker(&pair[0], &pair[1]));
            let spec = in_region.iter().fold(spec, TenantSpec::region);
            let spec = if *own_cell { spec.own_cell() } else { spec };
            let spec = if policy.any_of.is_empty() { spec } else { spec.policy(terms(policy)?) };
            Act::CreateTenant(spec)
        }
        Tenant::List => Act::ListTenants,
        Tenant::Show { name } => Act::ShowTenant { name: name.clone() },
        Tenant::Suspend { name } => Act::SuspendTenant { name: name.clone() },
        Tenant::Resume { name } => Act::ResumeTenant { name: name.clone() },
        Tenant::Delete { name, yes } if *yes || dry_run => Act::DeleteTenant { name: name.clone() },
        Tenant::Delete { .. } => {
            return Err(Failure::usage(
                "deleting is for ever; add --yes if that is what you want, or --dry-run to see",
            ));
        }
    })
}

fn policy(command: &cli::Policy) -> Result<Vec<Act>, Failure> {
    use cli::Policy as Order;
    let (tenant, acts) = match command {
        Order::Show { tenant } => (tenant, vec![TenantAct::Keys, TenantAct::Rules, TenantAct::Proposals]),
        Order::Propose { tenant, reason, policy } => {
            (tenant, vec![TenantAct::ProposePolicy { policy: terms(policy)?, reason: reason.clone() }])
        }
        Order::ProposeRules { tenant, reason, two_custodians, cooling_off, rotate_keys_after } => {
            let rules = Rules::default()
                .two_custodians(*two_custodians)
                .cooling_off(Duration::from_secs(*cooling_off))
                .rotate_keys_after(rotate_keys_after.map(Duration::from_secs));
            (tenant, vec![TenantAct::ProposeRules { rules, reason: reason.clone() }])
        }
        Order::Recover { tenant, reason, policy } => {
            let act = AccessAct::ProposeRecovery { policy: terms(policy)?, reason: reason.clone() };
            (tenant, vec![TenantAct::Access(act)])
        }
        Order::Apply { tenant, proposal } => (tenant, vec![TenantAct::Apply { proposal: *proposal }]),
        Order::Withdraw { tenant, proposal } => (tenant, vec![TenantAct::Withdraw { proposal: *proposal }]),
    };
    Ok(acts.into_iter().map(|act| own(tenant, act)).collect())
}

fn audit(command: &Audit) -> Result<Act, Failure> {
    let (whose, act) = match command {
        Audit::Show { whose, from, limit } => (whose, AuditAct::Events { from: *from, limit: *limit }),
        Audit::Verify { whose, earlier, .. } => {
            let earlier = earlier.as_ref().map(std::fs::read_to_string).transpose();
            (whose, AuditAct::Verify { earlier: earlier.map_err(|error| Failure::usage(error.to_string()))? })
        }
        Audit::Export { whose, .. } => (whose, AuditAct::Export),
        Audit::Checkpoint { whose } => (whose, AuditAct::Checkpoint),
        Audit::Key { whose } => (whose, AuditAct::Key),
    };
    let trail = match (&whose.tenant, &whose.of, &whose.incarnation) {
        (Some(tenant), ..) => return Ok(own(tenant, TenantAct::Audit(act))),
        (_, Some(name), _) => TrailName::Tenant(name.clone()),
        (.., Some(hex)) => TrailName::Incarnation(hex.clone()),
        _ => TrailName::Store,
    };
    Ok(Act::Audit { trail, act })
}

fn purge(command: &Purge, dry_run: bool) -> Result<Act, Failure> {
    Ok(match command {
        Purge::Request { why } => own(&why.tenant, TenantAct::RequestPurge { reason: why.reason.clone() }),
        Purge::Approve { why } => own(&why.tenant, TenantAct::ApprovePurge { reason: why.reason.clone() }),
        Purge::Cancel { why } => own(&why.tenant, TenantAct::CancelPurge { reason: why.reason.clone() }),
        Purge::List => Act::Purges,
        Purge::Run { yes } if *yes || dry_run => Act::RunPurges,
        Purge::Run { .. } => {
            return Err(Failure::usage("purges are for ever; add --yes if that is what you want, or --dry-run to see"));
        }
        Purge::Receipt { whose, number, .. } => of_purged(whose, PurgedAct::Receipt { number: *number }),
        Purge::Key { whose } => of_purged(whose, PurgedAct::ReceiptKey),
        Purge::Trail { whose, .. } => of_purged(whose, PurgedAct::ExportTrail),
        Purge::Prove { whose } => of_purged(whose, PurgedAct::Prove),
        Purge::Declare { whose, escrow, reason } => {
            of_purged(whose, PurgedAct::DeclareEscrowDestroyed { escrow: *escrow, reason: reason.clone() })
        }
        Purge::Finalize { whose } => of_purged(whose, PurgedAct::Finalize),
        Purge::Status { .. } | Purge::Execute { .. } | Purge::Verify(_) => {
            return Err(Failure::usage("no request like others"));
        }
    })
}

fn terms(terms: &PolicyTerms) -> Result<Policy, Failure> {
    if terms.any_of.is_empty() {
        return Err(Failure::usage("a policy needs --any-of"));
    }
    let policy = Policy::any_of(terms.any_of.iter().map(|roots| roots.split(',')))?;
    let policy = match (&terms.recovery, terms.recovery_limit) {
        (Some(root), Some(limit)) => policy.recovery_root(root, Duration::from_secs(limit))?,
        _ => policy,
    };
    Ok(policy.expiries(Duration::from_secs(terms.refresh), Duration::from_secs(terms.hard_expiry))?)
}

/// The folder of an escrow, as the desk calls it, and its file.
fn place(file: &Path, door: &mut Door<'_>) -> Result<(String, String), Failure> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage("an escrow has a name"))?.to_owned();
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(".".as_ref());
    Ok((door.folder(folder)?, name))
}

fn seal(recipients: &[String]) -> Result<Seal, Failure> {
    match recipients {
        [] => Ok(Seal::Passphrase(Secret::new(offline::passphrase()?)?)),
        recipients => Ok(Seal::Recipients(recipients.to_vec())),
    }
}

fn backup(command: &Backup, door: &mut Door<'_>) -> Result<Act, Failure> {
    Ok(match command {
        Backup::Make { folder, cell, tenant, escrow_never, accept_gaps } => {
            let extent = match (cell, tenant) {
                (Some(cell), _) => Extent::Cell(*cell),
                (None, Some(tenant)) => Extent::Tenant(tenant.clone()),
                (None, None) => Extent::Store,
            };
            Act::Backup {
                folder: door.folder(folder)?,
                of: extent,
                escrow_never: *escrow_never,
                accept_gaps: *accept_gaps,
            }
        }
        Backup::List { folder } => Act::ListBackups { folder: door.folder(folder)? },
        Backup::Verify { folder, number } => Act::VerifyBackup { folder: door.folder(folder)?, number: *number },
        Backup::Drill { .. } => return Err(Failure::usage("a drill asks no store")),
    })
}
