//! Tokens with invented keys by the thousands, and issuers that are slow: the issuer is asked seldom, and nobody else waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use strongroom::Error;
use strongroom::identity::{Jwks, JwtVerifier, KeySource, Oidc, Rejection, Verifier};

use super::server::{Answer, DOCUMENT, KEYS, Server};
use super::{AUDIENCE, World, secs};
use crate::mint::Issuer;

/// Tokens of an issuer that nobody knows, each with a key of another name.
fn strangers(world: &World, count: usize) -> Vec<String> {
    let stranger = Issuer::ed25519(world.server.url(), "stranger");
    let claims = world.claims("contoso");
    let token = |number| {
        let mut header = stranger.header();
        header["kid"] = format!("invented-{number}").into();
        stranger.token_with_header(&header, &claims)
    };
    (0..count).map(token).collect()
}

/// Presents all tokens from eight threads at once; the refusals of each kind.
fn present(verifier: &dyn Verifier, tokens: &[String], now_secs: u64) -> (usize, usize) {
    let counts = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (unknown, unavailable) = (&counts.0, &counts.1);
    std::thread::scope(|scope| {
        for part in tokens.chunks(tokens.len().div_ceil(8)) {
            scope.spawn(move || {
                for token in part {
                    match verifier.verify(token, now_secs).expect_err("a token of a stranger") {
                        Rejection::UnknownKey => unknown.fetch_add(1, Ordering::Relaxed),
                        Rejection::Unavailable => unavailable.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}"),
                    };
                }
            });
        }
    });
    (counts.0.into_inner(), counts.1.into_inner())
}

/// What is promised of a server after a flood within one cool-down.
fn was_asked_at_most_once(server: &Server, before: (usize, usize)) -> bool {
    server.asked(DOCUMENT) <= before.0 + 1 && server.asked(KEYS) <= before.1 + 1
}

#[test]
fn ten_thousand_unknown_keys_cost_one_fetch_per_cool_down() {
    let (world, issuer) = World::with_key("one");
    assert_eq!(world.refusal(&issuer), None);
    let tokens = strangers(&world, 10_000);
    let good = issuer.token(&world.claims("contoso"));
    let (mut asked, mut at_least) = ((1, 1), 0);
    for _ in 0..3 {
        world.clock.advance(secs(30));
        let (unknown, unavailable) = present(&world.verifier, &tokens, world.now_secs());
        assert_eq!(unknown + unavailable, 10_000);
        assert!(was_asked_at_most_once(&world.server, asked), "{asked:?}");
        asked = (world.server.asked(DOCUMENT), world.server.asked(KEYS));
        at_least += 1;
        assert_eq!(asked, (1 + at_least, 1 + at_least), "looked for, once");
        assert_eq!(world.refusal_of(&good), None);
    }

    // The control: a source that fetches whenever it does not know a key.
    let keys = issuer.jwks_json();
    let url = format!("{}{KEYS}", world.server.url());
    let naive = Naive { known: Jwks::from_json(&keys).unwrap(), url, agent: agent(&world.server) };
    let naive = JwtVerifier::builder().oidc(Oidc::new(world.server.url(), AUDIENCE), naive).build().unwrap();
    present(&naive, &tokens[..50], world.now_secs());
    assert!(!was_asked_at_most_once(&world.server, asked), "the control");
}

struct Naive {
    known: Jwks,
    url: String,
    agent: ureq::Agent,
}

impl KeySource for Naive {
    fn keys(&self, kid: &str, _: u64) -> Result<Jwks, Error> {
        if self.known.contains(kid) {
            return Ok(self.known.clone());
        }
        let text = self.agent.get(&self.url).call().unwrap().body_mut().read_to_string().unwrap();
        Jwks::from_json(&text)
    }
}

fn agent(server: &Server) -> ureq::Agent {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let certificate = Certificate::from_pem(server.ca_pem().as_bytes()).unwrap();
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&[certificate]))
        .build();
    ureq::Agent::config_builder().proxy(None).tls_config(tls).build().new_agent()
}

#[test]
fn a_flood_at_an_issuer_that_never_answered_costs_one_attempt_too() {
    let world = World::new();
    world.server.set(DOCUMENT, Answer::Nothing);
    let tokens = strangers(&world, 2_000);
    for round in 1..=3 {
        assert_eq!(present(&world.verifier, &tokens, world.now_secs()), (0, 2_000));
        assert_eq!((world.server.asked(DOCUMENT), world.server.asked(KEYS)), (round, 0));
        world.clock.advance(secs(30));
    }
}

#[test]
fn behind_a_slow_issuer_one_caller_waits_and_nobody_else() {
    let (world, issuer) = World::with_key("one");
    let good = issuer.token(&world.claims("contoso"));
    assert_eq!(world.refusal_of(&good), None);
    world.server.set(KEYS, Answer::Drip);
    world.clock.advance(secs(30));
    let tokens = strangers(&world, 1_000);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| world.refusal_of(&tokens[0]));
        while world.server.asked(KEYS) < 2 {
            std::thread::sleep(secs(0));
        }
        for token in &tokens {
            assert_eq!(world.refusal_of(&good), None, "known keys are served");
            assert_eq!(world.refusal_of(token), Some(Rejection::Unavailable), "unknown ones may come again");
        }
        assert!(!first.is_finished(), "2,000 tokens were looked at while one waited");
        assert_eq!(first.join().unwrap(), Some(Rejection::Unavailable));
    });
    assert_eq!(world.server.asked(KEYS), 2);
}
