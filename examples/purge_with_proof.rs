//! A customer leaves: their tenant is purged, and they take a receipt along that proves it anywhere.
//!
//! ```sh
//! cargo run --example purge_with_proof
//! ```
//!
//! It works in a temporary folder and needs nothing. The clock is set forward by hand, over the week of cooling-off.

use std::fs;
use std::path::Path;
use std::time::Duration;

use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::purge::{Receipt, verify_receipt};
use strongroom::{CollectionDef, LocalRoots, ManualClock, Policy, Result, RootId, Strongroom, TenantSpec};

const LETTERS: CollectionDef<u64, String> = CollectionDef::cbor("letters");
const ISSUER: &str = "https://id.example";
const SERVICE: &str = "service|custodian|sam";
const USER: &str = "contoso|read,write|uma";
const ANNA: &str = "contoso|custodian|anna";
const BERT: &str = "contoso|custodian|bert";

/// Takes credentials of the form `tenant|roles|subject` at their word. A service brings `JwtVerifier`.
struct AtTheirWord;

impl Verifier for AtTheirWord {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let parts: Vec<&str> = credential.split('|').collect();
        let [tenant, roles, subject] = parts[..] else { return Err(Rejection::Malformed) };
        Ok(Claims {
            issuer: ISSUER.into(),
            tenant: tenant.into(),
            subject: subject.into(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 600,
            roles: roles.split(',').map(|role| format!("strongroom.{role}")).collect(),
            scopes: None,
        })
    }
}

fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("purge-with-proof-{}", std::process::id()));
    let told = tell(&folder);
    drop(fs::remove_dir_all(&folder));
    told
}

fn tell(folder: &Path) -> Result<()> {
    let clock = ManualClock::new(1_800_000_000_000);
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service")?;
    roots.generate(&RootId::new("contoso-key")?)?;
    let room = Strongroom::builder(folder.join("store"), roots, AtTheirWord).service_speaker(ISSUER, "service");
    let room = room.clock(clock.clone()).open()?;
    let spec = TenantSpec::new("contoso", ISSUER, "contoso").policy(Policy::any_of([["contoso-key"]])?);
    room.custody(SERVICE)?.create_tenant(spec)?;
    let letters = room.session(USER, "contoso")?.collection(&LETTERS)?;
    for number in 0..100 {
        letters.put(&number, &format!("letter {number}"))?;
    }
    println!("contoso has {} letters, under a root key of its own", letters.count()?);

    room.tenant_custody(ANNA, "contoso")?.request_purge("the contract has ended")?;
    println!("anna asks for the purge: {}", letters.get(&1).expect_err("access has ended"));
    let alone = room.tenant_custody(ANNA, "contoso")?.approve_purge("I am sure").expect_err("the same person");
    println!("anna approves it herself: {alone}");
    room.tenant_custody(BERT, "contoso")?.approve_purge("so it has")?;
    let early = room.tenant_custody(BERT, "contoso")?.execute_purge().expect_err("a week");
    println!("bert approves it, and is in a hurry: {early}");

    // Somebody has kept a copy of the ring file in the store's folder.
    let stray = folder.join("store/rings.bak");
    let copied = fs::copy(folder.join("store/cells/0000/rings"), &stray);
    println!("an operator copies the ring file: {} bytes", copied.unwrap_or_default());
    clock.advance(Duration::from_secs(7 * 24 * 3600));
    // The store does this by itself, within a minute; a custodian of the tenant can, too.
    room.custody(SERVICE)?.run_purges()?;
    println!("\na week later the purge is carried out, and the store searches itself:");
    show(&receipt(&room)?);

    drop(fs::remove_file(stray));
    room.purged_tenant(ANNA, "contoso")?.prove(|_| {})?;
    println!("\nthe copy is removed, and the store searched again:");
    show(&receipt(&room)?);

    LocalRoots::open(folder.join("keys"))?.destroy(&RootId::new("contoso-key")?, "v1")?;
    room.purged_tenant(ANNA, "contoso")?.finalize()?;
    println!("\ncontoso destroys its root key:");
    show(&receipt(&room)?);
    Ok(())
}

/// The receipt that counts, verified as anybody can who has it, the trail and the key.
fn receipt(room: &Strongroom) -> Result<Receipt> {
    let contoso = room.purged_tenant(ANNA, "contoso")?;
    let mut trail = Vec::new();
    contoso.audit_export(&mut trail)?;
    let (note, key) = (contoso.receipt()?, contoso.receipt_key()?);
    let verified = verify_receipt(&note, &key, Some(&mut trail.as_slice()))?;
    println!("  receipt {}, {} bytes, verified against {key:.40}..", verified.receipt.number, note.len());
    Ok(verified.receipt)
}

fn show(receipt: &Receipt) {
    let searched_for: u32 = receipt.search.searched_for.values().sum();
    println!("  searched {} files, {} bytes, for {searched_for} secrets", receipt.search.files, receipt.search.bytes);
    for hit in &receipt.search.hits {
        println!("  FOUND {:?} in {} at {}", hit.kind, hit.file, hit.offset);
    }
    let samples = receipt.samples;
    println!("  copies that opened: {}; records: {} of {}", samples.rings_opened, samples.opened, samples.tried);
    println!("  proven: {}; final: {}", receipt.proven, receipt.is_final);
    receipt.missing.iter().for_each(|missing| println!("  missing: {missing}"));
}
