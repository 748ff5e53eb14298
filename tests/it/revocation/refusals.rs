//! Every way in which an owner can refuse: access ends within the bound that the policy states, and comes back when it may.

use std::path::{Path, PathBuf};
use std::time::Duration;

use strongroom::audit::Act;
use strongroom::{ErrorKind, Fence, Policy, RootError, TransitRoots};

use super::{Seen, World, detail};
use crate::chance::Chance;
use crate::openbao::OpenBao;

const REFRESH: Duration = Duration::from_secs(2);
/// Nothing here is to end because nobody answers.
const HARD_EXPIRY: Duration = Duration::from_secs(600);

/// What an owner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    SoftDeleted,
    TooOld,
    PolicyRemoved,
    TokenRevoked,
    RoleDeleted,
    KeyDeleted,
}

const WAYS: [Way; 6] =
    [Way::SoftDeleted, Way::TooOld, Way::PolicyRemoved, Way::TokenRevoked, Way::RoleDeleted, Way::KeyDeleted];

impl Way {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What a store hears of it.
    fn answer(self) -> RootError {
        match self {
            Self::SoftDeleted | Self::TooOld => RootError::Disabled,
            Self::PolicyRemoved | Self::TokenRevoked | Self::RoleDeleted => RootError::Denied,
            Self::KeyDeleted => RootError::Destroyed,
        }
    }
}

/// The owner of one key, and whatever the store logs in with to use it: all of them bear the key's name.
struct Owner<'b> {
    bao: &'b OpenBao,
    way: Way,
    key: String,
    token_file: PathBuf,
    role: (String, String),
}

/// Tokens of a role end soon, so that its deletion is noticed.
const ROLE_TTL: &str = "2s";

impl<'b> Owner<'b> {
    fn new(bao: &'b OpenBao, folder: &Path, way: Way, which: &str) -> Self {
        let key = format!("{}-{which}", way.name());
        bao.make_key(&key, "aes256-gcm96");
        bao.policy(&key, &key);
        let role = bao.approle(&key, &key, ROLE_TTL);
        let owner = Self { bao, way, token_file: folder.join(&key), key, role };
        owner.hand_out_a_token();
        owner
    }

    fn hand_out_a_token(&self) {
        std::fs::write(&self.token_file, self.bao.token(&self.key, "1h")).unwrap();
    }

    fn roots(&self) -> TransitRoots {
        let builder = self.bao.builder().root(&self.key, &self.key);
        let builder = match self.way {
            Way::RoleDeleted => builder.approle(&self.role.0, &self.role.1),
            _ => builder.token_file(&self.token_file),
        };
        builder.build().unwrap()
    }

    fn refuse(&self) {
        match self.way {
            Way::SoftDeleted => self.bao.soft_delete(&self.key),
            Way::TooOld => {
                self.bao.rotate(&self.key);
                self.bao.set_min_decryption_version(&self.key, 2);
            }
            Way::PolicyRemoved => self.bao.policy(&self.key, "no-key-of-that-name"),
            Way::TokenRevoked => self.bao.revoke(&std::fs::read_to_string(&self.token_file).unwrap()),
            Way::RoleDeleted => self.bao.delete_approle(&self.key),
            Way::KeyDeleted => self.bao.delete(&self.key),
        }
    }

    /// Takes the refusal back. Whether that can be done.
    fn allow(&self) -> bool {
        match self.way {
            Way::SoftDeleted => self.bao.restore(&self.key),
            Way::TooOld => self.bao.set_min_decryption_version(&self.key, 1),
            Way::PolicyRemoved => self.bao.policy(&self.key, &self.key),
            Way::TokenRevoked => self.hand_out_a_token(),
            Way::RoleDeleted => self.bao.restore_approle(&self.key, &self.key, ROLE_TTL, &self.role),
            Way::KeyDeleted => return false,
        }
        true
    }
}

#[test]
fn whichever_way_an_owner_refuses_access_ends_within_the_bound_and_comes_back_with_leave() {
    let Some(bao) = OpenBao::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let owners = WAYS.map(|way| ["a", "b"].map(|which| Owner::new(&bao, folder.path(), way, which)));
    let world = World::open(folder.path(), owners.iter().flatten().map(Owner::roots));
    for owners in &owners {
        let policy = Policy::any_of(owners.iter().map(|owner| [owner.key.clone()])).unwrap();
        world.make(&owners[0].way.name(), Some(policy.expiries(REFRESH, HARD_EXPIRY).unwrap()));
    }
    let mut chance = Chance::of_this_run("refusals");
    let mut moment = || Duration::from_millis(chance.below(2000) as u64);
    let read_on: Vec<u64> = std::thread::scope(|scope| {
        let playing: Vec<_> = owners
            .iter()
            .map(|owners| {
                let (world, moments) = (&world, [moment(), moment()]);
                scope.spawn(move || world.among_users(&owners[0].way.name(), |seen| play(world, owners, moments, seen)))
            })
            .collect();
        playing.into_iter().map(|playing| playing.join().unwrap()).collect()
    });
    println!("read on, in ms: {:?}", WAYS.iter().zip(&read_on).collect::<Vec<_>>());
    assert!(read_on.iter().any(|read_on| *read_on > 0), "the control: somebody did read on");
}

/// Plays one way among the users of its tenant. Returns for how long they read on, in milliseconds.
fn play(world: &World, owners: &[Owner<'_>; 2], moments: [Duration; 2], seen: &Seen) -> u64 {
    let [first, second] = owners;
    let (way, tenant) = (first.way, first.way.name());
    std::thread::sleep(moments[0]);
    first.refuse();
    std::thread::sleep(REFRESH * 3 / 2 + moments[1]);
    let (now_ms, errors) = (world.now_ms(), seen.take_errors());
    assert!(errors.is_empty() && seen.last_success_ms() + 1000 > now_ms, "{way:?}: one of two is enough, {errors:?}");

    let policy = Policy::any_of([["a"]]).unwrap().expiries(REFRESH, HARD_EXPIRY).unwrap();
    let bound = policy.max_revocation_latency().reachable;
    let refused_ms = world.now_ms();
    second.refuse();
    world.until(&format!("{way:?}: fenced"), bound, || world.fence(&tenant) == Some(Fence::Observed));
    // Whoever is in the middle of a write that was begun before may end it.
    std::thread::sleep(Duration::from_millis(500));
    let (last_ms, successes) = (seen.last_success_ms(), seen.successes());
    let read_on = Duration::from_millis(last_ms.saturating_sub(refused_ms));
    assert!(read_on <= bound, "{way:?}: somebody read on for {read_on:?}");
    // They knock every second, and nobody opens.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(seen.successes(), successes, "{way:?}: somebody has read after the fence");
    assert_eq!(seen.take_errors().into_iter().collect::<Vec<_>>(), [ErrorKind::KeyRevoked], "{way:?}");
    let told = world.told(&tenant, &Act::FENCE_OBSERVED);
    let told: Vec<String> = told.iter().map(|recorded| detail(recorded, "answer")).collect();
    assert_eq!(told, [way.answer().to_string()], "{way:?}");

    let allowed_ms = world.now_ms();
    if first.allow() {
        // Nobody has to do anything but try again.
        world.until(&format!("{way:?}: back"), Duration::from_secs(15), || seen.last_success_ms() > allowed_ms);
        assert_eq!(world.fence(&tenant), None, "{way:?}");
        assert_eq!(world.told(&tenant, &Act::FENCE_LIFTED).len(), 1, "{way:?}");
    }
    read_on.as_millis() as u64
}
