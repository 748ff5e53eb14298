//! Every way in which a vault can be away: what is in memory serves until its hard expiry and no longer, and nobody is taken
//! to have refused. And whose root keys are elsewhere does not notice.

use std::time::Duration;

use strongroom::audit::Act;
use strongroom::{BREAKER_PAUSE, CALL_DEADLINE, ErrorKind, Fence, ManualClock, Policy, TransitRoots};

use super::{Seen, World};
use crate::openbao::{OpenBao, POLICY};
use crate::proxy::{Mode, Proxy};

const REFRESH: Duration = Duration::from_secs(1);
const HARD_EXPIRY: Duration = Duration::from_secs(4);
/// For how long a vault is done without at least: it has allowed a refresh before it went, or somewhat more.
const SERVED: Duration = Duration::from_secs(2);

fn policy(root: &str) -> Policy {
    Policy::any_of([[root]]).unwrap().expiries(REFRESH, HARD_EXPIRY).unwrap()
}

/// The key `root` of a vault, by way of a proxy.
fn roots(proxy: &Proxy, bao: &OpenBao, root: &str) -> TransitRoots {
    bao.make_key(root, "aes256-gcm96");
    let builder = TransitRoots::builder(proxy.address()).danger_plain_http_on_loopback();
    builder.token(bao.token(POLICY, "1h")).root(root, root).build().unwrap()
}

#[test]
fn a_vault_that_is_away_is_served_without_until_the_hard_expiry_and_never_taken_for_a_refusal() {
    let (Some(bao), Some(sealed), Some(killed)) = (OpenBao::start(), OpenBao::start(), OpenBao::start()) else {
        return;
    };
    let proxies = [Proxy::before(&bao), Proxy::before(&bao)];
    sealed.make_key("sealed", "aes256-gcm96");
    killed.make_key("killed", "aes256-gcm96");
    let folder = tempfile::tempdir().unwrap();
    let vaults = [
        roots(&proxies[0], &bao, "cut"),
        roots(&proxies[1], &bao, "silent"),
        sealed.roots("sealed", "sealed"),
        killed.roots("killed", "killed"),
    ];
    let world = World::open(folder.path(), vaults);
    ["cut", "silent", "sealed", "killed"].iter().for_each(|root| world.make(root, Some(policy(root))));
    let [cut, silent] = &proxies;
    std::thread::scope(|scope| {
        let world = &world;
        let forward = |proxy: &Proxy| {
            proxy.set(Mode::Forward);
            true
        };
        scope.spawn(move || play(world, "cut", || cut.set(Mode::Cut), || forward(cut)));
        scope.spawn(move || play(world, "silent", || silent.set(Mode::Stall), || forward(silent)));
        let (seal, unseal) = (
            || sealed.seal(),
            || {
                sealed.unseal();
                true
            },
        );
        scope.spawn(move || play(world, "sealed", seal, unseal));
        scope.spawn(move || play(world, "killed", || drop(killed), || false));
    });
}

/// Takes a tenant's vault away while its users work, and brings it back, if that can be done.
fn play(world: &World, tenant: &str, go_away: impl FnOnce(), come_back: impl FnOnce() -> bool) {
    world.among_users(tenant, |seen: &Seen| {
        std::thread::sleep(REFRESH * 3 / 2);
        assert!(seen.take_errors().is_empty(), "{tenant}: the control, a vault that answers");
        let away_ms = world.now_ms();
        go_away();
        let bound = HARD_EXPIRY + CALL_DEADLINE;
        world.until(&format!("{tenant}: unavailable"), bound * 2, || !seen.errors.lock().unwrap().is_empty());
        std::thread::sleep(Duration::from_millis(500));
        let served = Duration::from_millis(seen.last_success_ms().saturating_sub(away_ms));
        assert!((SERVED..=bound).contains(&served), "{tenant}: served for {served:?}");
        assert_eq!(seen.take_errors().into_iter().collect::<Vec<_>>(), [ErrorKind::Unavailable], "{tenant}");
        assert_eq!(world.told(tenant, &Act::OUTAGE_BEGUN).len(), 1, "{tenant}");
        let back_ms = world.now_ms();
        if come_back() {
            world.until(&format!("{tenant}: back"), Duration::from_secs(20), || seen.last_success_ms() > back_ms);
            assert_eq!(world.told(tenant, &Act::OUTAGE_ENDED).len(), 1, "{tenant}");
        }
        assert_eq!((world.fence(tenant), world.told(tenant, &Act::FENCE_OBSERVED)), (None, vec![]), "{tenant}");
    });
}

#[test]
fn a_vault_that_flaps_and_falls_silent_is_nothing_to_a_neighbour() {
    let Some(bao) = OpenBao::start() else { return };
    let proxy = Proxy::before(&bao);
    let folder = tempfile::tempdir().unwrap();
    let world = World::open(folder.path(), [roots(&proxy, &bao, "customer")]);
    world.make("contoso", Some(policy("customer")));
    world.make("neighbour", None);
    world.among_users("neighbour", |neighbours| {
        world.among_users("contoso", |seen| {
            for _ in 0..4 {
                for mode in [Mode::Cut, Mode::Flap, Mode::Forward] {
                    proxy.set(mode);
                    std::thread::sleep(Duration::from_millis(250));
                }
            }
            proxy.set(Mode::Stall);
            let bound = HARD_EXPIRY + CALL_DEADLINE;
            world.until("the control: its tenant fails", bound * 2, || !seen.errors.lock().unwrap().is_empty());
            assert_eq!(seen.take_errors().into_iter().collect::<Vec<_>>(), [ErrorKind::Unavailable]);
            assert!(seen.longest() > Duration::from_secs(3), "the control: its tenant waits, {:?}", seen.longest());
        });
        let (errors, now_ms) = (neighbours.take_errors(), world.now_ms());
        assert!(errors.is_empty() && neighbours.last_success_ms() + 1000 > now_ms, "{errors:?}");
        assert!(neighbours.longest() < Duration::from_secs(3), "{:?}", neighbours.longest());
    });
}

#[test]
fn a_refusal_that_is_heard_while_the_recovery_root_serves_ends_access_and_no_outage_undoes_it() {
    let Some(bao) = OpenBao::start() else { return };
    let proxy = Proxy::before(&bao);
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new(1_800_000_000_000));
    bao.make_key("customer", "aes256-gcm96");
    let builder = TransitRoots::builder(proxy.address()).danger_plain_http_on_loopback().clock(clock.clone());
    let vault = builder.token(bao.token(POLICY, "1h")).root("customer", "customer").build().unwrap();
    let world = World::open_on(folder.path(), [vault], clock.clone());
    let (refresh, hard_expiry) = (Duration::from_secs(10), Duration::from_secs(60));
    let policy = Policy::any_of([["customer"]]).unwrap().expiries(refresh, hard_expiry).unwrap();
    world.make("contoso", Some(policy.recovery_root("recovery", Duration::from_secs(3600)).unwrap()));
    let read = || world.notes("contoso").and_then(|notes| notes.get(&1)).map_err(|error| error.kind());
    let is_open = Ok(Some(vec![7; 100]));
    let uses = || world.told("contoso", &Act::RECOVERY_ROOT_USED).len();

    proxy.set(Mode::Cut);
    clock.advance(hard_expiry);
    assert_eq!((read(), uses()), (is_open.clone(), 2), "it is said before and after");
    bao.soft_delete("customer");
    proxy.set(Mode::Forward);
    // Until the vault is tried again.
    clock.advance(BREAKER_PAUSE * 2);
    assert_eq!(read(), Err(ErrorKind::KeyRevoked));
    assert_eq!(world.fence("contoso"), Some(Fence::Observed));
    proxy.set(Mode::Cut);
    clock.advance(hard_expiry);
    assert_eq!((read(), uses()), (Err(ErrorKind::KeyRevoked), 2));
    bao.restore("customer");
    proxy.set(Mode::Forward);
    clock.advance(BREAKER_PAUSE * 2);
    assert_eq!((read(), world.fence("contoso")), (is_open, None));
}
