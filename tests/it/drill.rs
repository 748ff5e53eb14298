//! The restore drill: every backup that a test makes is restored, and every record of every tenant compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use strongroom::backup::{self, BackupPlan, BackupReport, Escrow, EscrowKey, EscrowLock, Restore, RestoreReport};
use strongroom::{CollectionDef, KeyMode, LocalRoots, Strongroom, StrongroomBuilder, TenantState};

use crate::support::{self, CUSTODIAN, ISSUER, user};

pub const NOTES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("notes");
pub const TRACES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("traces").ordered();

/// Of each tenant, by the name of the collection and the key.
pub type Everything = BTreeMap<String, BTreeMap<(String, String), Vec<u8>>>;

/// Where the store, its backups, its escrow and its root keys lie.
pub struct Drill {
    pub folder: PathBuf,
    secret: String,
    recipient: String,
}

impl Drill {
    pub fn new(folder: &Path) -> Self {
        let (secret, recipient) = EscrowKey::generate();
        std::fs::write(folder.join("identity"), format!("{} {recipient}", *secret)).unwrap();
        Self::again(folder)
    }

    /// The same, in another process.
    pub fn again(folder: &Path) -> Self {
        let identity = std::fs::read_to_string(folder.join("identity")).unwrap();
        let (secret, recipient) = identity.split_once(' ').unwrap();
        Self { folder: folder.to_path_buf(), secret: secret.to_owned(), recipient: recipient.to_owned() }
    }

    pub fn backups(&self) -> PathBuf {
        self.folder.join("backups")
    }

    pub fn escrow_file(&self) -> PathBuf {
        self.folder.join("escrow/rings.age")
    }

    /// One whose store has the region `eu`.
    pub fn with_region(folder: &Path) -> Self {
        std::fs::create_dir(region_of(&folder.join("store"))).unwrap();
        Self::new(folder)
    }

    pub fn open(&self) -> Strongroom {
        let builder = with_region_of(support::on_disk(&self.folder), &self.folder.join("store"));
        builder.open().expect("a store that opens without help")
    }

    pub fn lock(&self) -> EscrowLock {
        EscrowLock::recipients([self.recipient.as_str()]).unwrap()
    }

    pub fn key(&self) -> EscrowKey {
        EscrowKey::identity(&self.secret).unwrap()
    }

    pub fn secret(&self) -> &str {
        &self.secret
    }

    pub fn escrow(&self) -> Escrow {
        Escrow::open(self.escrow_file(), &self.key()).unwrap()
    }

    pub fn roots(&self) -> LocalRoots {
        LocalRoots::open(self.folder.join("keys")).unwrap()
    }

    pub fn restore(&self) -> Restore<'static> {
        Restore::new(self.backups(), self.escrow(), self.roots())
    }

    pub fn export(&self, room: &Strongroom) {
        let report = room.custody(CUSTODIAN).unwrap().export_rings(self.escrow_file(), &self.lock()).unwrap();
        assert_eq!(report.damaged, 0);
    }

    /// Exports the rings, makes a backup, and holds it to the drill.
    pub fn backup(&self, room: &Strongroom) -> BackupReport {
        self.export(room);
        let report = room.custody(CUSTODIAN).unwrap().backup(BackupPlan::store(self.backups())).unwrap();
        self.hold(report.number, &everything(room));
        report
    }

    /// Restores the backup of this number elsewhere and compares what is in it.
    pub fn hold(&self, number: u64, expected: &Everything) -> RestoreReport {
        assert_eq!(
            backup::list(self.backups(), &self.escrow()).unwrap().last().map(|last| last.number >= number),
            Some(true)
        );
        let elsewhere = tempfile::tempdir().unwrap();
        let report = self.restore_to(number, &elsewhere.path().join("store"));
        let found = self.read(&elsewhere.path().join("store"));
        assert!(found == *expected, "backup {number} came back otherwise: {:?}", differences(expected, &found));
        report
    }

    /// Restores the backup of this number, its region beside it.
    pub fn restore_to(&self, number: u64, path: &Path) -> RestoreReport {
        self.restore().backup(number).region("eu", region_of(path)).store_into(path).unwrap()
    }

    /// Everything in the store at `path`, which has this store's root keys.
    pub fn read(&self, path: &Path) -> Everything {
        let room = self.builder_at(path).open().expect("a restored store opens");
        crate::trails::agree(&room);
        everything(&room)
    }

    /// Begins to open the store at `path`, which has this store's root keys.
    pub fn builder_at(&self, path: &Path) -> StrongroomBuilder {
        let room = Strongroom::builder(path, self.roots(), support::Plain).service_speaker(ISSUER, "service");
        with_region_of(room, path)
    }
}

/// Where the region `eu` of a store lies, if it has one.
pub fn region_of(store: &Path) -> PathBuf {
    store.with_extension("eu")
}

fn with_region_of(builder: StrongroomBuilder, store: &Path) -> StrongroomBuilder {
    let region = region_of(store);
    if region.exists() { builder.region("eu", region) } else { builder }
}

/// Every record of every active tenant, read through the doors.
pub fn everything(room: &Strongroom) -> Everything {
    let mut found = Everything::new();
    for summary in room.custody(CUSTODIAN).unwrap().tenants().unwrap() {
        if summary.state != TenantState::Active {
            continue;
        }
        let name = summary.name.as_str();
        let claim = summary.speakers[0].tenant.clone();
        let session = room.session(&user(&claim), name).expect("a session");
        let records = found.entry(name.to_owned()).or_default();
        for collection in session.collections().expect("a catalog") {
            let definition = if collection.mode == KeyMode::Ordered { TRACES } else { NOTES };
            for row in session.collection(&definition).expect("a collection").iter().expect("a scan") {
                let (key, value) = row.expect("a whole record");
                records.insert((collection.name.clone(), key), value);
            }
        }
    }
    found
}

fn differences(expected: &Everything, found: &Everything) -> Vec<String> {
    let mut differ = Vec::new();
    for name in expected.keys().chain(found.keys()) {
        let (before, after) = (expected.get(name), found.get(name));
        if before != after {
            differ.push(format!(
                "{name}: {:?} records, found {:?}",
                before.map(BTreeMap::len),
                after.map(BTreeMap::len)
            ));
        }
    }
    differ.dedup();
    differ
}

/// Writes `count` records into both collections of a tenant.
pub fn fill(room: &Strongroom, tenant: &str, round: usize, count: usize) {
    let session = room.session(&user(tenant), tenant).unwrap();
    for number in 0..count {
        let key = format!("{round}/{number}");
        let value = format!("{tenant} {round} {number} ").repeat(30).into_bytes();
        let batch = session.batch().put(&NOTES, &key.as_str(), &value).unwrap();
        let batch = batch.put(&TRACES, &key.as_str(), &value).unwrap();
        batch.durability(strongroom::Durability::Buffered).commit().unwrap();
    }
}
