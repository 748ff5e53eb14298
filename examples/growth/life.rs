//! The lives of stores: what each child process does and measures.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{Budgets, CollectionDef, Custody, Durability, LocalRoots, Strongroom, TenantSpec};

use super::Outcome;
use super::probe::{Times, descriptors, disk, resident, timed};

/// One measurement.
#[derive(Serialize, Deserialize)]
pub struct Task {
    pub what: What,
    pub folder: PathBuf,
    pub tenants: usize,
    pub boxes: u32,
    /// The tenants that are active: how many, and every how manyth of all.
    pub active: usize,
    pub stride: usize,
}

#[derive(Serialize, Deserialize)]
pub enum What {
    /// Makes the tenants in bulk.
    Together,
    /// Makes them one by one.
    Alone,
    /// Opens the store with its tenants idle.
    Idle,
    /// Gives the active tenants records, and closes every cell.
    Fill,
    /// Of the active tenants nine in ten read and one in ten writes, for a while, within [`MEMORY`].
    Active,
    /// Every active tenant writes, with room for all.
    Busy,
}

/// What the engine may take while tenants are active.
pub const MEMORY: usize = 512 << 20;

const MAIL: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("mail").durability(Durability::Buffered);

/// Takes everybody at their word: what is measured lies behind the verifier.
struct Gullible;

impl Verifier for Gullible {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        Ok(Claims {
            issuer: "https://issuer.example/v2.0".into(),
            tenant: credential.into(),
            subject: "growth".into(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 3600,
            roles: ["read", "write", "custodian"].map(|role| format!("strongroom.{role}")).to_vec(),
            scopes: None,
        })
    }
}

pub fn play(task: &str) -> Outcome<Value> {
    let task: Task = serde_json::from_str(task)?;
    match task.what {
        What::Together => task.make_together(),
        What::Alone => task.make_alone(),
        What::Idle => task.open_idle(),
        What::Fill => task.fill(),
        What::Active => task.be_active(),
        What::Busy => task.be_busy(),
    }
}

fn spec(number: usize) -> TenantSpec {
    TenantSpec::new(name(number), "https://issuer.example/v2.0", name(number))
}

fn name(number: usize) -> String {
    format!("tenant-{number:06}")
}

impl Task {
    fn open(&self, budgets: Budgets) -> Outcome<Strongroom> {
        let roots = LocalRoots::open_with_root(self.folder.join("keys"), "service")?;
        let builder = Strongroom::builder(self.folder.join("store"), roots, Gullible);
        let builder = builder.service_speaker("https://issuer.example/v2.0", "service");
        Ok(builder.boxes_per_cell(self.boxes).budgets(budgets).open()?)
    }

    fn make_together(&self) -> Outcome<Value> {
        self.make(|custody| {
            custody.create_tenants((0..self.tenants).map(spec).collect())?;
            Ok(())
        })
    }

    fn make_alone(&self) -> Outcome<Value> {
        self.make(|custody| Ok((0..self.tenants).try_for_each(|number| custody.create_tenant(spec(number)).map(drop))?))
    }

    fn make(&self, make: impl FnOnce(&Custody) -> Outcome) -> Outcome<Value> {
        let room = self.open(Budgets::default())?;
        let custody = room.custody("service")?;
        let (outcome, took) = timed(|| make(&custody));
        outcome?;
        drop((custody, room));
        Ok(json!({ "secs": took.as_secs_f64(), "disk": disk(&self.folder.join("store")) }))
    }

    fn open_idle(&self) -> Outcome<Value> {
        let before = resident();
        let mut times = Times::default();
        let room = times.time(|| self.open(Budgets::default()))?;
        // What is there already when a store is open that knows nobody.
        let (held, resident) = (resident().saturating_sub(before), resident());
        assert_eq!(room.stats().tenants, self.tenants);
        drop(room);
        for _ in 0..4 {
            drop(times.time(|| self.open(Budgets::default()))?);
        }
        let [median, _, longest] = times.summary();
        Ok(json!({ "open_ms": median, "longest_ms": longest, "resident": resident, "held": held }))
    }

    /// The active tenants, in an order in which neighbours do not follow each other.
    fn actors(&self) -> Vec<String> {
        let scatter = |place: usize| place * 7919 % self.active;
        (0..self.active).map(|place| name(scatter(place) * self.stride)).collect()
    }

    fn fill(&self) -> Outcome<Value> {
        let room = self.open(Budgets::default().idle(Duration::ZERO))?;
        for place in 0..self.active {
            let tenant = name(place * self.stride);
            let mail = room.session(&tenant, &tenant)?.collection(&MAIL)?;
            (0..10).try_for_each(|key| mail.put(&format!("{key}").as_str(), &vec![7; 1000]).map(drop))?;
        }
        while room.stats().cells.open > 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(json!({ "disk": disk(&self.folder.join("store")) }))
    }

    fn be_active(&self) -> Outcome<Value> {
        let (before, files_before) = (resident(), descriptors());
        let room = self.open(Budgets::default().memory_bytes(MEMORY).open_files(8192))?;
        let (mut sessions, mut reads, mut writes) = (Times::default(), Times::default(), Times::default());
        let (mut peak, mut files) = (0, 0);
        for (place, tenant) in self.actors().iter().enumerate() {
            let session = sessions.time(|| room.session(tenant, tenant))?;
            let mail = session.collection(&MAIL)?;
            if place % 10 == 9 {
                writes.time(|| mail.put(&"3", &vec![8; 1000]))?;
            } else {
                assert!(reads.time(|| mail.get(&"3"))?.is_some());
            }
            peak = peak.max(resident());
            files = files.max(descriptors());
        }
        // And again, warm, in another order: the steady state.
        let (mut warm, rounds) = (Times::default(), 3);
        for _ in 0..rounds {
            for (place, tenant) in self.actors().iter().enumerate() {
                let mail = room.session(tenant, tenant)?.collection(&MAIL)?;
                match place % 10 {
                    9 => drop(warm.time(|| mail.put(&"4", &vec![9; 1000]).map(drop))?),
                    _ => drop(warm.time(|| mail.get(&"3"))?),
                }
            }
            peak = peak.max(resident());
            files = files.max(descriptors());
        }
        let stats = room.stats().cells;
        Ok(json!({
            "session_ms": sessions.summary(), "read_ms": reads.summary(), "write_ms": writes.summary(),
            "warm_ms": warm.summary(), "peak": peak, "held": peak.saturating_sub(before),
            "files": files - files_before, "open": stats.open, "views": stats.views,
            "opened": stats.opened_total, "closed": stats.closed_total,
        }))
    }

    fn be_busy(&self) -> Outcome<Value> {
        let before = resident();
        let room = self.open(Budgets::default().memory_bytes(16 << 30).open_files(16_384))?;
        let idle = resident();
        let mut writes = Times::default();
        for tenant in self.actors() {
            let mail = room.session(&tenant, &tenant)?.collection(&MAIL)?;
            writes.time(|| mail.put(&"3", &vec![8; 1000]))?;
        }
        let held = resident().saturating_sub(idle);
        let open = room.stats().cells.open;
        Ok(json!({ "write_ms": writes.summary(), "held": held, "open": open, "idle": idle.saturating_sub(before) }))
    }
}

/// A folder of a store, removed when this is dropped.
pub fn folder() -> Outcome<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("strongroom-growth").tempdir()?)
}

/// A task for the store in `folder`, whose active tenants are drawn from all.
pub fn task(what: What, folder: &Path, tenants: usize, boxes: u32, active: usize, stride: usize) -> Value {
    let folder = folder.to_path_buf();
    serde_json::to_value(Task { what, folder, tenants, boxes, active, stride }).expect("plain data")
}
