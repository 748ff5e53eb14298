//! The async face against the store wrapped in `spawn_blocking` by hand: the same operations of as many tasks, on the same
//! runtime, in turns. Throughput, the 99th percentile of an operation, and the longest that a task which only sleeps is kept
//! from waking.
//!
//! `cargo bench --profile dev --features tokio --bench aio`
#![expect(clippy::disallowed_methods, reason = "a bench asks the clock itself")]
#![expect(clippy::cast_possible_truncation, reason = "numbers of records are small")]

mod support {
    #[expect(dead_code, reason = "others time whole rounds")]
    pub mod turns;
}

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::identity::{Claims, Rejection, SubjectKind, Verifier};
use strongroom::{Collection, CollectionDef, Durability, LocalRoots, Session, Strongroom, TenantSpec, aio};
use support::turns::{is_test, rounds};

const SYNCED: CollectionDef<u64, Vec<u8>> = CollectionDef::bytes("notes").ordered();
const BUFFERED: CollectionDef<u64, Vec<u8>> = SYNCED.durability(Durability::Buffered);
const TENANTS: u64 = 8;
const TASKS: u64 = 64;
const VALUE_LEN: usize = 1 << 10;

struct Names;

impl Verifier for Names {
    fn verify(&self, credential: &str, now_secs: u64) -> Result<Claims, Rejection> {
        let roles = ["read", "write", "custodian"].map(|role| format!("strongroom.{role}")).to_vec();
        let (issuer, tenant, subject) = ("i".to_owned(), credential.to_owned(), "s".to_owned());
        Ok(Claims {
            issuer,
            tenant,
            subject,
            subject_kind: SubjectKind::Unknown,
            expires_at_secs: now_secs + 7200,
            roles,
            scopes: None,
        })
    }
}

/// Each tenant, through either door.
struct World {
    by_hand: Vec<Session>,
    ours: Vec<aio::Session>,
    records: u64,
    _folder: tempfile::TempDir,
}

/// One thing that a task does over and over.
#[derive(Clone, Copy)]
enum Work {
    Get,
    Put(Durability),
    /// Nine gets for one buffered put.
    Mixed,
    /// A hundred rows.
    Scan,
}

type Operation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What came of one round of one contender.
struct Outcome {
    per_second: f64,
    p99: Duration,
    pause: Duration,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").unwrap();
        let builder = Strongroom::builder(folder.path().join("store"), roots, Names);
        let room = builder.service_speaker("i", "service").open().unwrap();
        let ours = aio::Strongroom::new(room.clone(), aio::Limits::default());
        let mut world =
            Self { by_hand: vec![], ours: vec![], records: if is_test() { 100 } else { 2_000 }, _folder: folder };
        for number in 0..TENANTS {
            let name = format!("t{number}");
            room.custody("service").unwrap().create_tenant(TenantSpec::new(&name, "i", &name)).unwrap();
            let session = room.session(&name, &name).unwrap();
            let mut batch = session.batch();
            for record in 0..world.records {
                batch = batch.put(&SYNCED, &record, &vec![7; VALUE_LEN]).unwrap();
            }
            batch.commit().unwrap();
            world.by_hand.push(session);
            world.ours.push(ours.session(&name, &name).await.unwrap());
        }
        world
    }
}

/// A number here and there.
fn scattered(task: u64, place: u64, below: u64) -> u64 {
    (task * 7_919 + place).wrapping_mul(0x9E37_79B9_7F4A_7C15) % below
}

fn definition(work: Work) -> &'static CollectionDef<u64, Vec<u8>> {
    if matches!(work, Work::Put(Durability::Synced)) { &SYNCED } else { &BUFFERED }
}

fn is_put(work: Work, place: u64) -> bool {
    matches!(work, Work::Put(_)) || matches!(work, Work::Mixed) && place.is_multiple_of(10)
}

/// What a service does without the async face.
async fn blocking<T: Send + 'static>(
    notes: &Collection<u64, Vec<u8>>,
    work: impl FnOnce(&Collection<u64, Vec<u8>>) -> T + Send + 'static,
) -> T {
    let notes = notes.clone();
    tokio::task::spawn_blocking(move || work(&notes)).await.unwrap()
}

fn by_hand(notes: Collection<u64, Vec<u8>>, work: Work, records: u64, task: u64, place: u64) -> Operation {
    let key = scattered(task, place, records);
    Box::pin(async move {
        if let Work::Scan = work {
            let from = key.min(records - 100);
            let rows = blocking(&notes, move |notes| notes.range(from..from + 100).unwrap().collect::<Vec<_>>()).await;
            assert_eq!(rows.len(), 100);
        } else if is_put(work, place) {
            blocking(&notes, move |notes| notes.put(&key, &vec![8; VALUE_LEN]).unwrap()).await;
        } else {
            assert_eq!(blocking(&notes, move |notes| notes.get(&key).unwrap().unwrap()).await.len(), VALUE_LEN);
        }
    })
}

fn ours(notes: aio::Collection<u64, Vec<u8>>, work: Work, records: u64, task: u64, place: u64) -> Operation {
    let key = scattered(task, place, records);
    Box::pin(async move {
        if let Work::Scan = work {
            let from = key.min(records - 100);
            let (mut rows, mut count) = (notes.range(from..from + 100).await.unwrap(), 0);
            while let Some(row) = rows.next().await {
                row.unwrap();
                count += 1;
            }
            assert_eq!(count, 100);
        } else if is_put(work, place) {
            notes.put(&key, vec![8; VALUE_LEN]).await.unwrap();
        } else {
            assert_eq!(notes.get(&key).await.unwrap().unwrap().len(), VALUE_LEN);
        }
    })
}

/// Every task does its operations one after the other, beside a heartbeat.
async fn round<N: Clone + Send + 'static>(
    collections: Vec<N>,
    operations: u64,
    operation: impl Fn(N, u64, u64) -> Operation + Clone + Send + 'static,
) -> Outcome {
    let (is_over, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let heart = {
        let (is_over, longest) = (is_over.clone(), longest.clone());
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let start = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
                longest.fetch_max(start.elapsed().as_micros() as u64, Ordering::SeqCst);
            }
        })
    };
    let start = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (notes, operation) = (collections[(task % TENANTS) as usize].clone(), operation.clone());
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(operations as usize);
                for place in 0..operations {
                    let start = Instant::now();
                    operation(notes.clone(), task, place).await;
                    times.push(start.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let took = start.elapsed();
    is_over.store(true, Ordering::SeqCst);
    heart.await.unwrap();
    times.sort_unstable();
    Outcome {
        per_second: f64::from(times.len() as u32) / took.as_secs_f64(),
        p99: times[times.len() * 99 / 100],
        pause: Duration::from_micros(longest.load(Ordering::SeqCst)),
    }
}

async fn line(world: &World, what: &str, work: Work, operations: u64) {
    let operations = if is_test() { 3 } else { operations };
    let definition = definition(work);
    let hand: Vec<_> = world.by_hand.iter().map(|session| session.collection(definition).unwrap()).collect();
    let mut face = Vec::new();
    for session in &world.ours {
        face.push(session.collection(definition).await.unwrap());
    }
    let records = world.records;
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for turn in 0..rounds() * 2 {
        if (turn + turn / 2) % 2 == 0 {
            let operation = move |notes, task, place| ours(notes, work, records, task, place);
            mine.push(round(face.clone(), operations, operation).await);
        } else {
            let operation = move |notes, task, place| by_hand(notes, work, records, task, place);
            theirs.push(round(hand.clone(), operations, operation).await);
        }
    }
    let [ours, by_hand] = [&mine, &theirs].map(|rounds| {
        let [speed, p99, pause] = [
            middle(rounds.iter().map(|round| round.per_second)),
            middle(rounds.iter().map(|round| round.p99.as_secs_f64() * 1e6)),
            middle(rounds.iter().map(|round| round.pause.as_secs_f64() * 1e3)),
        ];
        format!("{speed:.0}/s, p99 {p99:.0} us, pause {pause:.1} ms")
    });
    println!(
        "| {what} | {ours} | {by_hand} | {} | {} | {} |",
        ratio(&mine, &theirs, |round| round.per_second),
        ratio(&mine, &theirs, |round| round.p99.as_secs_f64()),
        ratio(&mine, &theirs, |round| round.pause.as_secs_f64()),
    );
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Ours by theirs, round by round: median and range.
fn ratio(ours: &[Outcome], theirs: &[Outcome], of: impl Fn(&Outcome) -> f64) -> String {
    let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)).collect();
    ratios.sort_by(f64::total_cmp);
    format!("{:.2}x ({:.2}..{:.2})", ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1])
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let world = World::new().await;
    println!("\n{TASKS} tasks of {TENANTS} tenants, values of {VALUE_LEN} B, medians of {} rounds in turns", rounds());
    println!("| | async face | `spawn_blocking` by hand | operations a second | p99 | longest pause |");
    println!("|---|---|---|---|---|---|");
    line(&world, "get", Work::Get, 500).await;
    line(&world, "put, buffered", Work::Put(Durability::Buffered), 200).await;
    line(&world, "nine gets, one buffered put", Work::Mixed, 500).await;
    line(&world, "scan of 100 rows", Work::Scan, 20).await;
    line(&world, "put, synced", Work::Put(Durability::Synced), 20).await;
}
