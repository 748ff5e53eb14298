//! Moving records to a new generation, against a plain copy of the same records in RocksDB, and what others notice of it.
//!
//! `cargo bench --profile dev --bench reseal`

#![expect(clippy::cast_possible_truncation, reason = "numbers of records are small")]
#![expect(clippy::disallowed_types, reason = "what is compared with")]

mod support {
    #[expect(dead_code, reason = "of the contenders only the plain one is needed")]
    pub mod contenders;
    #[expect(dead_code, reason = "nothing here is profiled")]
    pub mod turns;
}

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{
    Budgets, CanDestroy, Collection, CollectionDef, Durability, LocalRoots, ResealPlan, Strongroom, TenantCustody,
    TenantSpec,
};
use support::contenders::{Contender, Plain};
use support::turns::{in_turns, is_test, ratio};

/// What the settings of the strongroom's engine are compiled against here.
mod error {
    pub(crate) type Result<T, E = rocksdb::Error> = std::result::Result<T, E>;
}

const RECORDS: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("records").durability(Durability::Buffered);
const VALUE_LEN: usize = 1024;
/// Records of one write, as many as a page of a sweep has.
const BATCH: u64 = 128;

struct Everybody;

impl Verifier for Everybody {
    fn verify(&self, _: &str, now_secs: u64) -> Result<Claims, Rejection> {
        Ok(Claims {
            issuer: "bench".to_owned(),
            tenant: "tenant".to_owned(),
            subject: "somebody".to_owned(),
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 3600,
            roles: ["read", "write", "custodian"].map(|role| format!("strongroom.{role}")).into(),
            scopes: None,
        })
    }
}

struct Ours {
    custody: TenantCustody,
    records: Collection<u64, Vec<u8>>,
    _room: Strongroom,
}

impl Ours {
    fn open(folder: &Path, count: u64) -> Self {
        let roots = LocalRoots::open_with_root(folder.join("keys"), "service").unwrap();
        let builder = Strongroom::builder(folder.join("store"), roots, Everybody).service_speaker("bench", "tenant");
        let room = builder.boxes_per_cell(1).budgets(Budgets::default().memory_bytes(1 << 30)).open().unwrap();
        room.custody("").unwrap().create_tenant(TenantSpec::new("tenant", "bench", "tenant")).unwrap();
        let session = room.session("", "tenant").unwrap();
        for first in (0..count).step_by(BATCH as usize) {
            let batch = (first..first + BATCH).fold(session.batch().durability(Durability::Buffered), |batch, key| {
                batch.put(&RECORDS, &key, &vec![key as u8; VALUE_LEN]).unwrap()
            });
            batch.commit().unwrap();
        }
        let records = session.collection(&RECORDS).unwrap();
        Self { custody: room.tenant_custody("", "tenant").unwrap(), records, _room: room }
    }

    /// Both sweeps: the one that moves, and the one that proves. Then the old key goes.
    fn rotate(&self, bytes_per_second: u64) {
        let old = self.custody.rotate_keys().unwrap() - 1;
        assert!(self.custody.reseal(ResealPlan::new().bytes_per_second(bytes_per_second)).unwrap().is_complete);
        match self.custody.can_destroy(old).unwrap() {
            CanDestroy::Yes(proof) => drop(self.custody.retire(proof).unwrap()),
            CanDestroy::No(blockers) => panic!("{blockers:?}"),
        }
    }
}

/// Every record read and written again, batch by batch.
fn copy(plain: &Plain) {
    let mut batch = Vec::with_capacity(BATCH as usize);
    plain.scan(&mut |number, value| {
        batch.push((number, value));
        if batch.len() == BATCH as usize {
            plain.put_all(&batch);
            batch.clear();
        }
    });
    plain.put_all(&batch);
}

/// How long single reads and writes take, 99 of 100.
#[expect(clippy::disallowed_methods, reason = "a bench asks the clock itself")]
fn p99(records: &Collection<u64, Vec<u8>>, count: u64, operations: u64) -> Duration {
    let value = vec![9; VALUE_LEN];
    let mut times: Vec<Duration> = (0..operations)
        .map(|number| {
            let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % count;
            let start = Instant::now();
            if number % 2 == 0 {
                drop(records.get(&key).unwrap());
            } else {
                records.put(&key, &value).unwrap();
            }
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() * 99 / 100]
}

/// The foreground alone, and beside moves that do not end, in turns.
fn foreground(ours: &Ours, count: u64, bytes_per_second: u64, what: &str) {
    let (operations, rounds) = if is_test() { (200, 1) } else { (4000, 9) };
    let mut ratios: Vec<f64> = (0..rounds)
        .map(|_| {
            let alone = p99(&ours.records, count, operations);
            let stop = AtomicBool::new(false);
            let beside = std::thread::scope(|scope| {
                let moving = scope.spawn(|| {
                    ours.custody.rotate_keys().unwrap();
                    let plan = ResealPlan::new().bytes_per_second(bytes_per_second).on_progress(|_| {
                        match stop.load(Ordering::SeqCst) {
                            true => std::ops::ControlFlow::Break(()),
                            false => std::ops::ControlFlow::Continue(()),
                        }
                    });
                    ours.custody.reseal(plan).unwrap();
                });
                std::thread::sleep(Duration::from_millis(5));
                let beside = p99(&ours.records, count, operations);
                stop.store(true, Ordering::SeqCst);
                moving.join().unwrap();
                beside
            });
            ours.rotate(u64::MAX);
            retire_rest(&ours.custody);
            beside.as_secs_f64() / alone.as_secs_f64()
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    println!("| foreground p99, {what}, against alone | {:.2}x ({least:.2}..{most:.2}) |", ratios[ratios.len() / 2]);
}

fn retire_rest(custody: &TenantCustody) {
    for generation in custody.keys().unwrap().generations.iter().rev().skip(1) {
        if let CanDestroy::Yes(proof) = custody.can_destroy(generation.number).unwrap() {
            custody.retire(proof).unwrap();
        }
    }
}

fn main() {
    let count = if is_test() { 2 * BATCH } else { 400 * BATCH };
    let folder = tempfile::tempdir().unwrap();
    let ours = Ours::open(&folder.path().join("ours"), count);
    let plain = Plain::with_our_settings(&folder.path().join("plain"));
    (0..count).for_each(|number| plain.put(number, &vec![number as u8; VALUE_LEN], Durability::Buffered));
    let [moved, copied] = in_turns(&mut [&mut || ours.rotate(u64::MAX), &mut || copy(&plain)]);
    println!("\n| {count} records of {VALUE_LEN} bytes | median (range over the rounds) |\n|---|---|");
    println!("| rotate, reseal, prove and retire, against a plain copy | {} |", ratio(&moved, &copied));
    foreground(&ours, count, 16 << 20, "reseal at 16 MiB/s");
    foreground(&ours, count, u64::MAX, "reseal without limit");
}
