//! Everything about a tenant's keys that a service and its customer rotate, on a store in a temporary folder.
//!
//! ```sh
//! cargo run --example rotate_keys
//! ```

use std::error::Error;

use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{CollectionDef, LocalRoots, Policy, RootId, RootRotation, Strongroom, TenantCustody, TenantSpec};

const LETTERS: CollectionDef<u64, String> = CollectionDef::cbor("letters");

/// A stand-in for the service's identity provider: the credential is the tenant that it speaks for. A service that
/// believed this would be open to everybody; see `strongroom::identity::JwtVerifier`.
struct PretendedIssuer;

impl Verifier for PretendedIssuer {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let roles = ["read", "write", "custodian"].map(|role| format!("strongroom.{role}")).to_vec();
        let (issuer, tenant, subject) = ("https://id.example".into(), credential.into(), "somebody".into());
        Ok(Claims {
            issuer,
            tenant,
            subject,
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 600,
            roles,
            scopes: None,
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let keys = folder.path().join("keys");
    LocalRoots::open_with_root(&keys, "service")?.generate(&RootId::new("customer")?)?;

    println!("A store with a tenant whose keys need the customer's root key.");
    let room = open(&folder)?;
    let spec = TenantSpec::new("contoso", "https://id.example", "contoso").policy(Policy::any_of([["customer"]])?);
    room.custody("service")?.create_tenant(spec)?;
    room.custody("service")?.create_tenant(TenantSpec::new("fabrikam", "https://id.example", "fabrikam"))?;
    write(&room, 1)?;
    show(&room.tenant_custody("contoso", "contoso")?)?;
    drop(room);

    println!("\nBoth root keys get a new version, in their files.");
    for root in ["service", "customer"] {
        LocalRoots::open(&keys)?.generate(&RootId::new(root)?)?;
    }

    println!("\nThe service moves every tenant of its own root key to the new version; no record is touched.");
    let room = open(&folder)?;
    let report = room.custody("service")?.rotate_root(RootRotation::new("service"))?;
    println!("  to {} {}: {:?}, left: {:?}", report.root.as_str(), report.version, report.moved, report.left);

    println!("\nThe customer does so for its own, because nobody else may.");
    let contoso = room.tenant_custody("contoso", "contoso")?;
    contoso.rotate_roots()?;
    show(&contoso)?;

    println!(
        "\nA new generation of the tenant's own key: what is written from now on is under it. No root key is asked."
    );
    contoso.rotate_keys()?;
    write(&room, 2)?;
    show(&contoso)?;

    println!("\nFrom one root key to either of two, so that losing one loses nothing.");
    LocalRoots::open(&keys)?.generate(&RootId::new("spare")?)?;
    drop((contoso, room));
    let room = open(&folder)?;
    let contoso = room.tenant_custody("contoso", "contoso")?;
    let either = Policy::any_of([["customer"], ["spare"]])?;
    contoso.apply(contoso.propose_policy(either, "a second key in another vault")?)?;
    show(&contoso)?;

    println!("\nThe old versions go, and everything still opens:");
    drop((contoso, room));
    for root in ["service", "customer"] {
        std::fs::remove_file(keys.join(format!("{root}.v1.key")))?;
    }
    let room = open(&folder)?;
    let letters = room.session("contoso", "contoso")?.collection(&LETTERS)?;
    for row in letters.iter()? {
        let (number, text) = row?;
        println!("  letter {number}: {text}");
    }
    Ok(())
}

fn open(folder: &tempfile::TempDir) -> strongroom::Result<Strongroom> {
    let roots = LocalRoots::open(folder.path().join("keys"))?;
    let builder = Strongroom::builder(folder.path().join("store"), roots, PretendedIssuer);
    builder.service_speaker("https://id.example", "service").open()
}

fn write(room: &Strongroom, number: u64) -> strongroom::Result<()> {
    let letters = room.session("contoso", "contoso")?.collection(&LETTERS)?;
    letters.put(&number, &format!("the {number}. letter")).map(drop)
}

fn show(custody: &TenantCustody) -> strongroom::Result<()> {
    let status = custody.keys()?;
    let roots: Vec<String> =
        status.roots.iter().map(|(root, version)| format!("{} {version}", root.as_str())).collect();
    let generations: Vec<String> = status.generations.iter().map(|one| one.number.to_string()).collect();
    println!("  epoch {}, under {}; generations {}", status.epoch, roots.join(" and "), generations.join(", "));
    Ok(())
}
