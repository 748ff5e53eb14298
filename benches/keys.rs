//! Keys at work: sessions with and without the keys in memory, and moving tenants to the newest version of a root key.
//!
//! `cargo bench --profile dev --bench keys`

mod support {
    #[expect(dead_code, reason = "nothing here is profiled")]
    pub mod turns;
}

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{
    CollectionDef, Durability, LocalRoots, ManualClock, RootError, RootId, RootKeys, RootRotation, Strongroom,
    StrongroomBuilder, TenantSpec, WrapContext, WrapSecret, Wrapped,
};
use support::turns::{each, in_turns, is_test, ratio};

const ROOT: &str = "service";
const NOTES: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes");

/// Root keys in files, and how often they were asked.
#[derive(Clone)]
struct Counted {
    roots: Arc<LocalRoots>,
    wraps: Arc<AtomicU64>,
    unwraps: Arc<AtomicU64>,
}

impl Counted {
    fn open(folder: &std::path::Path) -> Self {
        let roots = Arc::new(LocalRoots::open_with_root(folder, ROOT).unwrap());
        Self { roots, wraps: Arc::default(), unwraps: Arc::default() }
    }

    fn calls(&self) -> (u64, u64) {
        (self.unwraps.load(Ordering::SeqCst), self.wraps.load(Ordering::SeqCst))
    }

    fn generate(&self) {
        self.roots.generate(&RootId::new(ROOT).unwrap()).unwrap();
    }
}

impl RootKeys for Counted {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.wraps.fetch_add(1, Ordering::SeqCst);
        self.roots.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.unwraps.fetch_add(1, Ordering::SeqCst);
        self.roots.unwrap(root, wrapped, context)
    }
}

/// Every credential is the bench's, for a tenant of its own name, for an hour.
struct Everybody;

impl Verifier for Everybody {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let roles = ["read", "write", "custodian"].map(|role| format!("strongroom.{role}")).to_vec();
        let (issuer, tenant, subject) = ("bench".to_owned(), credential.to_owned(), "bench".to_owned());
        Ok(Claims {
            issuer,
            tenant,
            subject,
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 3600,
            roles,
            scopes: None,
        })
    }
}

fn store(folder: &std::path::Path, roots: &Counted) -> StrongroomBuilder {
    Strongroom::builder(folder.join("store"), roots.clone(), Everybody).service_speaker("bench", "service")
}

fn make(room: &Strongroom, tenants: usize) {
    let spec = |number: usize| TenantSpec::new(format!("t{number}"), "bench", format!("t{number}"));
    room.custody("service").unwrap().create_tenants((0..tenants).map(spec).collect()).unwrap();
}

/// Tenants per second, from a store whose keys are all on the disk. What is asked of root keys is counted, not timed away.
fn rotation() {
    println!(
        "\nmoving every tenant to the newest version of a local root key, all synced: median (range over the rounds)"
    );
    println!("| tenants | tenants in a second | unwraps each | wraps each |");
    println!("|---|---|---|---|");
    for tenants in if is_test() { vec![40] } else { vec![1_000, 10_000] } {
        let folder = tempfile::tempdir().unwrap();
        let roots = Counted::open(&folder.path().join("keys"));
        let room = store(folder.path(), &roots).open().unwrap();
        make(&room, tenants);
        let before = roots.calls();
        let mut rounds = 0;
        let [times] = in_turns(&mut [&mut || {
            roots.generate();
            let report = room.custody("service").unwrap().rotate_root(RootRotation::new(ROOT)).unwrap();
            assert_eq!(report.moved.len(), tenants);
            rounds += 1;
        }]);
        let after = roots.calls();
        let each = |calls: u64| calls / (rounds * tenants as u64);
        #[expect(clippy::cast_precision_loss, reason = "numbers of tenants are small")]
        let mut speeds: Vec<f64> = times.iter().map(|time| tenants as f64 / time.as_secs_f64()).collect();
        speeds.sort_by(f64::total_cmp);
        println!(
            "| {tenants} | {:.0} ({:.0}..{:.0}) | {} | {} |",
            speeds[speeds.len() / 2],
            speeds[0],
            speeds[speeds.len() - 1],
            each(after.0 - before.0),
            each(after.1 - before.1),
        );
    }
}

/// Signing in while the keys are in memory, and after they have gone.
fn sessions() {
    let folder = tempfile::tempdir().unwrap();
    let (roots, clock) = (Counted::open(&folder.path().join("keys")), ManualClock::new(1_800_000_000_000));
    let room = store(folder.path(), &roots).clock(clock.clone()).open().unwrap();
    make(&room, 1);
    let count = if is_test() { 2 } else { 2_000 };
    room.session("t0", "t0").unwrap().collection(&NOTES).unwrap().put(&1, &vec![7; 100]).unwrap();
    // A session asks for no key by itself: its first read does.
    let sign_in = || {
        let notes = room.session("t0", "t0").unwrap().collection(&NOTES).unwrap();
        assert!(black_box(notes.get(&1).unwrap()).is_some());
    };
    let [warm, cold] = in_turns(&mut [&mut || (0..count).for_each(|_| sign_in()), &mut || {
        (0..count).for_each(|_| {
            clock.advance(Duration::from_secs(3601));
            sign_in();
        });
    }]);
    println!("\nsigning in and reading a record, local root key: median");
    println!("| keys in memory | keys asked for | ratio |");
    println!("|---|---|---|");
    println!("| {} | {} | {} |", each(&warm, count), each(&cold, count), ratio(&warm, &cold));
}

/// From the request of a purge until all access has ended, and the same of a revocation, for a tenant with few records and
/// for one with many.
fn ends() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Counted::open(&folder.path().join("keys"));
    let room = store(folder.path(), &roots).boxes_per_cell(1).open().unwrap();
    make(&room, 2);
    for (tenant, records) in [("t0", 100), ("t1", if is_test() { 200 } else { 100_000 })] {
        let session = room.session(tenant, tenant).unwrap();
        let mut batch = session.batch().durability(Durability::Buffered);
        for number in 0..records {
            batch = batch.put(&NOTES, &number, &vec![7; 100]).unwrap();
            if number % 1000 == 999 {
                batch.commit().unwrap();
                batch = session.batch().durability(Durability::Buffered);
            }
        }
        batch.commit().unwrap();
    }
    let purge = |tenant: &str| {
        let custody = room.tenant_custody(tenant, tenant).unwrap();
        custody.request_purge("for the bench").unwrap();
        custody.cancel_purge("for the bench").unwrap();
    };
    let revoke = |tenant: &str| {
        let custody = room.tenant_custody(tenant, tenant).unwrap();
        custody.revoke("for the bench").unwrap();
        custody.restore("for the bench").unwrap();
    };
    let [few, many] = in_turns(&mut [&mut || purge("t0"), &mut || purge("t1")]);
    let [few_revoked, many_revoked] = in_turns(&mut [&mut || revoke("t0"), &mut || revoke("t1")]);
    println!("\nending all access and giving it back, each synced: median");
    println!("| | 100 records | 100,000 records | ratio |");
    println!("|---|---|---|---|");
    println!("| request and cancel a purge | {} | {} | {} |", each(&few, 1), each(&many, 1), ratio(&few, &many));
    let (few, many) = (few_revoked, many_revoked);
    println!("| revoke and restore | {} | {} | {} |", each(&few, 1), each(&many, 1), ratio(&few, &many));
}

fn main() {
    sessions();
    rotation();
    ends();
}
