//! A collection of hidden keys against plain RocksDB: the same records, the same durability, in turns.
//!
//! `cargo bench --profile dev --bench collection`
#![expect(clippy::cast_possible_truncation, reason = "numbers of records are small")]
#![expect(clippy::unused_self, reason = "each way of measuring takes what the others take")]
#![expect(clippy::disallowed_types, reason = "what is compared with")]

mod support {
    pub mod contenders;
    pub mod turns;
}

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use strongroom::Durability::{self, Buffered, Synced};
use support::contenders::{Contender, Ours, Plain};
use support::turns::{each, in_turns, is_profiled, is_test, ratio};

/// What the settings of the strongroom's engine are compiled against here.
mod error {
    pub(crate) type Result<T, E = rocksdb::Error> = std::result::Result<T, E>;
}

const SIZES: [usize; 2] = [100, 1 << 10];
const BATCH: u64 = 100;

/// The three, each with every record, in a folder that goes with them.
struct Arena {
    _folder: tempfile::TempDir,
    contenders: [Box<dyn Contender>; 3],
    records: u64,
    value_len: usize,
}

impl Arena {
    fn new(value_len: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let contenders: [Box<dyn Contender>; 3] = [
            Box::new(Ours::open(&path("ours"))),
            Box::new(Plain::with_our_settings(&path("our settings"))),
            Box::new(Plain::with_defaults(&path("defaults"))),
        ];
        let arena = Self { contenders, _folder: folder, records: if is_test() { 1_000 } else { 100_000 }, value_len };
        for contender in &arena.contenders {
            for numbers in arena.shuffled().chunks(1_000) {
                contender.put_all(&arena.with_values(numbers.to_vec()));
            }
        }
        arena.check();
        arena
    }

    fn value(&self, number: u64) -> Vec<u8> {
        let mut value = vec![number as u8; self.value_len];
        value[..8].copy_from_slice(&number.to_be_bytes());
        value
    }

    /// Every record, in an order that is none: hidden keys have none on the disk, and a database that was filled in
    /// the order of its keys would have an easier life.
    fn shuffled(&self) -> Vec<u64> {
        // A multiplier without a factor in common with the count visits every number once.
        (0..self.records).map(|place| place * 61_803 % self.records).collect()
    }

    /// Everyone has every record and nothing else.
    fn check(&self) {
        for contender in &self.contenders {
            let mut seen = vec![false; self.records as usize];
            contender.scan(&mut |number, value| {
                assert_eq!(value, self.value(number));
                assert!(!std::mem::replace(&mut seen[number as usize], true));
            });
            assert!(seen.into_iter().all(|seen| seen));
            assert_eq!(contender.get(self.records), None);
        }
    }

    /// Records here and there, the same for everyone, `salt` apart.
    fn some(&self, count: u64, salt: u64) -> Vec<u64> {
        (0..count).map(|place| (place + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.records).collect()
    }

    fn get(&self, contender: &dyn Contender, numbers: &[u64]) {
        for &number in numbers {
            let value = contender.get(number).unwrap();
            assert_eq!(value[..8], number.to_be_bytes());
            black_box(value);
        }
    }

    fn put(&self, contender: &dyn Contender, records: &[(u64, Vec<u8>)], durability: Durability) {
        records.iter().for_each(|(number, value)| contender.put(*number, value, durability));
    }

    fn scan(&self, contender: &dyn Contender) {
        let mut rows = 0;
        contender.scan(&mut |number, value| {
            assert_eq!(value[..8], number.to_be_bytes());
            black_box(value);
            rows += 1;
        });
        assert_eq!(rows, self.records);
    }

    fn with_values(&self, numbers: Vec<u64>) -> Vec<(u64, Vec<u8>)> {
        numbers.into_iter().map(|number| (number, self.value(number))).collect()
    }

    /// One line of the table: what `work` costs everyone, when each does the same.
    fn line(&self, what: &str, operations: u64, work: &dyn Fn(&dyn Contender)) {
        let [ours, tuned, stock] = &self.contenders;
        let [ours, tuned, stock] =
            in_turns(&mut [&mut || work(&**ours), &mut || work(&**tuned), &mut || work(&**stock)]);
        println!(
            "| {what} | {} B | {} | {} | {} | {} | {} |",
            self.value_len,
            each(&ours, operations),
            each(&tuned, operations),
            each(&stock, operations),
            ratio(&ours, &tuned),
            ratio(&ours, &stock),
        );
    }

    fn lines(&self) {
        let count = |count: u64| if is_test() { 100 } else { count };
        let gets = self.some(count(20_000), 0);
        self.line("get", gets.len() as u64, &|contender| self.get(contender, &gets));
        self.line("scan, a record", self.records, &|contender| self.scan(contender));
        let puts = self.with_values(self.some(count(5_000), 1));
        self.line("put, buffered", puts.len() as u64, &|contender| self.put(contender, &puts, Buffered));
        let batches: Vec<_> = puts.chunks(BATCH as usize).collect();
        self.line("batch of 100, buffered, a record", puts.len() as u64, &|contender| {
            batches.iter().for_each(|batch| contender.put_all(batch));
        });
        let puts = &puts[..count(200).min(puts.len() as u64) as usize];
        self.line("put, synced", puts.len() as u64, &|contender| self.put(contender, puts, Synced));
        self.check();
    }

    fn absolute(&self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group(format!("{} B", self.value_len));
        let (gets, puts) = (self.some(1 << 16, 2), self.with_values(self.some(1 << 10, 3)));
        for (name, contender) in ["strongroom", "our settings", "defaults"].iter().zip(&self.contenders) {
            let (mut gets, mut puts) = (gets.iter().cycle(), puts.iter().cycle());
            group.throughput(Throughput::Elements(1));
            group.bench_function(format!("get/{name}"), |bencher| {
                bencher.iter(|| contender.get(*gets.next().unwrap()).unwrap());
            });
            for (what, durability) in [("buffered", Buffered), ("synced", Synced)] {
                group.bench_function(format!("put, {what}/{name}"), |bencher| {
                    bencher.iter(|| puts.next().map(|(number, value)| contender.put(*number, value, durability)));
                });
            }
            group.throughput(Throughput::Elements(BATCH));
            group.bench_function(format!("batch of 100/{name}"), |bencher| {
                let batch = || puts.by_ref().take(BATCH as usize).cloned().collect::<Vec<_>>();
                bencher.iter_batched(batch, |batch| contender.put_all(&batch), BatchSize::LargeInput);
            });
            group.throughput(Throughput::Elements(self.records)).sample_size(10);
            group.bench_function(format!("scan/{name}"), |bencher| bencher.iter(|| self.scan(&**contender)));
        }
        group.finish();
    }
}

fn main() {
    println!("\nstrongroom / plain RocksDB on one thread: median (range over the rounds)");
    println!("| | value | strongroom | our settings | defaults | ratio to our settings | ratio to the defaults |");
    println!("|---|---|---|---|---|---|---|");
    let arenas = SIZES.map(|value_len| {
        let arena = Arena::new(value_len);
        if !is_profiled() {
            arena.lines();
        }
        arena
    });
    let mut criterion = Criterion::default().configure_from_args();
    arenas.iter().for_each(|arena| arena.absolute(&mut criterion));
    criterion.final_summary();
}
