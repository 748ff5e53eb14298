//! kill -9: whatever was acknowledged is there, whatever was not is there whole or not at all, and the store opens
//! without help.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use strongroom::{
    Budgets, CollectionDef, Custody, Durability, ErrorKind, KeyMode, Strongroom, TenantSpec, TenantState,
};

use crate::chance::Chance;
use crate::children::{self, Playing};
use crate::support::{CUSTODIAN, ISSUER, user};
use crate::{folders, support::on_disk};

const NOTES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("notes");
const TRACES: CollectionDef<&str, Vec<u8>> = CollectionDef::bytes("traces").ordered();

/// Writers at once, each with tenants of its own.
const WRITERS: usize = 3;
const TENANTS: usize = 3;
const KEYS: usize = 10;

/// A collection's mode and a key: values.
type Records = BTreeMap<(bool, String), Vec<u8>>;
type Tenants = BTreeMap<String, Records>;
type Ops = Box<dyn Iterator<Item = Op>>;
/// How much of a writer's script was acknowledged, and the script.
type Script = (usize, Ops);

/// What a writer does next. Of a tenant that is not there it is nothing, and acknowledged.
#[derive(Debug)]
enum Op {
    Create(String),
    Delete(String),
    Write { tenant: String, durability: Durability, changes: Vec<Change> },
}

#[derive(Debug)]
struct Change {
    ordered: bool,
    key: String,
    value: Option<Vec<u8>>,
}

/// What the child writes is known to the parent in advance: it follows from the script's number and the writer's.
fn script(which: u64, writer: usize) -> impl Iterator<Item = Op> {
    let mut chance = Chance::new(which * 100 + writer as u64);
    let tenant = move |chance: &mut Chance| format!("w{writer}-{}", chance.below(TENANTS));
    std::iter::from_fn(move || {
        Some(match chance.below(100) {
            0..8 => Op::Create(tenant(&mut chance)),
            8..12 => Op::Delete(tenant(&mut chance)),
            roll => {
                let count = if roll < 60 { 1 } else { 2 + chance.below(8) };
                let durability = if chance.happens(50) { Durability::Synced } else { Durability::Buffered };
                let changes = (0..count).map(|_| change(&mut chance)).collect();
                Op::Write { tenant: tenant(&mut chance), durability, changes }
            }
        })
    })
}

fn change(chance: &mut Chance) -> Change {
    let (ordered, key) = (chance.happens(50), format!("key {}", chance.below(KEYS)));
    let length = match chance.below(100) {
        0 => 600_000,
        1 | 2 => 100_000,
        _ => chance.below(2000),
    };
    let value = (!chance.happens(15)).then(|| chance.number().to_be_bytes().repeat(length / 8));
    Change { ordered, key, value }
}

/// A life so short that it can be cut off at every call: every kind of operation once.
fn short_life() -> impl Iterator<Item = Op> {
    let write = |durability, name: &str, count: u8| {
        let changes = (0..count).map(|number| Change {
            ordered: number % 2 == 0,
            key: format!("{name} {number}"),
            value: Some(vec![number; 300]),
        });
        Op::Write { tenant: "tenant".to_owned(), durability, changes: changes.collect() }
    };
    [
        Op::Create("tenant".to_owned()),
        write(Durability::Synced, "one", 1),
        write(Durability::Buffered, "many", 6),
        write(Durability::Synced, "more", 6),
        Op::Delete("tenant".to_owned()),
        Op::Create("tenant".to_owned()),
        write(Durability::Synced, "again", 3),
        Op::Create("neighbour".to_owned()),
        Op::Create("in-another-cell".to_owned()),
    ]
    .into_iter()
}

const SHORT_LIFE: u64 = u64::MAX;

/// Every other script has one cell open at a time and closes it as soon as it is idle, so that kills come while cells are
/// flushed, closed and opened.
fn store(folder: &Path, which: u64) -> strongroom::StrongroomBuilder {
    let store = on_disk(folder).boxes_per_cell(2);
    match which % 2 {
        0 => store.budgets(Budgets::default().open_cells(1).idle(Duration::ZERO)),
        _ => store,
    }
}

/// The child: writes, and says what has been acknowledged.
pub fn write_until_killed() {
    let room = store(&children::folder(), children::which()).open().expect("a store that opens without help");
    children::say("open");
    match children::which() {
        0 => std::thread::sleep(Duration::from_secs(60)),
        SHORT_LIFE => perform_all(&room, 0, short_life()),
        which => std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let room = &room;
                scope.spawn(move || perform_all(room, writer, script(which, writer)));
            }
        }),
    }
}

fn perform_all(room: &Strongroom, writer: usize, ops: impl Iterator<Item = Op>) {
    let custody = room.custody(CUSTODIAN).expect("a custodian");
    for op in ops {
        perform(room, &custody, &op).unwrap_or_else(|error| panic!("{op:?}: {error:?}"));
        children::say(&format!("ack {writer}"));
    }
}

fn perform(room: &Strongroom, custody: &Custody, op: &Op) -> strongroom::Result<()> {
    let unless = |kind: ErrorKind, outcome: strongroom::Result<()>| match outcome {
        Err(error) if error.kind() == kind => Ok(()),
        outcome => outcome,
    };
    match op {
        Op::Create(name) => {
            let made = custody.create_tenant(TenantSpec::new(name, ISSUER, name));
            unless(ErrorKind::Conflict, made.map(drop))
        }
        Op::Delete(name) => unless(ErrorKind::NotFound, custody.delete_tenant(name)),
        Op::Write { tenant, durability, changes } => {
            unless(ErrorKind::Denied, write(room, tenant, *durability, changes))
        }
    }
}

fn write(room: &Strongroom, tenant: &str, durability: Durability, changes: &[Change]) -> strongroom::Result<()> {
    let session = room.session(&user(tenant), tenant)?;
    let definition = |change: &Change| if change.ordered { TRACES } else { NOTES }.durability(durability);
    if let [change] = changes {
        let collection = session.collection(&definition(change))?;
        return match &change.value {
            Some(value) => collection.put(&change.key.as_str(), value).map(drop),
            None => collection.delete(&change.key.as_str()),
        };
    }
    let batch = changes.iter().try_fold(session.batch(), |batch, change| match &change.value {
        Some(value) => batch.put(&definition(change), &change.key.as_str(), value),
        None => batch.delete(&definition(change), &change.key.as_str()),
    })?;
    batch.durability(durability).commit().map(drop)
}

fn apply(tenants: &mut Tenants, op: &Op) {
    match op {
        Op::Create(name) => drop(tenants.entry(name.clone()).or_default()),
        Op::Delete(name) => drop(tenants.remove(name)),
        Op::Write { tenant, changes, .. } => {
            let Some(records) = tenants.get_mut(tenant) else { return };
            for Change { ordered, key, value } in changes {
                match value {
                    Some(value) => drop(records.insert((*ordered, key.clone()), value.clone())),
                    None => drop(records.remove(&(*ordered, key.clone()))),
                }
            }
        }
    }
}

/// Everything in a store, read through its doors. A tenant under deletion must be closed, and counts as gone.
fn read_everything(room: &Strongroom) -> Tenants {
    let mut tenants = Tenants::new();
    for summary in room.custody(CUSTODIAN).expect("a custodian").tenants().expect("a list") {
        let name = summary.name.as_str();
        let reader = format!("{ISSUER}|{name}|read");
        if summary.state == TenantState::Deleting {
            assert_eq!(room.session(&reader, name).expect_err("a tenant that is gone").kind(), ErrorKind::Denied);
            continue;
        }
        let session = room.session(&reader, name).expect("a session");
        let records = tenants.entry(name.to_owned()).or_default();
        for collection in session.collections().expect("a catalog") {
            let ordered = collection.mode == KeyMode::Ordered;
            let definition = if ordered { TRACES } else { NOTES };
            for row in session.collection(&definition).expect("a collection").iter().expect("a scan") {
                let (key, value) = row.expect("a whole record");
                records.insert((ordered, key), value);
            }
        }
    }
    tenants
}

/// Opens what the crash left, compares it, and takes what is found as the state from which the next child goes on.
/// Returns how many records were compared.
fn check(folder: &Path, before: &Tenants, scripts: Vec<Script>) -> Result<(Tenants, usize), String> {
    let room = on_disk(folder).open().expect("the store opens without help");
    let found = read_everything(&room);
    crate::trails::agree(&room);
    let mut compared = 0;
    for (writer, (acknowledged, mut ops)) in scripts.into_iter().enumerate() {
        let own = |tenants: &Tenants| -> Tenants {
            let of_writer = |name: &String| !name.starts_with('w') || name.starts_with(&format!("w{writer}"));
            tenants.iter().filter(|(name, _)| of_writer(name)).map(|(n, r)| (n.clone(), r.clone())).collect()
        };
        let mut expected = own(before);
        ops.by_ref().take(acknowledged).for_each(|op| apply(&mut expected, &op));
        let found = own(&found);
        compared += found.values().map(BTreeMap::len).sum::<usize>();
        if found == expected {
            continue;
        }
        // The operation after the last that was acknowledged may have happened, and then wholly.
        let under_way = ops.next().expect("an operation under way");
        let acknowledged_only = differences(&expected, &found);
        apply(&mut expected, &under_way);
        let with_it = differences(&expected, &found);
        if found != expected {
            return Err(format!("writer {writer}, {under_way:?}\nneither\n{acknowledged_only}\nnor\n{with_it}"));
        }
    }
    Ok((found, compared))
}

fn differences(expected: &Tenants, found: &Tenants) -> String {
    let mut text = String::new();
    for name in expected.keys().chain(found.keys()) {
        let places = expected.get(name).into_iter().chain(found.get(name)).flat_map(BTreeMap::keys);
        for place in places.filter(|&place| {
            expected.get(name).and_then(|records| records.get(place))
                != found.get(name).and_then(|records| records.get(place))
        }) {
            writeln!(text, "{name} {place:?}").expect("a string takes everything");
        }
    }
    writeln!(text, "tenants {:?}, found {:?}", expected.keys(), found.keys()).expect("a string takes everything");
    text
}

/// How many operations of each writer were acknowledged.
fn acknowledged(said: &[String]) -> Vec<usize> {
    (0..WRITERS).map(|writer| said.iter().filter(|&text| *text == format!("ack {writer}")).count()).collect()
}

#[test]
fn acknowledged_writes_survive_a_kill_at_any_instant() {
    const ROUNDS: u64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let mut chance = Chance::of_this_run("kill -9");
    let (mut state, mut round, mut writes, mut records) = (Tenants::new(), 0, 0, 0);
    while round < ROUNDS || writes <= 500 {
        assert!(round < ROUNDS * 10, "too little was written to show anything: {writes}");
        round += 1;
        let which = chance.number() >> 16;
        let child = Playing::begin(children::command("writer", folder.path(), which));
        let mut said = Vec::new();
        if !chance.happens(25) {
            said.extend(child.hear());
        }
        std::thread::sleep(Duration::from_micros(chance.below(150_000) as u64));
        said.extend(child.kill());
        if chance.happens(30) {
            let opener = Playing::begin(children::command("writer", folder.path(), 0));
            std::thread::sleep(Duration::from_micros(chance.below(60_000) as u64));
            opener.kill();
        }
        let counts = acknowledged(&said);
        let scripts = counts.iter().enumerate().map(|(writer, &count)| {
            writes += count;
            (count, Box::new(script(which, writer)) as Ops)
        });
        let scripts = scripts.collect();
        let compared;
        (state, compared) =
            check(folder.path(), &state, scripts).unwrap_or_else(|lost| panic!("round {round}: {lost}"));
        records += compared;
    }
    println!("kills: {round}; acknowledged operations checked: {writes}; records compared: {records}");
}

#[test]
fn a_kill_before_or_within_any_call_to_the_file_system_loses_nothing() {
    let (mut calls, mut writes, mut kills) = (0, 0, 0);
    for tear in [false, true] {
        for call in 1.. {
            let folder = folders::in_memory();
            let mut command = children::command("writer", folder.path(), SHORT_LIFE);
            command.env("LD_PRELOAD", children::syncwatch()).env("SYNCWATCH_FOLDER", folder.path());
            command.env("SYNCWATCH_KILL_AT", call.to_string());
            if tear {
                command.env("SYNCWATCH_TEAR", "1");
            }
            let (status, said) = Playing::begin(command).wait();
            if status.success() {
                calls = call - 1;
                break;
            }
            assert_eq!(status.signal(), Some(9), "the child failed at call {call}: {status}");
            kills += 1;
            let count = acknowledged(&said)[0];
            writes += count;
            check(folder.path(), &Tenants::new(), vec![(count, Box::new(short_life()))])
                .unwrap_or_else(|lost| panic!("call {call}, torn: {tear}: {lost}"));
        }
    }
    assert!(calls > 100, "the calls of the child are not seen: {calls}");
    println!("calls: {calls}; kills: {kills}; acknowledged operations checked: {writes}");
}

#[test]
fn the_comparison_finds_a_lost_write() {
    let folder = tempfile::tempdir().unwrap();
    let room = on_disk(folder.path()).open().unwrap();
    perform_all(&room, 0, short_life().take(3));
    drop(room);
    let all_that_was = check(folder.path(), &Tenants::new(), vec![(3, Box::new(short_life()))]);
    assert!(all_that_was.is_ok_and(|(_, records)| records == 7));
    let more_than_was = check(folder.path(), &Tenants::new(), vec![(5, Box::new(short_life()))]);
    assert!(more_than_was.is_err(), "the comparison overlooks writes that are not there");
    let half_a_batch = check(folder.path(), &Tenants::new(), vec![(1, Box::new(short_life()))]);
    assert!(half_a_batch.is_err(), "the comparison overlooks writes that nobody made");
}
