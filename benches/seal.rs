//! Sealing and opening one record, against bare AES-256-GCM with one key for everything: what the header, the fresh
//! subkey, the key commitment, the binding to a place and the wiping cost.
//!
//! `cargo bench --profile dev --features bench-internals --bench seal`

#![expect(clippy::disallowed_types, reason = "what is compared with")]

mod support {
    pub mod turns;
}

use std::hint::black_box;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::array::Array;
use aes_gcm::{Aes256Gcm, KeyInit};
use criterion::{Criterion, Throughput};
use strongroom::bench::Seal;
use support::turns::{each, in_turns, is_profiled, is_test, ratio};

const SIZES: [usize; 6] = [64, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20];

/// AES-256-GCM with the key expanded once: `nonce || ciphertext || tag`.
struct Bare(Aes256Gcm);

impl Bare {
    fn seal(&self, nonce: [u8; 12], value: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(12 + value.len() + 16);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value);
        let tag = self.0.encrypt_inout_detached(&Array(nonce), &[], (&mut sealed[12..]).into()).unwrap();
        sealed.extend_from_slice(&tag);
        sealed
    }

    fn open(&self, sealed: &[u8]) -> Vec<u8> {
        let (nonce, rest) = sealed.split_first_chunk::<12>().unwrap();
        let (ciphertext, tag) = rest.split_last_chunk::<16>().unwrap();
        let mut value = ciphertext.to_vec();
        self.0.decrypt_inout_detached(&Array(*nonce), &[], value.as_mut_slice().into(), &Array(*tag)).unwrap();
        value
    }
}

/// A nonce that has not been before.
fn nonce<const N: usize>(counter: &mut u64) -> [u8; N] {
    *counter += 1;
    let mut nonce = [0; N];
    nonce[..8].copy_from_slice(&counter.to_le_bytes());
    nonce
}

fn table() {
    let (ours, bare) = (Seal::new(), Bare(Aes256Gcm::new(&Array([3; 32]))));
    println!(
        "\nsealing and opening, strongroom / bare AES-256-GCM with the key reused: median (range over the rounds)"
    );
    println!("| value | seal | bare | seal, ratio | open | bare | open, ratio |");
    println!("|---|---|---|---|---|---|---|");
    for size in SIZES {
        let value = vec![0x5A; size];
        let count = if is_test() { 2 } else { (64 << 20) / (size as u64 + 4096) };
        let (mut at_ours, mut at_bare) = (0, 0);
        let [sealing, bare_sealing] = in_turns(&mut [
            &mut || (0..count).for_each(|_| drop(black_box(ours.seal(&nonce(&mut at_ours), &value).unwrap()))),
            &mut || (0..count).for_each(|_| drop(black_box(bare.seal(nonce(&mut at_bare), &value)))),
        ]);
        let (sealed, bare_sealed) = (ours.seal(&[9; 24], &value).unwrap(), bare.seal([9; 12], &value));
        assert_eq!(ours.open(&sealed).unwrap(), value);
        assert_eq!(bare.open(&bare_sealed), value);
        let [opening, bare_opening] =
            in_turns(&mut [&mut || (0..count).for_each(|_| drop(black_box(ours.open(&sealed).unwrap()))), &mut || {
                (0..count).for_each(|_| drop(black_box(bare.open(&bare_sealed))));
            }]);
        println!(
            "| {size} B | {} | {} | {} | {} | {} | {} |",
            each(&sealing, count),
            each(&bare_sealing, count),
            ratio(&sealing, &bare_sealing),
            each(&opening, count),
            each(&bare_opening, count),
            ratio(&opening, &bare_opening),
        );
    }
}

fn absolute(criterion: &mut Criterion) {
    let ours = Seal::new();
    for size in SIZES {
        let (value, mut counter) = (vec![0x5A; size], 0);
        let sealed = ours.seal(&[9; 24], &value).unwrap();
        let mut group = criterion.benchmark_group(format!("{size} B"));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function("seal", |bencher| bencher.iter(|| ours.seal(&nonce(&mut counter), &value).unwrap()));
        group.bench_function("open", |bencher| bencher.iter(|| ours.open(&sealed).unwrap()));
        group.finish();
    }
}

fn main() {
    if !is_profiled() {
        table();
    }
    let mut criterion = Criterion::default().configure_from_args();
    absolute(&mut criterion);
    criterion.final_summary();
}
