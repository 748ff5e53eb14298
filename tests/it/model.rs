//! Random programs of three tenants at once, each against a model of its own.

use std::path::Path;

use strongroom::Strongroom;

use crate::program::{Actor, Rng};
use crate::support::{self, user};

const TENANTS: [&str; 3] = ["contoso", "fabrikam", "northwind"];
const STEPS: usize = 60;

fn actors(room: &Strongroom, seed: u64) -> Vec<Actor> {
    support::make_tenants(room, &TENANTS);
    let actor =
        |(place, name): (usize, &&str)| Actor::new(room.session(&user(name), name).unwrap(), seed * 8 + place as u64);
    TENANTS.iter().enumerate().map(actor).collect()
}

fn finish(actors: &mut [Actor]) -> u64 {
    actors.iter_mut().for_each(Actor::check_everything);
    actors.iter().map(Actor::steps).sum()
}

fn run_in_memory(folder: &Path, seed: u64) -> u64 {
    let room = support::in_memory(folder).open().unwrap();
    let mut actors = actors(&room, seed);
    let mut rng = Rng::new(!seed);
    for _ in 0..STEPS {
        let turn = rng.below(TENANTS.len());
        actors[turn].step();
        if rng.below(20) == 0 {
            actors[turn].enter(room.home_session(&user(TENANTS[turn])).unwrap());
        }
    }
    finish(&mut actors)
}

fn run_on_disk(seed: u64) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let mut room = support::on_disk(folder.path()).open().unwrap();
    let mut actors = actors(&room, seed);
    let mut rng = Rng::new(!seed);
    for step in 0..STEPS {
        actors[rng.below(TENANTS.len())].step();
        if rng.below(20) == 0 || step == STEPS - 1 {
            actors.iter_mut().for_each(Actor::leave);
            drop(room);
            room = support::on_disk(folder.path()).open().unwrap();
            let sessions = TENANTS.map(|name| room.session(&user(name), name).unwrap());
            actors.iter_mut().zip(sessions).for_each(|(actor, session)| actor.enter(session));
        }
    }
    finish(&mut actors)
}

#[test]
fn programs_in_memory_end_as_the_model_does() {
    let folder = tempfile::tempdir().unwrap();
    let programs = 0..300;
    let checked: u64 = programs.clone().map(|seed| run_in_memory(folder.path(), seed)).sum();
    println!("programs in memory: {}, operations checked: {checked}", programs.count());
}

#[test]
fn programs_on_disk_end_as_the_model_does_across_reopening() {
    let programs = 1000..1024;
    let checked: u64 = programs.clone().map(run_on_disk).sum();
    println!("programs on disk: {}, operations checked: {checked}", programs.count());
}

#[test]
fn control_a_session_of_another_tenant_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let room = support::in_memory(folder.path()).open().unwrap();
    let mut actors = actors(&room, 0);
    for _ in 0..STEPS {
        actors[0].step();
    }
    actors[0].enter(room.session(&user(TENANTS[1]), TENANTS[1]).unwrap());
    let check = std::panic::AssertUnwindSafe(|| actors[0].check_everything());
    assert!(std::panic::catch_unwind(check).is_err());
}
