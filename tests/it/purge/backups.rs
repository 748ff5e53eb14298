//! A backup that is restored later leaves a purged tenant dead, and knows what is said of it. Only an escrow that the
//! receipt lists can bring it back, in a store that has forgotten.

use std::fs;

use strongroom::backup::{BackupPlan, Escrow, EscrowKey, EscrowLock, Restore, TenantRestore};
use strongroom::purge::PurgeStage;
use strongroom::{ErrorKind, RootId};

use super::*;

struct Site {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    secret: String,
    recipient: String,
}

impl Site {
    fn new() -> Self {
        let (secret, recipient) = EscrowKey::generate();
        Self { folder: tempfile::tempdir().unwrap(), clock: clock(), secret: secret.to_string(), recipient }
    }

    fn backup(&self, room: &Strongroom, escrow: &str) {
        let service = room.custody(SERVICE).unwrap();
        let lock = EscrowLock::recipients([self.recipient.as_str()]).unwrap();
        service.export_rings(self.folder.path().join(escrow), &lock).unwrap();
        service.backup(BackupPlan::store(self.folder.path().join("backups"))).unwrap();
    }

    /// The first backup, restored with an escrow.
    fn restore(&self, escrow: &str, backups: &str, to: &str) -> (Strongroom, u64) {
        let path = self.folder.path();
        let escrow = Escrow::open(path.join(escrow), &EscrowKey::identity(&self.secret).unwrap()).unwrap();
        let report = Restore::new(path.join(backups), escrow, roots(path)).backup(1).store_into(path.join(to)).unwrap();
        let room = Strongroom::builder(path.join(to), roots(path), Named).service_speaker(ISSUER, "service");
        (room.clock(self.clock.clone()).open().unwrap(), report.deleted)
    }
}

#[test]
fn a_backup_of_before_a_purge_brings_nobody_back_and_the_receipt_with_it() {
    let site = Site::new();
    let room = with_tenants(on_disk(site.folder.path(), &site.clock));
    site.backup(&room, "early");
    purge(&room, &site.clock);
    let issued = purged(&room).receipt().unwrap();
    site.backup(&room, "late");
    let again = TenantRestore::new(site.folder.path().join("backups"), "contoso", "contoso-again").backup(1);
    let refused = room.custody(SERVICE).unwrap().restore_tenant(&again).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::KeyDestroyed);
    drop(room);
    for escrow in ["early", "late"] {
        let (room, deleted) = site.restore(escrow, "backups", escrow.to_uppercase().as_str());
        assert_eq!(deleted, 1, "{escrow}");
        assert_eq!(room.session(USER, "contoso").unwrap_err().kind(), ErrorKind::Denied);
        neighbour_is_whole(&room);
        assert_eq!(purged(&room).receipt().unwrap(), issued, "what newer backups say of it came along");
        assert_eq!(purged(&room).status().unwrap().stage, PurgeStage::Proven);
    }
}

#[test]
fn the_last_backup_has_charters_requests_receipts_and_trails() {
    let site = Site::new();
    let room = with_tenants(on_disk(site.folder.path(), &site.clock));
    let fabrikam = room.tenant_custody("fabrikam|custodian|fay", "fabrikam").unwrap();
    fabrikam.propose_policy(strongroom::Policy::any_of([["customer"]]).unwrap(), "our own key").unwrap();
    purge(&room, &site.clock);
    room.tenant_custody("fabrikam|custodian|fay", "fabrikam").unwrap().request_purge("they leave too").unwrap();
    site.backup(&room, "escrow");
    let issued = purged(&room).receipt().unwrap();
    drop((room, fabrikam));
    let (room, _) = site.restore("escrow", "backups", "restored");
    assert_eq!(purged(&room).receipt().unwrap(), issued);
    assert!(receipt(&room).proven, "against the restored trail");
    let fabrikam = room.tenant_custody("fabrikam|custodian|fay", "fabrikam").unwrap();
    assert_eq!(fabrikam.proposals().unwrap().len(), 1);
    assert_eq!(fabrikam.purge_status().unwrap().unwrap().stage, PurgeStage::Requested);
    let shut = room.session("fabrikam|read,write|uma", "fabrikam").unwrap_err();
    assert_eq!(shut.kind(), ErrorKind::KeyRevoked);
    fabrikam.cancel_purge("they stay").unwrap();
    neighbour_is_whole(&room);
}

/// Left over, and in the manual: the escrow of before the purge, with the backup of before it, in a place that knows of
/// nothing later. The receipt lists that escrow, and what ends it is the end of the root version.
#[test]
fn only_a_listed_escrow_revives_it_where_everything_is_forgotten_until_the_root_version_dies() {
    let site = Site::new();
    let path = site.folder.path();
    let room = on_disk(path, &site.clock).open().unwrap();
    let policy = strongroom::Policy::any_of([["customer"]]).unwrap();
    let spec = TenantSpec::new("contoso", ISSUER, "contoso").policy(policy);
    room.custody(SERVICE).unwrap().create_tenant(spec).unwrap();
    room.session(USER, "contoso").unwrap().collection(&NOTES).unwrap().put(&1, &b"kept".to_vec()).unwrap();
    site.backup(&room, "early");
    crate::folders::copy(&path.join("backups"), &path.join("stolen"));
    purge(&room, &site.clock);
    let listed = receipt(&room).escrows;
    assert_eq!(listed.iter().map(|escrow| escrow.number).collect::<Vec<_>>(), [1]);
    let (revived, deleted) = site.restore("early", "stolen", "revived");
    assert_eq!(deleted, 0);
    assert_eq!(revived.session(USER, "contoso").unwrap().collection(&NOTES).unwrap().count().unwrap(), 1);
    drop(revived);
    fs::remove_dir_all(path.join("revived")).unwrap();
    let customer = RootId::new("customer").unwrap();
    LocalRoots::open(path.join("keys")).unwrap().destroy(&customer, "v1").unwrap();
    let (revived, _) = site.restore("early", "stolen", "revived");
    assert_eq!(revived.session(USER, "contoso").unwrap_err().kind(), ErrorKind::KeyRevoked);
    purged(&room).declare_escrow_destroyed(1, "of no use now").unwrap();
    assert_eq!(purged(&room).finalize().unwrap().stage, PurgeStage::Final);
}
