//! What the disk shows: every file of the store is searched for what was stored in it.

use std::collections::HashSet;
use std::path::Path;

use strongroom::{LocalRoots, Strongroom, TenantSpec};

use crate::failure::{Outcome, expect};
use crate::issuer::{self, ISSUER, SERVICE};
use crate::raw;
use crate::report::Search;
use crate::scene::{Scene, TENANTS};
use crate::screen::{bytes, span, thousands};
use crate::search::{Hits, Kind, Patterns, files};
use crate::timing::Stopwatch;
use crate::work::{NOTES, Note};

const WINDOW: usize = 16;
const WINDOWS_PER_DOCUMENT: usize = 4;
/// From so many the rarest are taken.
const CANDIDATES_PER_DOCUMENT: usize = 24;
const DOCUMENTS_SAMPLED: usize = 2_000;
/// A window with fewer different bytes is padding or a rule of dashes, and says nothing.
const DIFFERENT_BYTES: usize = 8;
/// How many places are tried for a piece.
const ATTEMPTS: usize = 64;
/// A shorter record key could be a word of RocksDB's own.
const KEY_MIN_LEN: usize = 8;

const KINDS: [(Kind, &str); 3] =
    [(Kind::Plaintext, "plaintext"), (Kind::RecordKey, "record keys"), (Kind::TenantName, "tenant names")];

/// Searches the closed store, then the same documents in plain RocksDB, where all must be found.
pub fn search(scene: &mut Scene) -> Outcome {
    scene.screen.heading("The disk: every byte of every file is searched for what was stored");
    let patterns = patterns(scene)?;
    let mut watch = Stopwatch::default();
    let hits = watch.time(|| search_folder(scene, &patterns, &scene.store(), "store"))?;
    scene.measured("search the store", 0, usize::try_from(hits.bytes)?, watch.total(), "");
    (scene.report.store_bytes, scene.report.searched_files) = (hits.bytes, hits.files);

    let plain = tempfile::tempdir()?;
    raw::write_plain(plain.path(), &TENANTS, &scene.documents)?;
    let control = search_folder(scene, &patterns, plain.path(), "plain RocksDB")?;

    let size = format!("{} in {} files", bytes(hits.bytes), hits.files);
    scene.screen.note(&format!(
        "searched {size} for {} patterns in {}",
        thousands(total(&patterns)),
        span(watch.total())
    ));
    for (kind, name) in KINDS {
        let count = patterns.count(kind);
        let (found, found_in_control) = (hits.count(kind), control.count(kind));
        expect(found == 0, || format!("the store shows {name} in the clear: {found} hits"))?;
        if count == 0 && kind == Kind::RecordKey {
            scene.screen.note("record keys: all shorter than what a search can tell from chance");
            continue;
        }
        expect(count > 0 && found_in_control > 0, || format!("the search for {name} finds nothing anywhere"))?;
        let shown = format!("{name}: no hit in the store, {} in plain RocksDB", thousands(found_in_control));
        scene.screen.found(&shown);
        scene.report.searches.push(Search {
            kind: name,
            patterns: count,
            hits_in_store: found,
            hits_in_control: found_in_control,
        });
    }
    let all = control.seen(&patterns, Kind::Plaintext);
    expect(all, || "the search missed plaintext that is there in plain RocksDB".to_owned())
}

/// Pieces of many documents, every record key, both names; without the pieces that RocksDB's own files hold in a
/// store with other contents (a document may quote them).
fn patterns(scene: &Scene) -> Outcome<Patterns> {
    let mut patterns = Patterns::default();
    for tenant in TENANTS {
        patterns.add(Kind::TenantName, tenant.as_bytes());
    }
    for document in &scene.documents.taken {
        if document.key.len() >= KEY_MIN_LEN {
            patterns.add(Kind::RecordKey, document.key.as_bytes());
        }
    }
    for window in distinctive_windows(scene)? {
        patterns.add(Kind::Plaintext, &window);
    }
    let baseline = tempfile::tempdir()?;
    make_other_store(scene, baseline.path())?;
    let common = patterns.search(&baseline.path().join("store"), &indicatif::ProgressBar::hidden())?;
    Ok(patterns.without(Kind::Plaintext, &common))
}

/// Pieces of many documents, of each the four that are rarest in all the documents together.
fn distinctive_windows(scene: &Scene) -> Outcome<Vec<Vec<u8>>> {
    let documents = &scene.documents.taken;
    let samples = documents.len().min(DOCUMENTS_SAMPLED);
    let mut candidates = Patterns::default();
    let mut by_document = vec![];
    for sample in 0..samples {
        let windows = windows_of(&documents[sample * documents.len() / samples].read()?);
        for window in &windows {
            candidates.add(Kind::Plaintext, window);
        }
        by_document.push(windows);
    }
    let mut hits = Hits::default();
    for document in documents {
        candidates.search_file(&document.file, &mut hits, &indicatif::ProgressBar::hidden())?;
    }
    by_document.iter_mut().for_each(|windows| windows.sort_by_key(|window| hits.times(window)));
    Ok(by_document.into_iter().flat_map(|windows| windows.into_iter().take(WINDOWS_PER_DOCUMENT)).collect())
}

/// Pieces from all over a document.
fn windows_of(content: &[u8]) -> Vec<Vec<u8>> {
    let start = |part| content.len() * (2 * part + 1) / (2 * CANDIDATES_PER_DOCUMENT);
    let piece = |part| content[start(part)..].windows(WINDOW).take(ATTEMPTS).find(|window| is_telling(window));
    (0..CANDIDATES_PER_DOCUMENT).filter_map(piece).map(<[u8]>::to_vec).collect()
}

fn is_telling(window: &[u8]) -> bool {
    window.iter().collect::<HashSet<_>>().len() >= DIFFERENT_BYTES
}

fn search_folder(scene: &Scene, patterns: &Patterns, folder: &Path, what: &str) -> Outcome<Hits> {
    let size: u64 = files(folder)?.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
    let bar = scene.screen.bar(what, usize::try_from(size)?);
    let hits = patterns.search(folder, &bar);
    bar.finish_and_clear();
    hits
}

/// A store of the same tenants with one note each, closed and opened again so that it has tables and logs.
fn make_other_store(scene: &Scene, home: &Path) -> Outcome {
    for opening in 0..2 {
        let roots = LocalRoots::open_with_root(home.join("keys"), "service")?;
        let verifier = issuer::verifier(&scene.jwks)?;
        let room = Strongroom::builder(home.join("store"), roots, verifier).service_speaker(ISSUER, SERVICE).open()?;
        for tenant in TENANTS {
            if opening == 0 {
                let spec = TenantSpec::new(tenant, ISSUER, tenant);
                room.custody(&scene.custodian_token()?)?.create_tenant(spec)?;
            }
            let notes = scene.sign_in(&room, tenant)?.collection(&NOTES)?;
            notes.put(&("diary", opening), &Note { text: "nothing".to_owned() })?;
        }
    }
    Ok(())
}

fn total(patterns: &Patterns) -> u64 {
    KINDS.iter().map(|&(kind, _)| patterns.count(kind) as u64).sum()
}
