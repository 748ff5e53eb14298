//! The identity provider of a real OpenBao: its tokens, its rotation, and what it signs for those without a tenant.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom::identity::{JwtVerifier, Oidc, OidcKeys, Rejection, Verifier};
use strongroom::{Clock, ErrorKind, ManualClock};

use super::{AUDIENCE, NOTES, Watch, clock_of_today, make_tenant, secs, store};
use crate::openbao::OpenBao;

const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

/// An OpenBao that issues tokens, and a verifier that fetches its keys.
struct Provider {
    bao: OpenBao,
    issuer: String,
    clock: Arc<ManualClock>,
    verifier: Arc<JwtVerifier>,
}

impl Provider {
    fn start() -> Option<Self> {
        let bao = OpenBao::start()?;
        let issuer = bao.start_issuing();
        let clock = clock_of_today();
        let keys = OidcKeys::discover(&issuer).ca_pem(bao.ca_pem()).clock(clock.clone()).build().unwrap();
        keys.ready().expect("an issuer that answers");
        let verifier = JwtVerifier::builder().oidc(Oidc::new(&issuer, AUDIENCE), keys).build().unwrap();
        Some(Self { bao, issuer, clock, verifier: Arc::new(verifier) })
    }

    fn refusal(&self, token: &str) -> Option<Rejection> {
        self.verifier.verify(token, self.clock.wall_ms() / 1000).err()
    }

    /// The keys that are published now.
    fn kids(&self) -> Vec<String> {
        let keys = self.bao.call("GET", "identity/oidc/.well-known/keys", &Value::Null).1;
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn its_tokens_of_every_algorithm_open_sessions() {
    let Some(provider) = Provider::start() else { return };
    let Provider { bao, issuer, clock, verifier } = &provider;
    for algorithm in ALGORITHMS {
        bao.make_issuing_role(algorithm, algorithm, AUDIENCE, "1h");
    }
    let custodian = bao.login_for_tokens("custodian", &json!({ "tid": "service", "role": "strongroom.custodian" }));
    let writer = bao.login_for_tokens("ada", &json!({ "tid": "contoso", "role": "strongroom.write" }));
    clock.advance(secs(30));
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder, verifier.clone(), clock, (issuer, "service"));
    make_tenant(&room, &bao.issue(&custodian, "RS256"), issuer, "contoso", "contoso");
    make_tenant(&room, &bao.issue(&custodian, "RS256"), issuer, "fabrikam", "fabrikam");
    for algorithm in ALGORITHMS {
        let token = bao.issue(&writer, algorithm);
        let session = room.session(&token, "contoso").expect(algorithm);
        session.collection(&NOTES).unwrap().put(&1, &algorithm.to_owned()).unwrap();
        assert_eq!(room.session(&token, "fabrikam").unwrap_err().kind(), ErrorKind::Denied);
    }
    let [place] = &room.connections()[..] else { panic!("one place") };
    assert_eq!((place.port, place.is_tls), (bao.port(), true));
}

#[test]
fn a_key_that_it_takes_out_is_dead_within_its_time() {
    let Some(provider) = Provider::start() else { return };
    let Provider { bao, clock, .. } = &provider;
    bao.make_issuing_role("ES256", "ES256", AUDIENCE, "1h");
    let login = bao.login_for_tokens("ada", &json!({ "tid": "contoso", "role": "strongroom.read" }));
    let old = bao.issue(&login, "ES256");
    clock.advance(secs(30));
    assert_eq!(provider.refusal(&old), None);
    let before = provider.kids();
    bao.must("POST", "identity/oidc/key/ES256/rotate", &json!({ "verification_ttl": "0s" }));
    let new = bao.issue(&login, "ES256");
    assert_eq!(provider.refusal(&new), None, "its next key is published before it signs");
    let begun = Watch::start();
    while before.iter().all(|kid| provider.kids().contains(kid)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the old key is published for ever");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(provider.refusal(&old), None, "the control: nobody has looked");
    clock.advance(secs(300));
    assert_eq!(provider.refusal(&old), Some(Rejection::UnknownKey));
    assert_eq!(provider.refusal(&new), None);
}

#[test]
fn who_has_no_tenant_is_refused_though_the_token_is_signed() {
    let Some(provider) = Provider::start() else { return };
    let Provider { bao, clock, .. } = &provider;
    bao.make_issuing_role("EdDSA", "EdDSA", AUDIENCE, "1h");
    bao.make_issuing_role("calendar", "EdDSA", "calendar", "1h");
    bao.make_issuing_role("short", "EdDSA", AUDIENCE, "2s");
    clock.advance(secs(30));
    let without = bao.login_for_tokens("nobody", &json!({ "role": "strongroom.read" }));
    assert_eq!(provider.refusal(&bao.issue(&without, "EdDSA")), Some(Rejection::TenantMissing));
    let with = bao.login_for_tokens("ada", &json!({ "tid": "contoso", "role": "strongroom.read" }));
    assert_eq!(provider.refusal(&bao.issue(&with, "EdDSA")), None, "the control");
    assert_eq!(provider.refusal(&bao.issue(&with, "calendar")), Some(Rejection::AudienceMismatch));
    let short = bao.issue(&with, "short");
    assert_eq!(provider.refusal(&short), None);
    clock.advance(secs(120));
    assert_eq!(provider.refusal(&short), Some(Rejection::Expired));
}

#[test]
fn while_it_is_sealed_known_keys_go_on_and_afterwards_it_is_asked_again() {
    let Some(provider) = Provider::start() else { return };
    let Provider { bao, clock, .. } = &provider;
    bao.make_issuing_role("ES256", "ES256", AUDIENCE, "12h");
    let login = bao.login_for_tokens("ada", &json!({ "tid": "contoso", "role": "strongroom.read" }));
    let token = bao.issue(&login, "ES256");
    clock.advance(secs(30));
    assert_eq!(provider.refusal(&token), None);
    bao.seal();
    clock.advance(secs(299));
    assert_eq!(provider.refusal(&token), None);
    clock.advance(secs(3301));
    assert_eq!(provider.refusal(&token), Some(Rejection::Unavailable), "an hour after the last answer");
    bao.unseal();
    clock.advance(secs(30));
    assert_eq!(provider.refusal(&token), None);
}
