//! What hosts of issuers, and those who stand in between, do wrong: none of it is taken for keys, and known keys go on for a
//! while.

use std::time::Duration;

use serde_json::json;
use strongroom::identity::{JwtVerifier, KeySource, Oidc, OidcKeys, OidcKeysBuilder, Rejection, Verifier};
use strongroom::{Clock, ErrorKind};

use super::server::{Answer, DOCUMENT, KEYS, Server, document};
use super::{AUDIENCE, Watch, World, secs};
use crate::heard::Heard;
use crate::mint::{Issuer, jwks_json};

fn page(text: impl Into<String>) -> Answer {
    Answer::Page(text.into())
}

fn redirect(to: &str) -> Answer {
    Answer::Status(302, format!("Location: {to}"), String::new())
}

/// What can be wrong, on which page, with a word of how an operator hears of it. Those that take the whole patience are at
/// the end.
fn faults(
    world: &World,
    elsewhere: &Server,
    issuer: &Issuer,
) -> Vec<(&'static str, &'static str, Answer, &'static str)> {
    let (url, other) = (world.server.url(), elsewhere.url());
    let secret = json!({ "kid": "s", "kty": "oct", "k": "c2VjcmV0" });
    let twice = issuer.jwks_json().replace(r#""keys":"#, r#""keys":[],"keys":"#);
    let huge = format!(r#"{{"keys":[],"more":"{}"}}"#, "x".repeat(1 << 20));
    let status = |status| Answer::Status(status, "X: y".to_owned(), issuer.jwks_json());
    vec![
        ("not found", DOCUMENT, status(404), "status 404"),
        ("a defect", DOCUMENT, status(500), "status 500"),
        ("too many", KEYS, status(429), "status 429"),
        ("created", KEYS, status(201), "status 201"),
        ("a redirect to another host", DOCUMENT, redirect(&format!("{other}{DOCUMENT}")), "status 302"),
        ("a redirect of the keys", KEYS, redirect(&format!("{other}{KEYS}")), "status 302"),
        ("a redirect to itself", KEYS, redirect(&format!("{url}/moved")), "status 302"),
        ("garbage", DOCUMENT, page("<html>sign in to the network</html>"), "one JSON object"),
        ("garbage for keys", KEYS, page("\u{0}\u{1}"), "JWK set"),
        ("an empty page", KEYS, page(""), "JWK set"),
        ("a list", KEYS, page("[]"), "JWK set"),
        ("no list of keys", KEYS, page("{}"), "list of keys"),
        ("keys twice", KEYS, page(twice), "no member occurs twice"),
        ("a secret among the keys", KEYS, page(jwks_json([issuer.jwk(), secret])), "it is a secret"),
        ("another issuer", DOCUMENT, page(document("https://id.example", &format!("{url}{KEYS}"))), "another issuer"),
        ("a slash more", DOCUMENT, page(document(&format!("{url}/"), &format!("{url}{KEYS}"))), "another issuer"),
        ("keys elsewhere", DOCUMENT, page(document(&url, &format!("{other}{KEYS}"))), "not allowed"),
        (
            "keys without TLS",
            DOCUMENT,
            page(document(&url, &format!("{}{KEYS}", url.replace("https", "http")))),
            "https",
        ),
        ("no keys", DOCUMENT, page(json!({ "issuer": url }).to_string()), "where the keys are"),
        ("huge", KEYS, page(huge), "longer than any"),
        ("endless", KEYS, Answer::Endless, "longer than any"),
        ("endless headers", DOCUMENT, Answer::EndlessHeaders, "no answer"),
        ("nothing", DOCUMENT, Answer::Nothing, "no answer"),
        ("an answer cut off", KEYS, Answer::Cut, "no answer"),
        ("an answer that never ends", KEYS, Answer::Drip, "no answer"),
    ]
}

#[test]
fn nothing_unsound_is_taken_for_keys_and_known_keys_go_on_up_to_the_limit() {
    let elsewhere = Server::start();
    let (world, issuer) = World::with_key("one");
    let url = world.server.url();
    elsewhere.publish(&issuer.jwks_json());
    elsewhere.set(DOCUMENT, page(document(&url, &format!("{url}{KEYS}"))));
    world.server.set("/moved", page(issuer.jwks_json()));
    let fresh = || {
        let keys = OidcKeys::discover(&url).ca_pem([world.server.ca_pem(), elsewhere.ca_pem()].concat());
        keys.clock(world.clock.clone()).build().expect("sound keys")
    };
    assert!(fresh().ready().is_ok(), "the control");
    for (what, path, answer, word) in faults(&world, &elsewhere, &issuer) {
        world.server.publish(&issuer.jwks_json());
        world.clock.advance(secs(86_400));
        assert_eq!(world.refusal(&issuer), None, "{what}: the control");
        world.server.set(path, answer);

        let (keys, begun) = (fresh(), Watch::start());
        let error = keys.ready().expect_err(what);
        assert!(begun.elapsed() < OidcKeys::FETCH_PATIENCE + secs(2), "{what}: {:?}", begun.elapsed());
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}");
        assert!(error.to_string().contains(word), "{what}: {error}");
        let verifier = JwtVerifier::builder().oidc(Oidc::new(&url, AUDIENCE), keys).build().expect("a verifier");
        let token = issuer.token(&world.claims("contoso"));
        assert_eq!(verifier.verify(&token, world.now_secs()), Err(Rejection::Unavailable), "{what}");

        world.clock.advance(secs(299));
        let (heard, begun) = (Heard::default(), Watch::start());
        heard.during(|| assert_eq!(world.refusal_of(&token), None, "{what}: a known key within its time"));
        assert!(begun.elapsed() < OidcKeys::FETCH_PATIENCE / 2, "{what}: nobody waits for the renewal");
        let text = until_heard(&heard, "cannot be fetched");
        assert!(text.contains(word) && !text.contains(&token[token.len() - 20..]), "{what}: {text}");
        world.clock.advance(secs(1));
        assert_eq!(world.refusal_of(&token), None, "{what}: and within the limit");
    }
    let asked = elsewhere.asked_in_all();
    assert_eq!(asked, 0, "no host was asked that was not named");
}

fn until_heard(heard: &Heard, words: &str) -> String {
    let begun = Watch::start();
    while !heard.text().contains(words) {
        assert!(begun.elapsed() < OidcKeys::FETCH_PATIENCE + secs(2), "{words}: {}", heard.text());
        std::thread::sleep(Duration::from_millis(5));
    }
    heard.text()
}

#[test]
fn an_issuer_that_is_gone_is_covered_for_as_long_as_was_said_and_then_nobody_is_verified() {
    let World { server, clock, verifier, .. } = World::built(|keys| keys.stale_limit(secs(600)));
    let issuer = Issuer::ed25519(server.url(), "one");
    server.publish(&issuer.jwks_json());
    let now_secs = || clock.wall_ms() / 1000;
    let claims = json!({ "aud": AUDIENCE, "sub": "ada", "tid": "contoso", "exp": now_secs() + 86_400 });
    let token = issuer.token(&claims);
    let refusal = || verifier.verify(&token, now_secs()).err();
    assert_eq!(refusal(), None);
    server.set(DOCUMENT, Answer::Nothing);
    for passed_secs in (30..600).step_by(30) {
        clock.advance(secs(30));
        let heard = Heard::default();
        heard.during(|| assert_eq!(refusal(), None));
        if passed_secs >= 150 {
            until_heard(&heard, "cannot be fetched");
        }
    }
    assert_eq!(server.asked(DOCUMENT), 1 + 15, "every 30 seconds from the half of its time on");
    clock.advance(secs(30));
    assert_eq!(refusal(), Some(Rejection::Unavailable), "600 seconds after it was asked for");
    clock.advance(secs(30));
    server.publish(&issuer.jwks_json());
    assert_eq!(refusal(), None, "it is back");
}

#[test]
fn keys_at_another_host_are_fetched_if_it_was_named() {
    let keys_host = Server::start();
    let world = World::built(|keys| keys);
    let issuer = Issuer::es256(world.server.url(), "one");
    keys_host.set(KEYS, page(issuer.jwks_json()));
    world.server.set(DOCUMENT, page(document(&world.server.url(), &format!("{}{KEYS}", keys_host.url()))));
    let ca = [world.server.ca_pem(), keys_host.ca_pem()].concat();
    let builder = || OidcKeys::discover(world.server.url()).ca_pem(ca.clone());
    assert!(builder().build().unwrap().ready().is_err());
    assert_eq!(keys_host.asked_in_all(), 0);
    let named = builder().allow_host(keys_host.host()).build().unwrap();
    named.ready().unwrap();
    assert_eq!((keys_host.asked(KEYS), named.connections().len()), (1, 2));
}

#[test]
fn a_host_without_a_certificate_of_a_named_authority_is_told_nothing_and_believed_nothing() {
    let (world, _) = World::with_key("one");
    let stranger = Server::start();
    let answer = |builder: OidcKeysBuilder| builder.build().unwrap().ready().map_err(|error| error.to_string());
    let keys = || OidcKeys::discover(world.server.url());
    assert_eq!(answer(keys().ca_pem(world.server.ca_pem())), Ok(()), "the control");
    for builder in [keys().ca_pem(stranger.ca_pem()), keys()] {
        let error = answer(builder).unwrap_err();
        assert!(error.contains("certificate"), "{error}");
    }
    let by_name = OidcKeys::discover(world.server.url().replace("127.0.0.1", "localhost"));
    let error = answer(by_name.ca_pem(world.server.ca_pem())).unwrap_err();
    assert!(error.contains("certificate"), "not for this name: {error}");
    assert_eq!(world.server.asked_in_all(), 2, "those of the control");
}

/// In a process of its own, because the environment of this one belongs to all tests.
#[test]
fn no_proxy_of_the_environment_is_heeded() {
    const ISSUER: &str = "STRONGROOM_TEST_ISSUER";
    const CA: &str = "STRONGROOM_TEST_CA";
    if let (Ok(issuer), Ok(ca)) = (std::env::var(ISSUER), std::env::var(CA)) {
        return OidcKeys::discover(issuer).ca_pem(ca).build().unwrap().ready().expect("keys");
    }
    let (world, _) = World::with_key("one");
    let proxy = Server::start();
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "issuers::faults::no_proxy_of_the_environment_is_heeded", "--test-threads=1"]);
        child.env(ISSUER, world.server.url()).env(CA, world.server.ca_pem()).env(name, proxy.url());
        let output = child.output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!((proxy.connections(), world.server.asked(KEYS)), (0, 5));
}
