//! Key sets: what is not loaded, what verifies nothing, and what happens when keys change or cannot be had.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::mint::{Issuer, encode, jwks_json};
use super::{
    CONTOSO, Jwks, JwtVerifier, NOW, Oidc, Rejection, Verifier, WORLD, contoso_claims, fabrikam_claims, jwks, with,
    without,
};
use crate::error::{Error, ErrorKind};
use crate::identity::KeySource;

fn verifier(keys: impl KeySource) -> JwtVerifier {
    JwtVerifier::builder().oidc(Oidc::new(CONTOSO, "mail"), keys).build().expect("a sound verifier")
}

/// The answer to a valid token of contoso signed with `signer`, whose key is published as `jwk`.
fn answer(signer: &Issuer, jwk: Value) -> Option<Rejection> {
    verifier(jwks([jwk])).verify(&signer.token(&contoso_claims()), NOW).err()
}

fn refused(set: &str) -> Option<String> {
    Jwks::from_json(set).err().filter(|error| error.kind() == ErrorKind::Invalid).map(|error| error.to_string())
}

#[test]
fn a_set_with_a_flaw_is_not_loaded() {
    let (rsa, ec, ed) = (WORLD.entra.jwk(), WORLD.fabrikam.jwk(), WORLD.contoso.jwk());
    let number = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= (8 - bits % 8) % 8;
        json!(encode(bytes))
    };
    let flawed = [
        ("no kid", without(ed.clone(), "kid")),
        ("an empty kid", with(ed.clone(), "kid", json!(""))),
        ("a kid that is a number", with(ed.clone(), "kid", json!(1))),
        ("no kty", without(ed.clone(), "kty")),
        ("an HMAC secret", json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256" })),
        ("an HMAC secret without k", json!({ "kty": "oct", "kid": "s" })),
        ("an HMAC secret in a public key", with(rsa.clone(), "k", json!("c2VjcmV0"))),
        ("a private Ed25519 key", with(ed.clone(), "d", json!("AAAA"))),
        ("a private EC key", with(ec.clone(), "d", json!("AAAA"))),
        ("a private RSA key", with(rsa.clone(), "dp", json!("AAAA"))),
        ("a private key of a type unknown here", json!({ "kty": "AKP", "kid": "q", "priv": "AAAA" })),
        ("RSA of 1024 bits", with(rsa.clone(), "n", number(1024))),
        ("RSA of 2047 bits", with(rsa.clone(), "n", number(2047))),
        ("RSA of 8193 bits", with(rsa.clone(), "n", number(8193))),
        ("RSA with an empty modulus", with(rsa.clone(), "n", json!(""))),
        ("RSA with a leading zero", with(rsa.clone(), "n", json!(encode([&[0], &[0xff; 256][..]].concat())))),
        ("RSA without modulus", without(rsa.clone(), "n")),
        ("RSA with exponent 1", with(rsa.clone(), "e", json!("AQ"))),
        ("RSA with exponent 3", with(rsa.clone(), "e", json!("Aw"))),
        ("RSA with an empty exponent", with(rsa.clone(), "e", json!(""))),
        ("RSA with an exponent of five bytes", with(rsa.clone(), "e", json!(encode([1, 0, 1, 0, 1])))),
        ("RSA with an exponent that begins with zero", with(rsa.clone(), "e", json!(encode([0, 1, 0, 1])))),
        ("RSA with padding", with(rsa, "e", json!("AQAB="))),
        ("EC with a short x", with(ec.clone(), "x", json!(encode([1; 31])))),
        ("EC with a long y", with(ec.clone(), "y", json!(encode([1; 33])))),
        ("EC without y", without(ec, "y")),
        ("Ed25519 with a short point", with(ed.clone(), "x", json!(encode([1; 31])))),
        ("Ed25519 without point", without(ed.clone(), "x")),
        ("exp as text", with(ed.clone(), "exp", json!("1800000000"))),
        ("exp with a fraction", with(ed.clone(), "exp", json!(1.5e9))),
        ("nbf below zero", with(ed.clone(), "nbf", json!(-1))),
        ("nbf as null", with(ed.clone(), "nbf", Value::Null)),
        ("use as a list", with(ed.clone(), "use", json!(["sig"]))),
        ("key_ops as text", with(ed.clone(), "key_ops", json!("verify"))),
        ("key_ops of numbers", with(ed.clone(), "key_ops", json!(["verify", 1]))),
        ("alg as a number", with(ed.clone(), "alg", json!(1))),
        ("an issuer that is no text", with(ed, "issuer", json!({}))),
        ("not an object", json!("key")),
    ];
    for (why, jwk) in flawed {
        let message = refused(&jwks_json([WORLD.consumers.jwk(), jwk]));
        assert!(message.is_some_and(|message| message.starts_with("invalid: key 1 of the JWK set: ")), "{why}");
    }
    let sound = with(WORLD.entra.jwk(), "n", number(8192));
    assert!(Jwks::from_json(&jwks_json([WORLD.fabrikam.jwk(), sound])).is_ok(), "the control");
}

#[test]
fn what_is_not_a_set_is_not_loaded() {
    let key = WORLD.contoso.jwk();
    assert!(refused(&jwks_json([key.clone(), key.clone()])).is_some_and(|message| message.contains("same kid")));
    let twice = with(WORLD.fabrikam.jwk(), "kid", key["kid"].clone());
    assert!(refused(&jwks_json([key.clone(), twice])).is_some(), "another key under the same kid");
    let doubled = jwks_json([key]).replacen(r#""kid""#, r#""kid":"first","kid""#, 1);
    for set in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[],"keys":[]}"#, &doubled] {
        assert!(refused(set).is_some(), "{set}");
    }
    let long = format!("{}{}", r#"{"keys":[]}"#, " ".repeat(1 << 20));
    assert!(refused(&long).is_some());
    assert!(Jwks::from_json(&long[..1 << 20]).is_ok(), "a set of a mebibyte, and of no keys");
}

#[test]
fn a_key_verifies_only_what_it_is_meant_for() {
    let (ed, ec, rsa) = (&WORLD.contoso, &WORLD.fabrikam, &WORLD.entra);
    let unfit = [
        ("for encryption", ed, with(ed.jwk(), "use", json!("enc"))),
        ("for signing", ed, with(ed.jwk(), "key_ops", json!(["sign"]))),
        ("for nothing", ed, with(ed.jwk(), "key_ops", json!([]))),
        ("use against key_ops", ed, with(with(ed.jwk(), "use", json!("enc")), "key_ops", json!(["verify"]))),
        ("for another algorithm", rsa, with(rsa.jwk(), "alg", json!("PS256"))),
        ("for an algorithm that is not allowed", rsa, with(rsa.jwk(), "alg", json!("RS512"))),
        ("for a family of algorithms", rsa, with(rsa.jwk(), "alg", json!("RSA"))),
        ("for an algorithm in lower case", ed, with(ed.jwk(), "alg", json!("eddsa"))),
        ("for an algorithm of another type", ed, with(ed.jwk(), "alg", json!("ES256"))),
        ("of another type", ec, with(ed.jwk(), "kid", json!("fabrikam-1"))),
        ("of another curve", ec, with(ec.jwk(), "crv", json!("P-384"))),
        ("of no curve", ec, without(ec.jwk(), "crv")),
        ("of a curve for key agreement", ed, with(ed.jwk(), "crv", json!("X25519"))),
        ("of a type unknown here", ed, with(ed.jwk(), "kty", json!("okp"))),
    ];
    for (why, signer, jwk) in unfit {
        assert_eq!(answer(signer, jwk), Some(Rejection::KeyUnfit), "{why}");
    }
    for (signer, jwk) in [
        (ed, with(ed.jwk(), "key_ops", json!(["verify"]))),
        (ed, without(without(ed.jwk(), "use"), "alg")),
        (rsa, without(rsa.jwk(), "alg")),
        (ec, ec.jwk()),
    ] {
        assert_eq!(answer(signer, jwk), None, "the control");
    }
}

#[test]
fn a_key_that_is_no_point_verifies_nothing() {
    let off_the_curve = with(WORLD.fabrikam.jwk(), "x", json!(encode([0xff; 32])));
    assert_eq!(answer(&WORLD.fabrikam, off_the_curve), Some(Rejection::SignatureInvalid));
}

#[test]
fn a_key_verifies_nothing_before_its_beginning_and_after_its_end() {
    let key = |member, seconds: u64| with(WORLD.contoso.jwk(), member, json!(seconds));
    assert_eq!(answer(&WORLD.contoso, key("exp", NOW)), Some(Rejection::KeyExpired));
    assert_eq!(answer(&WORLD.contoso, key("exp", NOW + 1)), None);
    assert_eq!(answer(&WORLD.contoso, key("nbf", NOW + 1)), Some(Rejection::KeyNotYetValid));
    assert_eq!(answer(&WORLD.contoso, key("nbf", NOW)), None);
}

#[test]
fn a_key_vouches_for_the_issuer_that_it_names() {
    let key = |issuer: &str| with(WORLD.contoso.jwk(), "issuer", json!(issuer));
    assert_eq!(answer(&WORLD.contoso, key(CONTOSO)), None);
    for other in ["https://id.fabrikam.example", "https://id.contoso.example/", ""] {
        assert_eq!(answer(&WORLD.contoso, key(other)), Some(Rejection::KeyOutOfScope), "{other}");
    }
}

#[test]
fn a_key_that_is_taken_out_is_dead_at_once_and_its_successor_alive() {
    let successor = Issuer::ed25519(CONTOSO, "contoso-2");
    let published = Arc::new(Mutex::new(jwks([WORLD.contoso.jwk()])));
    let source = Arc::clone(&published);
    let verifier = verifier(move || Ok(source.lock().expect("no panic before").clone()));
    let publish = |keys: Vec<Value>| *published.lock().expect("no panic before") = jwks(keys);
    let tokens = [WORLD.contoso.token(&contoso_claims()), successor.token(&contoso_claims())];
    let answers = || tokens.each_ref().map(|token| verifier.verify(token, NOW).err());

    assert_eq!(answers(), [None, Some(Rejection::UnknownKey)]);
    publish(vec![WORLD.contoso.jwk(), successor.jwk()]);
    assert_eq!(answers(), [None, None]);
    publish(vec![successor.jwk()]);
    assert_eq!(answers(), [Some(Rejection::UnknownKey), None]);
    publish(vec![with(successor.jwk(), "kid", json!("contoso-1"))]);
    assert_eq!(answers(), [Some(Rejection::SignatureInvalid), Some(Rejection::UnknownKey)], "another key of the name");
    publish(vec![]);
    assert_eq!(answers(), [Some(Rejection::UnknownKey); 2]);
}

#[test]
fn a_source_that_fails_stops_its_own_issuer_for_as_long_as_it_fails() {
    let down = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&down);
    let keys = jwks([WORLD.contoso.jwk()]);
    let source = move || match fails.load(Ordering::SeqCst) {
        true => Err(Error::new(ErrorKind::Unavailable, "the endpoint is down")),
        false => Ok(keys.clone()),
    };
    let other = Oidc::new(super::FABRIKAM, "mail").tenant_claim("org").subject_claim("uid");
    let verifier = JwtVerifier::builder()
        .oidc(Oidc::new(CONTOSO, "mail"), source)
        .oidc(other, jwks([WORLD.fabrikam.jwk()]))
        .build()
        .expect("a sound verifier");
    let token = WORLD.contoso.token(&contoso_claims());
    assert_eq!(verifier.verify(&token, NOW), Err(Rejection::Unavailable));
    assert!(verifier.verify(&WORLD.fabrikam.token(&fabrikam_claims()), NOW).is_ok(), "the neighbour is served");
    down.store(false, Ordering::SeqCst);
    assert!(verifier.verify(&token, NOW).is_ok());
}

/// A source is told which key is missing and what time it is, so that it can fetch with a cool-down.
#[test]
fn a_source_learns_the_key_and_the_time() {
    struct Asked(Mutex<Vec<(String, u64)>>);
    impl KeySource for Arc<Asked> {
        fn keys(&self, kid: &str, now_secs: u64) -> crate::Result<Jwks> {
            self.0.lock().expect("no panic before").push((kid.to_owned(), now_secs));
            let keys = jwks([WORLD.contoso.jwk()]);
            assert!(keys.contains("contoso-1") && !keys.contains("contoso-2"));
            Ok(keys)
        }
    }
    let asked = Arc::new(Asked(Mutex::default()));
    let verifier = verifier(Arc::clone(&asked));
    assert!(verifier.verify(&WORLD.contoso.token(&contoso_claims()), NOW).is_ok());
    assert_eq!(*asked.0.lock().expect("no panic before"), [("contoso-1".to_owned(), NOW)]);
}

#[test]
fn a_file_is_read_once_unless_a_closure_reads_it_again() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(WORLD.contoso.jwks_json().as_bytes()).expect("a written file");
    let path = file.path().to_owned();
    let once = verifier(Jwks::from_file(&path).expect("a sound file"));
    let again = verifier(move || Jwks::from_file(&path));
    let token = WORLD.contoso.token(&contoso_claims());
    assert!(once.verify(&token, NOW).is_ok() && again.verify(&token, NOW).is_ok());
    drop(file);
    assert!(once.verify(&token, NOW).is_ok());
    assert_eq!(again.verify(&token, NOW), Err(Rejection::Unavailable));
    assert_eq!(Jwks::from_file("/nowhere/keys.json").map_err(|error| error.kind()).err(), Some(ErrorKind::Unavailable));
}
