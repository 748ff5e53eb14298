//! Malformed and forged tokens against keys that were fetched.

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use strongroom::ErrorKind;
use strongroom::identity::Rejection;

use super::server::{Answer, KEYS, Server};
use super::{World, make_tenant};
use crate::mint::{Issuer, encode};

fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object
}

/// Signed as RFC 7515 has it with HMAC, with a secret that everybody knows.
fn hmac_token(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", encode(tag))
}

/// Tokens that nobody must accept, and why they are refused.
fn forgeries(world: &World, issuer: &Issuer, attacker: &Server) -> Vec<(&'static str, String, Rejection)> {
    let url = world.server.url();
    let forger = Issuer::rs256(&url, "one");
    attacker.set(KEYS, Answer::Page(forger.jwks_json()));
    let claims = |name: &str, value: Value| with(with(world.claims("contoso"), "iss", url.as_str()), name, value);
    let good = claims("x", Value::Null);
    let token = issuer.token(&good);
    assert_eq!(world.refusal_of(&token), None, "the control");
    let [header, payload, signature] = &token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let headed = |name: &str, value: Value| issuer.token_with_header(&with(issuer.header(), name, value), &good);
    let forged = |name: &str, value: Value| forger.token_with_header(&with(forger.header(), name, value), &good);
    let none = encode(r#"{"alg":"none","kid":"one","typ":"JWT"}"#);
    let hs256 = with(issuer.header(), "alg", "HS256");
    let other = encode(claims("tid", json!("fabrikam")).to_string());
    let now_secs = world.now_secs();
    vec![
        ("no algorithm", format!("{none}.{payload}."), Rejection::AlgorithmNotAllowed),
        ("no algorithm, signed", format!("{none}.{payload}.{signature}"), Rejection::AlgorithmNotAllowed),
        (
            "the public key as a secret",
            hmac_token(&hs256, &good, issuer.jwk()["n"].as_str().unwrap().as_bytes()),
            Rejection::AlgorithmNotAllowed,
        ),
        ("another algorithm of the key", headed("alg", json!("RS512")), Rejection::AlgorithmNotAllowed),
        ("the algorithm of another kind of key", headed("alg", json!("ES256")), Rejection::KeyUnfit),
        ("a key of the same name", forger.token(&good), Rejection::SignatureInvalid),
        (
            "a key with its address",
            forged("jku", json!(format!("{}{KEYS}", attacker.url()))),
            Rejection::HeaderNotAllowed,
        ),
        ("a key inside", forged("jwk", forger.jwk()), Rejection::HeaderNotAllowed),
        ("a certificate inside", forged("x5c", json!(["MIIC"])), Rejection::HeaderNotAllowed),
        ("an extension", headed("crit", json!(["exp"])), Rejection::HeaderNotAllowed),
        ("other claims", format!("{header}.{other}.{signature}"), Rejection::SignatureInvalid),
        ("no signature", format!("{header}.{payload}."), Rejection::SignatureInvalid),
        ("half a signature", format!("{header}.{payload}.{}", &signature[..340]), Rejection::SignatureInvalid),
        ("two parts", format!("{header}.{payload}"), Rejection::Malformed),
        ("five parts", format!("{token}.a.b"), Rejection::Malformed),
        ("padding", format!("{token}="), Rejection::Malformed),
        ("nothing", String::new(), Rejection::Malformed),
        (
            "a claim twice",
            issuer.sign(issuer.header().to_string(), good.to_string().replace(r#""tid":"#, r#""tid":"a","tid":"#)),
            Rejection::DuplicateMember,
        ),
        ("another issuer", issuer.token(&claims("iss", json!(attacker.url()))), Rejection::IssuerMismatch),
        ("the issuer with a slash", issuer.token(&claims("iss", json!(format!("{url}/")))), Rejection::IssuerMismatch),
        ("another service", issuer.token(&claims("aud", json!("calendar"))), Rejection::AudienceMismatch),
        ("no tenant", issuer.token(&claims("tid", json!(""))), Rejection::TenantMissing),
        ("no subject", issuer.token(&claims("sub", json!(""))), Rejection::SubjectMissing),
        ("over", issuer.token(&claims("exp", json!(now_secs - 60))), Rejection::Expired),
        ("not begun", issuer.token(&claims("nbf", json!(now_secs + 61))), Rejection::NotYetValid),
        ("an ID token", issuer.token(&claims("at_hash", json!("a"))), Rejection::TypeNotAllowed),
        ("an actor", issuer.token(&claims("act", json!({ "sub": "eve" }))), Rejection::ActorNotAllowed),
    ]
}

#[test]
fn every_forgery_is_refused_for_its_own_reason_and_leads_nowhere() {
    let (world, attacker) = (World::new(), Server::start());
    let url = world.server.url();
    let issuer = Issuer::rs256(&url, "one");
    world.server.publish(&issuer.jwks_json());
    let folder = tempfile::tempdir().unwrap();
    let room = world.store(&folder);
    make_tenant(&room, &issuer.token(&world.claims("service")), &url, "contoso", "contoso");
    assert!(room.session(&issuer.token(&world.claims("contoso")), "contoso").is_ok(), "the control");
    for (what, token, reason) in forgeries(&world, &issuer, &attacker) {
        assert_eq!(world.refusal_of(&token), Some(reason), "{what}");
        let error = room.session(&token, "contoso").expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Denied, "{what}: {error}");
        assert!(!error.to_string().contains(&url), "{what}: {error}");
    }
    assert_eq!(attacker.asked_in_all(), 0, "no address in a token is ever asked");
    assert_eq!(world.server.asked(KEYS), 1);
}

#[test]
fn no_change_of_one_character_is_accepted() {
    let (world, issuer) = World::with_key("one");
    let token = issuer.token(&world.claims("contoso"));
    assert_eq!(world.refusal_of(&token), None, "the control");
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(world.refusal_of(&changed).is_some(), "at {at}");
    }
    assert!(world.server.asked(KEYS) == 1, "{}", world.server.asked(KEYS));
}
