//! One bit of any file of a store flipped, and files cut and missing.

use std::fs;
use std::path::{Path, PathBuf};

use strongroom::ErrorKind;

use super::{Answers, Facts, Sample, says_damage};
use crate::chance::Chance;
use crate::folders;

/// What flips came to.
#[derive(Debug, Default)]
struct Tally {
    right: usize,
    refused: usize,
    lost_tail: usize,
}

/// Holds the answers against the truth. `may_be_lost`: what the last record of a damaged log held.
fn judge(answers: &Answers, facts: &Facts, may_be_lost: &str, tally: &mut Tally) -> Result<(), String> {
    let (mut refused, mut lost) = (false, false);
    for (place, answer) in answers {
        match answer {
            Ok(Some(value)) if *value == facts[place] => {}
            Ok(None) if place.1 == may_be_lost => lost = true,
            Err(kind) if says_damage(*kind) => refused = true,
            Ok(Some(_)) => return Err(format!("{place:?}: a wrong value")),
            Ok(None) => return Err(format!("{place:?}: reported as absent")),
            Err(kind) => return Err(format!("{place:?}: {kind}")),
        }
    }
    match (refused, lost) {
        (true, _) => tally.refused += 1,
        (false, true) => tally.lost_tail += 1,
        (false, false) => tally.right += 1,
    }
    Ok(())
}

/// The files of the sample of these kinds, relative to the store; a kind is the beginning or the end of a name.
fn targets(store: &Path, kinds: &[&str]) -> Vec<PathBuf> {
    let of_kind = |path: &PathBuf| {
        let name = folders::name(path);
        kinds.iter().any(|kind| name.starts_with(kind) || name.ends_with(kind))
    };
    let files = folders::files(store).into_iter().filter(of_kind);
    let files = files.filter(|path| path.metadata().expect("metadata").len() > 0);
    files.map(|path| path.strip_prefix(store).expect("below").to_path_buf()).collect()
}

fn flip_bits(kinds: &[&str], flips: usize) {
    let sample = Sample::make();
    let targets = targets(&sample.store(), kinds);
    assert!(kinds.iter().all(|kind| targets.iter().any(|path| path.to_string_lossy().contains(kind))), "{targets:?}");
    let mut chance = Chance::of_this_run(&kinds.join(" "));
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for _ in 0..flips {
        let kind = kinds[chance.below(kinds.len())];
        let of_kind: Vec<_> = targets.iter().filter(|path| path.to_string_lossy().contains(kind)).collect();
        let target = of_kind[chance.below(of_kind.len())];
        let copy = sample.copy();
        let store = copy.path().join("store");
        let mut bytes = fs::read(store.join(target)).unwrap();
        // Ring files are mostly zeros: half of their flips go where the bytes are.
        let used: Vec<usize> = (0..bytes.len()).filter(|&place| bytes[place] != 0).collect();
        let place = if chance.happens(50) { used[chance.below(used.len())] } else { chance.below(bytes.len()) };
        let bit = chance.below(8);
        bytes[place] ^= 1 << bit;
        fs::write(store.join(target), bytes).unwrap();
        let may_be_lost = if target.starts_with("cells") && kind == ".log" { "files last" } else { "" };
        if let Err(why) = judge(&sample.ask(&store), &sample.facts, may_be_lost, &mut tally) {
            wrong.push(format!("{}, byte {place}, bit {bit}: {why}", target.display()));
        }
    }
    println!("flips in {kinds:?}: {flips}, {} files: {tally:?}", targets.len());
    assert!(wrong.is_empty(), "{} wrong answers: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    assert!(tally.refused > flips / 50, "flips are not found: {tally:?}");
}

#[test]
fn a_flipped_bit_in_tables_and_rings_gives_no_wrong_answer() {
    flip_bits(&[".sst", "rings", "FORMAT"], 1200);
}

#[test]
fn a_flipped_bit_in_logs_and_manifests_gives_no_wrong_answer() {
    flip_bits(&[".log", "MANIFEST", "CURRENT"], 1200);
}

#[test]
fn the_judge_finds_wrong_and_missing_answers() {
    let sample = Sample::make();
    let whole = sample.ask(&sample.store());
    let judge = |change: &dyn Fn(&mut Answers)| {
        let mut answers = whole.clone();
        change(&mut answers);
        judge(&answers, &sample.facts, "files last", &mut Tally::default())
    };
    let place = ("contoso", "files d".to_owned());
    assert_eq!(judge(&|_| {}), Ok(()));
    assert!(judge(&|answers| drop(answers.insert(place.clone(), Ok(None)))).is_err());
    assert!(judge(&|answers| drop(answers.insert(place.clone(), Ok(Some(vec![1]))))).is_err());
    assert!(judge(&|answers| drop(answers.insert(place.clone(), Err(ErrorKind::Internal)))).is_err());
    assert_eq!(judge(&|answers| drop(answers.insert(place.clone(), Err(ErrorKind::Corrupt)))), Ok(()));
}

#[test]
fn a_missing_file_or_folder_is_damage_and_not_an_empty_store() {
    let sample = Sample::make();
    let mut gone = targets(&sample.store(), &[".sst", "rings", "FORMAT", "MANIFEST", "CURRENT"]);
    let folders = ["zero", "zero/db", "cells", "cells/0000", "cells/0000/db"];
    gone.extend(folders.map(PathBuf::from));
    let mut wrong = Vec::new();
    for target in &gone {
        let copy = sample.copy();
        let store = copy.path().join("store");
        let path = store.join(target);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        if let Err(why) = judge(&sample.ask(&store), &sample.facts, "", &mut Tally::default()) {
            wrong.push(format!("{} gone: {why}", target.display()));
        }
    }
    println!("files and folders taken away: {}", gone.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_cut_or_emptied_file_gives_no_wrong_answer() {
    let sample = Sample::make();
    let mut wrong = Vec::new();
    let targets = targets(&sample.store(), &[".sst", "rings", "FORMAT", "CURRENT"]);
    for target in &targets {
        let length = sample.store().join(target).metadata().unwrap().len();
        for cut in [0, 1, length / 2, length - 1] {
            let copy = sample.copy();
            let store = copy.path().join("store");
            fs::OpenOptions::new().write(true).open(store.join(target)).unwrap().set_len(cut).unwrap();
            if let Err(why) = judge(&sample.ask(&store), &sample.facts, "", &mut Tally::default()) {
                wrong.push(format!("{} cut to {cut} of {length}: {why}", target.display()));
            }
        }
    }
    println!("cuts: {}", targets.len() * 4);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
