//! One cell of the API matrix: a store, a credential, what befalls it, and the call.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::{
    CanDestroy, Collection, CollectionDef, Destroyable, Durability, Expected, Fence, ManualClock, Policy, PutOptions,
    ResealPlan, Result, RootRotation, Rules, Session, Strongroom, TenantCustody, TenantSpec, Trail, Version,
    WriteBatch,
};

use strongroom::desk::{Act, Done, Reply, Request};

use strongroom::backup::{BackupPlan, EscrowKey, EscrowLock, TenantRestore};
use tempfile::TempDir;

use crate::dated;
use crate::support::ISSUER;

type Notes = Collection<u64, Vec<u8>>;

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();
const OTHER_ISSUER: &str = "https://other.example";
const KEY: u64 = 1;
const CONTOSO: Trail<'_> = Trail::Tenant("contoso");

/// A store with the tenant `contoso`, which has one record, and two neighbours: `fabrikam`, and `twin`, for which
/// another issuer speaks with the same tenant claim as contoso's.
pub struct World {
    room: Strongroom,
    clock: Arc<ManualClock>,
    version: Version,
    /// Where the store lies, if it lies on a disk.
    home: Option<TempDir>,
}

impl World {
    pub fn new(folder: &Path) -> Self {
        let clock = dated::clock();
        Self::populate(dated::in_memory(folder, &clock).open().unwrap(), clock)
    }

    fn populate(room: Strongroom, clock: Arc<ManualClock>) -> Self {
        let custody = room.custody(&dated::custodian()).unwrap();
        custody.create_tenant(TenantSpec::new("contoso", ISSUER, "contoso")).unwrap();
        custody.create_tenant(TenantSpec::new("fabrikam", ISSUER, "fabrikam")).unwrap();
        custody.create_tenant(TenantSpec::new("twin", OTHER_ISSUER, "contoso")).unwrap();
        let notes = room.session(&dated::user("contoso"), "contoso").unwrap().collection(&NOTES).unwrap();
        let version = notes.put(&KEY, &b"kept".to_vec()).unwrap();
        Self { room, clock, version, home: None }
    }

    /// The same store on disk, with a backup, for what works with backups, and in memory for all else.
    pub fn for_method(method: &str, folder: &Path) -> Self {
        if !["backup", "backups", "verify_backup", "restore_tenant"]
            .iter()
            .any(|name| method == format!("Custody::{name}"))
        {
            return Self::new(folder);
        }
        let home = tempfile::tempdir_in(folder).unwrap();
        let clock = dated::clock();
        let mut world = Self::populate(dated::on_disk(home.path(), &clock).open().unwrap(), clock);
        let custody = world.room.custody(&dated::custodian()).unwrap();
        custody.export_rings(home.path().join("rings.age"), &lock()).unwrap();
        custody.backup(BackupPlan::store(home.path().join("backups"))).unwrap();
        world.home = Some(home);
        world
    }

    /// Calls `method` as the bearer of the credential of `column`, after what befalls in that column.
    pub fn attempt(&self, method: &str, column: &str) -> Result<()> {
        let (owner, method) = method.split_once("::").unwrap();
        match owner {
            "Strongroom" => self.at_the_door(method, column),
            "Custody" => self.in_custody(method, column),
            "PurgedTenant" => self.in_purged_tenant(method, column),
            "TenantCustody" if ["restore", "propose_restore"].contains(&method) => self.in_revoked(method, column),
            "TenantCustody" => self.in_tenant_custody(method, column),
            "CustodyDesk" => self.at_the_desk(method, column),
            "Session" => self.in_session(method, column),
            "Collection" => self.in_collection(method, column),
            "Scan" => self.in_scan(method, column),
            "WriteBatch" => self.in_batch(method, column),
            "Transaction" => self.in_transaction(method, column),
            _ => panic!("no such type: {owner}"),
        }
    }

    /// Whether contoso has its record, as it was, and nothing else.
    pub fn is_unchanged(&self) -> bool {
        let session = self.room.session(&dated::user("contoso"), "contoso").unwrap();
        let names: Vec<_> = session.collections().unwrap().into_iter().map(|summary| summary.name).collect();
        let notes = session.collection(&NOTES).unwrap();
        let entry = notes.entry(&KEY).unwrap().unwrap();
        let tenants = self.room.custody(&dated::custodian()).unwrap().tenants().unwrap().len();
        names == ["notes"] && notes.count().unwrap() == 1 && entry.version() == self.version && tenants == 3
    }

    fn at_the_door(&self, method: &str, column: &str) -> Result<()> {
        if method == "purged_tenant" {
            self.make_bygone();
        }
        self.befall(column);
        match method {
            "session" => self.room.session(&principal(column), "contoso").map(drop),
            "home_session" => {
                let session = self.room.home_session(&principal(column))?;
                let home = match column {
                    "other" => "fabrikam",
                    "issuer" => "twin",
                    _ => "contoso",
                };
                assert_eq!(session.tenant().as_str(), home);
                Ok(())
            }
            "custody" => self.room.custody(&custodian(column)).map(drop),
            "purged_tenant" => self.room.purged_tenant(&own_custodian(column), "bygone").map(drop),
            "tenant_custody" => self.room.tenant_custody(&own_custodian(column), "contoso").map(drop),
            _ => panic!("no call for Strongroom::{method}"),
        }
    }

    fn in_custody(&self, method: &str, column: &str) -> Result<()> {
        let custody = self.room.custody(&custodian(column))?;
        let (escrow, key) = self.prepare_custody(method);
        self.befall(column);
        let home = self.home.as_ref().map_or(Path::new("/nowhere"), TempDir::path);
        let backups = home.join("backups");
        match method {
            "create_tenant" => custody.create_tenant(TenantSpec::new("newcomer", ISSUER, "newcomer")).map(drop),
            "create_tenants" => custody.create_tenants(newcomers()).map(drop),
            "create_tenants_with" => custody.create_tenants_with(newcomers(), |_, _| {}).map(drop),
            "audit_events" => custody.audit_events(CONTOSO, 0, 10).map(|events| assert!(!events.is_empty())),
            "audit_verify" => custody.audit_verify(CONTOSO, None).map(drop),
            "audit_export" => custody.audit_export(CONTOSO, std::io::sink()).map(drop),
            "audit_checkpoint" => custody.audit_checkpoint(CONTOSO).map(drop),
            "audit_key" => custody.audit_key(CONTOSO).map(drop),
            "purges" => custody.purges().map(drop),
            "run_purges" => custody.run_purges().map(drop),
            "purged_tenant" => custody.purged_tenant("bygone").map(drop),
            "import_rings" => custody.import_rings(escrow.path().join("rings.age"), &key, &[]).map(drop),
            "suspend_tenant" => custody.suspend_tenant("contoso"),
            "resume_tenant" => custody.resume_tenant("contoso"),
            "delete_tenant" => custody.delete_tenant("contoso"),
            "export_rings" => {
                let elsewhere = tempfile::tempdir().unwrap();
                custody.export_rings(elsewhere.path().join("rings.age"), &lock()).map(drop)
            }
            "backup" => custody.backup(BackupPlan::store(backups)).map(drop),
            "backups" => custody.backups(backups).map(|backups| assert_eq!(backups.len(), 1)),
            "verify_backup" => custody.verify_backup(backups, None).map(drop),
            "restore_tenant" => {
                custody.restore_tenant(&TenantRestore::new(backups, "contoso", "contoso-again")).map(drop)
            }
            "tenants" => custody.tenants().map(drop),
            "rotate_root" => custody.rotate_root(RootRotation::new("service")).map(drop),
            "tenant" => custody.tenant("contoso").map(drop),
            "check_root" => custody.check_root("service").map(drop),
            "doctor" => custody.doctor().map(drop),
            "stats" => custody.stats().map(drop),
            "identity" => {
                assert_eq!(custody.identity().speaker().tenant, "service");
                Ok(())
            }
            _ => panic!("no call for Custody::{method}"),
        }
    }

    fn in_tenant_custody(&self, method: &str, column: &str) -> Result<()> {
        let right = self.room.tenant_custody(&own_custodian("right"), "contoso").unwrap();
        let policy = || Policy::any_of([["service"]]).unwrap();
        let number = right.propose_policy(policy(), "there before").unwrap();
        let proof = (method == "retire").then(|| proof_of_first(&right));
        let custody = self.room.tenant_custody(&own_custodian(column), "contoso")?;
        self.befall(column);
        self.prepare_purge("contoso", method);
        match method {
            "reseal" => assert!(custody.reseal(ResealPlan::new())?.is_complete),
            "census" => assert_eq!(custody.census()?.generations.len(), 1),
            "can_destroy" => drop(custody.can_destroy(1)?),
            "retire" => assert_eq!(custody.retire(proof.unwrap())?.generation, 1),
            "request_purge" => drop(custody.request_purge("the contract has ended")?),
            "approve_purge" => drop(custody.approve_purge("so it has")?),
            "cancel_purge" => custody.cancel_purge("a mistake")?,
            "execute_purge" => drop(custody.execute_purge()?),
            "execute_purge_exhaustively" => drop(custody.execute_purge_exhaustively(|_| {})?),
            "execute_purge_with" => drop(custody.execute_purge_with(|_| {})?),
            "purge_status" => assert!(custody.purge_status()?.is_none()),
            "tenant" => assert_eq!(custody.tenant().as_str(), "contoso"),
            "identity" => assert_eq!(custody.identity().speaker().tenant, "contoso"),
            "keys" => assert_eq!(custody.keys()?.epoch, 1),
            "rotate_roots" => custody.rotate_roots()?,
            "rotate_keys" => assert_eq!(custody.rotate_keys()?, 2),
            "rules" => assert_eq!(custody.rules()?, Rules::default()),
            "proposals" => assert_eq!(custody.proposals()?.len(), 1),
            "propose_policy" => drop(custody.propose_policy(policy(), "another")?),
            "propose_rules" => drop(custody.propose_rules(Rules::default(), "another")?),
            "access" => assert_eq!(custody.access()?.fence, None),
            "revoke" => custody.revoke("suspicious reads")?,
            "restore" => custody.restore("a false alarm")?,
            "propose_restore" => drop(custody.propose_restore("a false alarm")?),
            "propose_recovery" => drop(custody.propose_recovery(policy(), "lost")?),
            "withdraw" => custody.withdraw(number)?,
            "audit_events" => assert!(!custody.audit_events(0, 10)?.is_empty()),
            "audit_verify" => assert!(custody.audit_verify(None)?.size > 0),
            "audit_export" => drop(custody.audit_export(std::io::sink())?),
            "audit_checkpoint" => drop(custody.audit_checkpoint()?),
            "audit_key" => drop(custody.audit_key()?),
            "apply" => custody.apply(number)?,
            _ => panic!("no call for TenantCustody::{method}"),
        }
        Ok(())
    }

    /// Access was revoked before, and stays so unless this one may restore it.
    fn in_revoked(&self, method: &str, column: &str) -> Result<()> {
        let right = self.room.tenant_custody(&own_custodian("right"), "contoso").unwrap();
        right.revoke("there before").unwrap();
        let outcome = self.in_tenant_custody(method, column);
        if let (true, Ok(access)) = (outcome.is_err() || method != "restore", right.access()) {
            assert_eq!(access.fence, Some(Fence::Ordered));
            right.restore("as it was").unwrap();
        }
        outcome
    }

    fn in_purged_tenant(&self, method: &str, column: &str) -> Result<()> {
        self.make_bygone();
        let purged = self.room.purged_tenant(&own_custodian(column), "bygone")?;
        self.befall(column);
        match method {
            "tenant" => assert_eq!(purged.tenant().as_str(), "bygone"),
            "status" => assert_eq!(purged.status()?.receipts, 1),
            "receipt" => drop(purged.receipt()?),
            "receipt_numbered" => drop(purged.receipt_numbered(1)?),
            "receipt_key" => drop(purged.receipt_key()?),
            "prove" => drop(purged.prove(|_| {})?),
            "declare_escrow_destroyed" => drop(purged.declare_escrow_destroyed(1, "shredded")?),
            "finalize" => drop(purged.finalize()?),
            "audit_export" => drop(purged.audit_export(std::io::sink())?),
            _ => panic!("no call for PurgedTenant::{method}"),
        }
        Ok(())
    }

    /// Another person asks for the purge that is to be approved, taken back or carried out, without any cooling-off. What
    /// befell the tenant may be in the way.
    fn prepare_purge(&self, tenant: &str, method: &str) {
        if !["approve_purge", "cancel_purge"].contains(&method) && !method.starts_with("execute_purge") {
            return;
        }
        let credential = format!("{}|somebody else", own_custodian("right"));
        let Ok(other) = self.room.tenant_custody(&credential, tenant) else { return };
        let hasty = other.propose_rules(Rules::default().cooling_off(Duration::ZERO), "for the test");
        drop(hasty.and_then(|proposal| other.apply(proposal)).and_then(|()| other.request_purge("for the test")));
        if method.starts_with("execute") {
            let one = self.room.tenant_custody(&own_custodian("right"), tenant);
            drop(one.and_then(|one| one.approve_purge("for the test")));
        }
    }

    /// A tenant of contoso's people that was purged, and may be in an escrow.
    fn make_bygone(&self) {
        let custody = self.room.custody(&dated::custodian()).unwrap();
        custody.create_tenant(TenantSpec::new("bygone", ISSUER, "contoso")).unwrap();
        custody.export_rings(tempfile::tempdir().unwrap().path().join("rings.age"), &lock()).unwrap();
        self.prepare_purge("bygone", "execute_purge");
        self.room.tenant_custody(&own_custodian("right"), "bygone").unwrap().execute_purge().unwrap();
    }

    /// What some acts of custody need: a purged tenant, or an escrow whose key is known.
    fn prepare_custody(&self, method: &str) -> (TempDir, EscrowKey) {
        let (folder, (secret, recipient)) = (tempfile::tempdir().unwrap(), EscrowKey::generate());
        match method {
            "purged_tenant" => self.make_bygone(),
            "import_rings" => {
                let lock = EscrowLock::recipients([recipient.as_str()]).unwrap();
                let custody = self.room.custody(&dated::custodian()).unwrap();
                custody.export_rings(folder.path().join("rings.age"), &lock).unwrap();
            }
            _ => {}
        }
        (folder, EscrowKey::identity(&secret).unwrap())
    }

    fn at_the_desk(&self, method: &str, column: &str) -> Result<()> {
        assert_eq!(method, "handle");
        self.befall(column);
        let request = Request::new(custodian(column), Act::SuspendTenant { name: "contoso".to_owned() })?.to_json()?;
        let mut lines = Vec::new();
        let mut take = |line: &[u8]| {
            lines.push(Reply::parse(line).unwrap());
            Ok(())
        };
        self.room.custody_desk().handle(&request, &mut take).unwrap();
        match lines.as_slice() {
            [Reply::Done(Done::Acknowledged)] => Ok(()),
            [Reply::Error(refusal)] => Err(refusal.clone().into()),
            others => panic!("{others:?}"),
        }
    }

    fn in_session(&self, method: &str, column: &str) -> Result<()> {
        let session = self.room.session(&principal(column), "contoso")?;
        self.befall(column);
        match method {
            "tenant" => assert_eq!(session.tenant().as_str(), "contoso"),
            "identity" => assert_eq!(session.identity().speaker().tenant, "contoso"),
            "collection" => drop(session.collection(&NOTES)?),
            "collections" => assert_eq!(session.collections()?.len(), 1),
            "prefetch_keys" => assert!(!session.prefetch_keys()?.left().is_zero()),
            "drop_collection" => session.drop_collection("notes")?,
            "batch" => drop(session.batch()),
            "transaction" => drop(session.transaction()),
            "transact" => {
                session.transact(|transaction| transaction.put(&NOTES, &KEY, &b"new".to_vec()))?;
            }
            _ => panic!("no call for Session::{method}"),
        }
        Ok(())
    }

    fn in_collection(&self, method: &str, column: &str) -> Result<()> {
        let notes = self.notes(column)?;
        self.befall(column);
        let (key, value) = (KEY, b"new".to_vec());
        match method {
            "get" => assert_eq!(notes.get(&key)?, Some(b"kept".to_vec())),
            "entry" => assert_eq!(notes.entry(&key)?.unwrap().version(), self.version),
            "contains" => assert!(notes.contains(&key)?),
            "get_many" => assert_eq!(notes.get_many(&[key, 2])?, [Some(b"kept".to_vec()), None]),
            "iter" => assert_eq!(notes.iter()?.count(), 1),
            "prefix" => assert_eq!(notes.prefix(())?.count(), 1),
            "range" => assert_eq!(notes.range(..)?.count(), 1),
            "count" => assert_eq!(notes.count()?, 1),
            "put" => drop(notes.put(&key, &value)?),
            "put_if" => drop(notes.put_if(&key, &value, self.version)?),
            "put_with" => drop(notes.put_with(&key, &value, for_a_second().expecting(self.version))?),
            "delete" => notes.delete(&key)?,
            "delete_if" => notes.delete_if(&key, self.version)?,
            _ => panic!("no call for Collection::{method}"),
        }
        Ok(())
    }

    fn in_scan(&self, method: &str, column: &str) -> Result<()> {
        assert_eq!(method, "next");
        let mut scan = self.notes(column)?.iter()?;
        self.befall(column);
        scan.next().unwrap().map(|row| assert_eq!(row, (KEY, b"kept".to_vec())))
    }

    fn in_batch(&self, method: &str, column: &str) -> Result<()> {
        let session = self.room.session(&principal(column), "contoso")?;
        let batch = if method == "commit" { filled(&session) } else { session.batch() };
        self.befall(column);
        let (key, value) = (KEY, b"new".to_vec());
        match method {
            "put" => batch.put(&NOTES, &key, &value).map(drop),
            "put_if" => batch.put_if(&NOTES, &key, &value, Expected::Absent).map(drop),
            "put_with" => batch.put_with(&NOTES, &key, &value, for_a_second()).map(drop),
            "delete" => batch.delete(&NOTES, &key).map(drop),
            "delete_if" => batch.delete_if(&NOTES, &key, self.version).map(drop),
            "durability" => {
                drop(batch.durability(Durability::Buffered));
                Ok(())
            }
            "commit" => batch.commit().map(drop),
            _ => panic!("no call for WriteBatch::{method}"),
        }
    }

    fn in_transaction(&self, method: &str, column: &str) -> Result<()> {
        let session = self.room.session(&principal(column), "contoso")?;
        let mut transaction = session.transaction();
        if method == "commit" {
            // Whoever may not put anything in commits an empty one.
            drop(transaction.put(&NOTES, &2, &b"new".to_vec()));
        }
        self.befall(column);
        let (key, value) = (KEY, b"new".to_vec());
        match method {
            "get" => transaction.get(&NOTES, &key).map(|found| assert_eq!(found, Some(b"kept".to_vec()))),
            "contains" => transaction.contains(&NOTES, &key).map(|found| assert!(found)),
            "entry" => transaction.entry(&NOTES, &key).map(|found| assert_eq!(found.unwrap().version(), self.version)),
            "expect" => transaction.expect(&NOTES, &key, self.version),
            "put" => transaction.put(&NOTES, &key, &value).map(drop),
            "put_with" => transaction.put_with(&NOTES, &key, &value, for_a_second().expecting(self.version)).map(drop),
            "delete" => transaction.delete(&NOTES, &key),
            "durability" => {
                transaction.durability(Durability::Buffered);
                Ok(())
            }
            "commit" => transaction.commit(),
            _ => panic!("no call for Transaction::{method}"),
        }
    }

    fn notes(&self, column: &str) -> Result<Notes> {
        self.room.session(&principal(column), "contoso")?.collection(&NOTES)
    }

    /// What happens between the door and the call.
    fn befall(&self, column: &str) {
        let custody = || self.room.custody(&dated::custodian()).unwrap();
        match column {
            "expired" => dated::expire(&self.clock),
            "suspended" => custody().suspend_tenant("contoso").unwrap(),
            "deleted" => custody().delete_tenant("contoso").unwrap(),
            "closed" => self.room.clone().close(),
            _ => {}
        }
    }
}

fn for_a_second() -> PutOptions {
    PutOptions::new().expires_after(Duration::from_secs(1))
}

fn newcomers() -> Vec<TenantSpec> {
    ["newcomer", "another"].map(|name| TenantSpec::new(name, ISSUER, name)).to_vec()
}

/// A batch with one change, or an empty one where the credential may not even put a change in.
fn filled(session: &Session) -> WriteBatch {
    let filled = session.batch().put(&NOTES, &2, &b"batched".to_vec());
    filled.unwrap_or_else(|_| session.batch())
}

fn lock() -> EscrowLock {
    EscrowLock::recipients([EscrowKey::generate().1.as_str()]).unwrap()
}

fn principal(column: &str) -> String {
    match column {
        "read" => dated::credential(ISSUER, "contoso", "read"),
        "write" => dated::credential(ISSUER, "contoso", "write"),
        "other" => dated::credential(ISSUER, "fabrikam", "read,write"),
        "issuer" => dated::credential(OTHER_ISSUER, "contoso", "read,write"),
        "none" => dated::credential(ISSUER, "contoso", ""),
        "malformed" => "contoso".to_owned(),
        _ => dated::user("contoso"),
    }
}

/// A custodian of contoso's own, where the column says nothing else.
fn own_custodian(column: &str) -> String {
    match column {
        "read" => dated::credential(ISSUER, "contoso", "read"),
        "write" => dated::credential(ISSUER, "contoso", "write"),
        "other" => dated::credential(ISSUER, "fabrikam", "custodian"),
        "issuer" => dated::credential(OTHER_ISSUER, "contoso", "custodian"),
        "none" => dated::credential(ISSUER, "contoso", ""),
        "malformed" => "contoso".to_owned(),
        _ => dated::credential(ISSUER, "contoso", "custodian"),
    }
}

fn custodian(column: &str) -> String {
    match column {
        "read" => dated::credential(ISSUER, "service", "read"),
        "write" => dated::credential(ISSUER, "service", "write"),
        "other" => dated::credential(ISSUER, "contoso", "custodian"),
        "issuer" => dated::credential(OTHER_ISSUER, "service", "custodian"),
        "none" => dated::credential(ISSUER, "service", ""),
        "malformed" => "service".to_owned(),
        _ => dated::custodian(),
    }
}

/// That nothing needs the first generation of a tenant's keys any more.
fn proof_of_first(custody: &TenantCustody) -> Destroyable {
    custody.rotate_keys().unwrap();
    custody.reseal(ResealPlan::new()).unwrap();
    match custody.can_destroy(1).unwrap() {
        CanDestroy::Yes(proof) => proof,
        CanDestroy::No(blockers) => panic!("{blockers:?}"),
    }
}
