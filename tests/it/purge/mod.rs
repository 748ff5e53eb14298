//! Purging tenants: who may, what ends when, what is left, and what the receipt says of it.

mod backups;
mod outstanding;
mod planted;
mod receipts;
pub mod kills;
mod story;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::purge::{PurgeStatus, Receipt, verify_receipt};
use strongroom::{
    CollectionDef, LocalRoots, ManualClock, PurgedTenant, Strongroom, StrongroomBuilder, TenantCustody, TenantSpec,
};

use crate::support::ISSUER;

const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes");
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const START_SECS: u64 = 1_800_000_000;

/// Credentials of the form `tenant|role,role|subject`, good for ten minutes.
struct Named;

impl Verifier for Named {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let parts: Vec<&str> = credential.split('|').collect();
        let [tenant, roles, subject] = parts[..] else { return Err(Rejection::Malformed) };
        Ok(Claims {
            issuer: ISSUER.to_owned(),
            tenant: tenant.to_owned(),
            subject: subject.to_owned(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 600,
            roles: roles.split(',').map(|role| format!("strongroom.{role}")).collect(),
            scopes: None,
        })
    }
}

const SERVICE: &str = "service|custodian|sam";
const USER: &str = "contoso|read,write|uma";
const ANNA: &str = "contoso|custodian|anna";
const BERT: &str = "contoso|custodian|bert";

fn clock() -> Arc<ManualClock> {
    ManualClock::new(START_SECS * 1000)
}

fn roots(folder: &Path) -> LocalRoots {
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
    if roots.versions(&strongroom::RootId::new("customer").unwrap()).is_empty() {
        roots.generate(&strongroom::RootId::new("customer").unwrap()).unwrap();
    }
    roots
}

fn on_disk(folder: &Path, clock: &Arc<ManualClock>) -> StrongroomBuilder {
    let builder = Strongroom::builder(folder.join("store"), roots(folder), Named).service_speaker(ISSUER, "service");
    builder.boxes_per_cell(4).clock(clock.clone())
}

/// A store with contoso, who has some records, and a neighbour in the same cell.
fn with_tenants(builder: StrongroomBuilder) -> Strongroom {
    let room = builder.open().unwrap();
    let custody = room.custody(SERVICE).unwrap();
    for name in ["contoso", "fabrikam"] {
        custody.create_tenant(TenantSpec::new(name, ISSUER, name)).unwrap();
        let notes = room.session(&format!("{name}|read,write|uma"), name).unwrap().collection(&NOTES).unwrap();
        for number in 0..10 {
            notes.put(&number, &format!("{name} {number}").into_bytes()).unwrap();
        }
    }
    room
}

fn custody(room: &Strongroom, credential: &str) -> TenantCustody {
    room.tenant_custody(credential, "contoso").unwrap()
}

/// Requested by Anna and approved by Bert.
fn ask(room: &Strongroom) {
    custody(room, ANNA).request_purge("the contract has ended").unwrap();
    custody(room, BERT).approve_purge("so it has").unwrap();
}

/// Carries out a purge whose time has come, unless the store's own thread is faster.
fn execute(room: &Strongroom) -> PurgeStatus {
    loop {
        let done = room.tenant_custody(BERT, "contoso").and_then(|bert| bert.execute_purge());
        let done = done.or_else(|_| room.purged_tenant(ANNA, "contoso")?.status());
        match done {
            Ok(status) if status.receipts > 0 => return status,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn purge(room: &Strongroom, clock: &ManualClock) -> PurgeStatus {
    ask(room);
    clock.advance(WEEK);
    execute(room)
}

fn purged(room: &Strongroom) -> PurgedTenant {
    room.purged_tenant(ANNA, "contoso").unwrap()
}

/// The receipt that counts, verified against the exported trail.
fn receipt(room: &Strongroom) -> Receipt {
    let purged = purged(room);
    let (note, key) = (purged.receipt().unwrap(), purged.receipt_key().unwrap());
    let mut trail = Vec::new();
    purged.audit_export(&mut trail).unwrap();
    let verified = verify_receipt(&note, &key, Some(&mut trail.as_slice())).unwrap();
    assert!(verified.sequence.is_some());
    verified.receipt
}

fn neighbour_is_whole(room: &Strongroom) {
    let notes = room.session("fabrikam|read,write|uma", "fabrikam").unwrap().collection(&NOTES).unwrap();
    for number in 0..10 {
        assert_eq!(notes.get(&number).unwrap(), Some(format!("fabrikam {number}").into_bytes()));
    }
}
