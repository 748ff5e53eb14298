//! What very many tenants cost: making them, opening their store, and holding them in memory while they do nothing.
//!
//! `TENANTS=100000 cargo bench --profile dev --bench tenants`, 10,000 unless said otherwise.

mod support {
    #[expect(dead_code, reason = "no comparison here")]
    pub mod turns;
}

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use strongroom::identity::{Claims, Rejection, Verifier};
use strongroom::{LocalRoots, Strongroom, TenantSpec};

/// Where a store is that is to be opened again.
const FOLDER: &str = "STRONGROOM_BENCH_FOLDER";

/// Takes everybody at their word.
struct Gullible;

impl Verifier for Gullible {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        Ok(Claims {
            issuer: "https://issuer.example/v2.0".into(),
            tenant: credential.into(),
            subject: "bench".into(),
            expires_at_secs: now_secs + 3600,
            roles: vec!["strongroom.custodian".into()],
            scopes: None,
        })
    }
}

fn open(folder: &Path) -> Strongroom {
    let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
    let builder = Strongroom::builder(folder.join("store"), roots, Gullible);
    builder.service_speaker("https://issuer.example/v2.0", "service").open().unwrap()
}

fn specs(count: usize) -> Vec<TenantSpec> {
    let spec = |number| {
        TenantSpec::new(format!("tenant-{number}"), "https://issuer.example/v2.0", format!("claim-{number:030}"))
    };
    (0..count).map(spec).collect()
}

#[expect(clippy::disallowed_methods, reason = "a bench asks the clock itself")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let outcome = work();
    (outcome, start.elapsed())
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// The other half, in a process of its own, whose memory nothing else has used before.
fn open_again(folder: &Path, count: usize) {
    let before = resident();
    let (room, opening) = timed(|| open(folder));
    let held = resident().saturating_sub(before);
    assert_eq!(room.custody("service").unwrap().tenants().unwrap().len(), count);
    println!("opening: {opening:.1?}; memory: {} bytes a tenant, the open store itself included", held / count);
}

fn main() {
    let asked = std::env::var("TENANTS").ok().and_then(|count| count.parse().ok());
    let count = asked.unwrap_or(if support::turns::is_test() { 200 } else { 10_000 });
    if let Some(folder) = std::env::var_os(FOLDER) {
        return open_again(Path::new(&folder), count);
    }
    let folder = tempfile::tempdir().unwrap();
    let ((), alone) = timed(|| {
        let room = open(&folder.path().join("alone"));
        let custody = room.custody("service").unwrap();
        specs(count / 10).into_iter().for_each(|spec| drop(custody.create_tenant(spec).unwrap()));
    });
    println!("one by one: {} tenants in {alone:.1?}", count / 10);
    let (_, together) = timed(|| open(folder.path()).custody("service").unwrap().create_tenants(specs(count)).unwrap());
    println!("together: {count} tenants in {together:.1?}");
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.env(FOLDER, folder.path()).env("TENANTS", count.to_string());
    assert!(again.status().unwrap().success());
}
