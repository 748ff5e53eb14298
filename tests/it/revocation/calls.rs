//! Calls of root keys: the store's own record of them agrees with that of the vault, and there are no more of them than are
//! needed.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use strongroom::audit::{Act, Recorded};
use strongroom::{ErrorKind, Policy, Trail, TransitRoots, check_root};

use super::{NOTES, World, detail};
use crate::openbao::{OpenBao, POLICY};
use crate::proxy::{Mode, Proxy};
use crate::support::{ISSUER, user};
use crate::transit::id;

const REFRESH: Duration = Duration::from_secs(1);

/// The ids of all calls that the vault has logged, by operation.
fn logged(bao: &OpenBao) -> Vec<(&'static str, String)> {
    let operations = [("unwrap", "decrypt"), ("wrap", "encrypt")];
    let of = |(operation, path)| bao.audited(path).into_iter().map(move |id| (operation, id)).collect::<Vec<_>>();
    sorted(operations.into_iter().flat_map(of).collect())
}

/// The same as the trails of the store and of a tenant tell it.
fn told(world: &World, tenant: &str) -> Vec<(&'static str, String)> {
    let events = [Trail::Tenant(tenant), Trail::Store].map(|trail| world.trail(trail)).concat();
    let asked = events.iter().filter(|recorded| recorded.event.act == Act::ROOT_KEY_ASKED);
    let call = |recorded: &Recorded| match detail(recorded, "operation").as_str() {
        "unwrap" => Some(("unwrap", detail(recorded, "call"))),
        "wrap" => Some(("wrap", detail(recorded, "call"))),
        _ => None,
    };
    sorted(asked.filter_map(call).collect())
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

/// A vault's keys, each the root key of its name, with a token that is never renewed: one request for each attempt.
fn roots(bao: &OpenBao, keys: &[&str]) -> TransitRoots {
    let builder = bao.builder().token(bao.token(POLICY, "1h"));
    keys.iter().fold(builder, |builder, key| builder.root(*key, *key)).build().unwrap()
}

#[test]
fn the_trails_and_the_vaults_log_tell_of_the_same_calls() {
    let Some(bao) = OpenBao::start() else { return };
    let keys = ["a", "b", "c"];
    keys.iter().for_each(|key| bao.make_key(key, "aes256-gcm96"));
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path(), [roots(&bao, &keys)]);
    let policy = |roots: &[&str]| {
        let policy = Policy::any_of(roots.iter().map(|root| [*root])).unwrap();
        policy.expiries(REFRESH, Duration::from_secs(600)).unwrap()
    };
    world.make("contoso", Some(policy(&["a", "b"])));
    let read = || world.notes("contoso").and_then(|notes| notes.get(&1).map(drop));
    let refresh = || std::thread::sleep(REFRESH + Duration::from_millis(50));
    for _ in 0..3 {
        refresh();
        read().unwrap();
    }
    bao.rotate("a");
    let contoso = world.room.tenant_custody(&format!("{ISSUER}|contoso|custodian|anna"), "contoso").unwrap();
    contoso.rotate_roots().unwrap();
    world.cool("contoso");
    read().unwrap();
    world.custody().check_root("c").unwrap();
    contoso.apply(contoso.propose_policy(policy(&["b", "c"]), "another key").unwrap()).unwrap();
    ["b", "c"].iter().for_each(|key| bao.soft_delete(key));
    refresh();
    assert_eq!(read().unwrap_err().kind(), ErrorKind::KeyRevoked);
    ["b", "c"].iter().for_each(|key| bao.restore(key));
    refresh();
    read().unwrap();

    // What has just been answered is written down within a round of the steward's.
    let mut both = (logged(&bao), told(&world, "contoso"));
    world.until("the trails tell of every call", Duration::from_secs(10), || {
        both = (logged(&bao), told(&world, "contoso"));
        both.0.len() == both.1.len()
    });
    assert_eq!(both.0, both.1);
    let count = |operation| both.0.iter().filter(|(which, _)| *which == operation).count();
    assert!(count("unwrap") > 8 && count("wrap") > 6, "the control: {both:?}");
    assert!(both.0.iter().all(|(_, id)| id.len() == 32), "{both:?}");
    // Whoever uses the keys past the store stands in the one and not in the other.
    check_root(&roots(&bao, &["c"]), &id("c")).unwrap();
    let (logged, told) = (logged(&bao), told(&world, "contoso"));
    let past_the_store: Vec<_> = logged.iter().filter(|call| !told.contains(call)).collect();
    assert_eq!(past_the_store.len(), 4, "the control: {past_the_store:?}");
}

#[test]
fn a_slow_vault_is_not_waited_for_while_another_answers() {
    let Some(bao) = OpenBao::start() else { return };
    let proxy = Proxy::before(&bao);
    ["slow", "swift"].iter().for_each(|key| bao.make_key(key, "aes256-gcm96"));
    let builder = TransitRoots::builder(proxy.address()).danger_plain_http_on_loopback();
    let slow = builder.token(bao.token(POLICY, "1h")).root("slow", "slow").build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path(), [slow, roots(&bao, &["swift"])]);
    world.make("either", Some(Policy::any_of([["slow"], ["swift"]]).unwrap()));
    world.make("patient", Some(Policy::any_of([["slow"]]).unwrap()));
    let slowness = Duration::from_secs(2);
    proxy.set(Mode::Slow(slowness));
    let asked_before = world.told("either", &Act::ROOT_KEY_ASKED).len();
    let cold = |tenant: &str| {
        world.cool(tenant);
        let begun_ms = world.now_ms();
        world.notes(tenant).unwrap().get(&1).unwrap();
        Duration::from_millis(world.now_ms() - begun_ms)
    };
    let took = cold("either");
    assert!(took < slowness / 2, "{took:?}");
    let patient = cold("patient");
    assert!(patient >= slowness, "the control: {patient:?}");
    let mut told = Vec::new();
    world.until("both calls stand in the trail", Duration::from_secs(5), || {
        told = world.told("either", &Act::ROOT_KEY_ASKED).split_off(asked_before);
        told.len() == 2
    });
    let told: Vec<_> = told.iter().map(|recorded| ["root", "answer"].map(|key| detail(recorded, key))).collect();
    assert_eq!(told, [["swift", "allowed"], ["slow", "allowed"]]);
}

#[test]
fn ten_thousand_cold_reads_of_a_crowd_ask_a_vault_once() {
    const THREADS: usize = 32;
    const READS: usize = 10_000;
    let Some(bao) = OpenBao::start() else { return };
    bao.make_key("customer", "aes256-gcm96");
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path(), [roots(&bao, &["customer"])]);
    world.make("contoso", Some(Policy::any_of([["customer"]]).unwrap()));
    world.cool("contoso");
    let before = bao.audited("decrypt").len();
    let (left, together) = (AtomicUsize::new(READS), Barrier::new(THREADS));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                together.wait();
                let session = world.room.session(&user("contoso"), "contoso").unwrap();
                let notes = session.collection(&NOTES).unwrap();
                while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                    assert_eq!(notes.get(&1).unwrap(), Some(vec![7; 100]));
                }
            });
        }
    });
    assert_eq!(bao.audited("decrypt").len() - before, 1);
    world.cool("contoso");
    world.notes("contoso").unwrap().get(&1).unwrap();
    assert_eq!(bao.audited("decrypt").len() - before, 2, "the control: the log tells of a second one");
}
