//! Identity providers: keys found by discovery, fetched over HTTPS from a host of the tests' own and from a real OpenBao,
//! and tokens verified with them at the door of a store.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom::identity::{JwtVerifier, Oidc, OidcKeys, OidcKeysBuilder, Rejection, Verifier};
use strongroom::{Clock, CollectionDef, ErrorKind, LocalRoots, ManualClock, Strongroom, SystemClock, TenantSpec};

use crate::mint::{Issuer, jwks_json};
use server::{DOCUMENT, KEYS, Server};

mod entra;
mod faults;
mod floods;
mod forgeries;
#[cfg(feature = "transit")]
mod openbao;
mod server;

const NOTES: CollectionDef<u64, String> = CollectionDef::cbor("notes");
const AUDIENCE: &str = "mail";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A watch that was started now.
struct Watch(Arc<SystemClock>);

impl Watch {
    fn start() -> Self {
        Self(SystemClock::new())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.monotonic_ms())
    }
}

/// A clock that shows the real time and stands still there: tokens of real issuers are of today.
fn clock_of_today() -> Arc<ManualClock> {
    ManualClock::new(SystemClock::new().wall_ms())
}

/// An issuer at a host of its own, and a verifier that fetches its keys.
struct World {
    server: Server,
    clock: Arc<ManualClock>,
    keys: OidcKeys,
    verifier: Arc<JwtVerifier>,
}

impl World {
    fn new() -> Self {
        Self::built(|builder| builder)
    }

    fn built(change: impl FnOnce(OidcKeysBuilder) -> OidcKeysBuilder) -> Self {
        let (server, clock) = (Server::start(), clock_of_today());
        let builder = OidcKeys::discover(server.url()).ca_pem(server.ca_pem()).clock(clock.clone());
        let keys = change(builder).build().expect("sound keys");
        let verifier = JwtVerifier::builder().oidc(Oidc::new(server.url(), AUDIENCE), keys.clone()).build();
        Self { server, clock, keys, verifier: Arc::new(verifier.expect("a sound verifier")) }
    }

    /// One whose server publishes the key of this issuer.
    fn with_key(kid: &str) -> (Self, Issuer) {
        let world = Self::new();
        let issuer = Issuer::es256(world.server.url(), kid);
        world.server.publish(&issuer.jwks_json());
        (world, issuer)
    }

    fn now_secs(&self) -> u64 {
        self.clock.wall_ms() / 1000
    }

    /// Claims about somebody of `tenant`, good for a day.
    fn claims(&self, tenant: &str) -> Value {
        let now_secs = self.now_secs();
        json!({ "aud": AUDIENCE, "sub": "ada", "tid": tenant, "iat": now_secs, "exp": now_secs + 86_400,
            "roles": ["strongroom.read", "strongroom.write", "strongroom.custodian"] })
    }

    /// Why a token of `issuer` is refused, if it is.
    fn refusal(&self, issuer: &Issuer) -> Option<Rejection> {
        self.refusal_of(&issuer.token(&self.claims("contoso")))
    }

    fn refusal_of(&self, token: &str) -> Option<Rejection> {
        self.verifier.verify(token, self.now_secs()).err()
    }

    fn store(&self, folder: &tempfile::TempDir) -> Strongroom {
        store(folder, self.verifier.clone(), &self.clock, (&self.server.url(), "service"))
    }
}

/// A store whose service is spoken for by this tenant of this issuer.
fn store(
    folder: &tempfile::TempDir,
    verifier: impl Verifier,
    clock: &Arc<ManualClock>,
    (issuer, tenant): (&str, &str),
) -> Strongroom {
    let roots = LocalRoots::open_with_root(folder.path().join("keys"), "service").expect("root keys");
    let builder = Strongroom::in_memory(roots, verifier).service_speaker(issuer, tenant).clock(clock.clone());
    builder.open().expect("a store")
}

fn make_tenant(room: &Strongroom, custodian: &str, issuer: &str, name: &str, claim: &str) {
    let custody = room.custody(custodian).expect("a custodian");
    custody.create_tenant(TenantSpec::new(name, issuer, claim)).expect("a tenant");
}

#[test]
fn tokens_of_every_algorithm_open_sessions_with_keys_that_were_fetched() {
    let world = World::new();
    let url = world.server.url();
    let issuers = [Issuer::rs256(&url, "rsa"), Issuer::es256(&url, "ec"), Issuer::ed25519(&url, "ed")];
    world.server.publish(&jwks_json(issuers.iter().map(Issuer::jwk)));
    world.keys.ready().expect("an issuer that answers");
    let folder = tempfile::tempdir().unwrap();
    let room = world.store(&folder);
    let custodian = issuers[0].token(&world.claims("service"));
    for name in ["contoso", "fabrikam"] {
        make_tenant(&room, &custodian, &url, name, name);
    }
    for (number, issuer) in issuers.iter().enumerate() {
        let token = issuer.token(&world.claims("contoso"));
        let session = room.session(&token, "contoso").expect("a session");
        let notes = session.collection(&NOTES).unwrap();
        notes.put(&1, &format!("note {number}")).unwrap();
        assert_eq!(notes.get(&1).unwrap(), Some(format!("note {number}")));
        assert_eq!(room.session(&token, "fabrikam").unwrap_err().kind(), ErrorKind::Denied);
    }
    let places: Vec<_> =
        room.connections().into_iter().map(|place| (place.provider, place.port, place.is_tls)).collect();
    let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(places, [("oidc".to_owned(), port, true)], "the only place that the store connects to");
    assert_eq!((world.server.asked(DOCUMENT), world.server.asked(KEYS)), (1, 1));
}

#[test]
fn a_key_that_is_taken_out_is_dead_within_its_time_and_a_new_one_is_found() {
    let (world, old) = World::with_key("old");
    let new = Issuer::es256(world.server.url(), "new");
    assert_eq!(world.refusal(&old), None);
    world.server.publish(&jwks_json([old.jwk(), new.jwk()]));
    assert_eq!(world.refusal(&new), Some(Rejection::UnknownKey), "the issuer has just been asked");
    world.clock.advance(secs(30));
    assert_eq!(world.refusal(&new), None, "rotation is noticed by the first token");
    world.server.publish(&new.jwks_json());
    world.clock.advance(secs(299));
    assert_eq!(world.refusal(&new), None);
    world.clock.advance(secs(1));
    assert_eq!(world.refusal(&old), Some(Rejection::UnknownKey), "taken out 300 seconds ago");
    assert_eq!(world.refusal(&new), None);
}

#[test]
fn a_key_that_is_taken_out_is_dead_within_its_time_though_the_clock_is_set_back() {
    let (world, old) = World::with_key("old");
    let new = Issuer::es256(world.server.url(), "new");
    let token = old.token(&world.claims("contoso"));
    assert_eq!(world.refusal_of(&token), None);
    world.server.publish(&new.jwks_json());
    world.clock.set_wall_ms(world.clock.wall_ms() - 3_600_000);
    assert_eq!(world.refusal_of(&token), None, "the control: its time is not over");
    world.clock.advance(secs(300));
    assert_eq!(world.refusal_of(&token), Some(Rejection::UnknownKey));
}

#[test]
fn two_keys_of_one_name_are_no_rotation_that_is_missed() {
    let (world, old) = World::with_key("one");
    assert_eq!(world.refusal(&old), None);
    let new = Issuer::es256(world.server.url(), "one");
    world.server.publish(&new.jwks_json());
    world.clock.advance(secs(300));
    assert_eq!(world.refusal(&old), Some(Rejection::SignatureInvalid));
    assert_eq!(world.refusal(&new), None);
}
