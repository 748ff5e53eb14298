//! Forged, bent and borrowed tokens, each with the one reason it must be refused for.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::mint::encode;
use super::{
    FABRIKAM, Rejection, WORLD, contoso_claims, entra_claims, entra_header, fabrikam_claims, fabrikam_header, verify,
    with,
};

mod claims;

/// What is tried, the token, and why it must be refused.
type Attack = (String, String, Rejection);

fn attack(name: impl Into<String>, token: String, expected: Rejection) -> Attack {
    (name.into(), token, expected)
}

#[test]
fn every_attack_is_refused_for_its_own_reason() {
    let suites = [
        algorithms(),
        headers(),
        kids(),
        shapes(),
        duplicates(),
        claims::times(),
        claims::audiences(),
        claims::issuers(),
        claims::tenants(),
        claims::subjects(),
        claims::kinds(),
        claims::members(),
        keys(),
    ];
    let attacks = suites.concat();
    let names: BTreeSet<_> = attacks.iter().map(|(name, _, _)| name).collect();
    assert_eq!(names.len(), attacks.len(), "each attack has a name of its own");
    for (name, token, expected) in &attacks {
        assert_eq!(verify(token).as_ref().err(), Some(expected), "{name}");
    }
    assert_eq!(attacks.len(), ATTACKS);
    println!("{ATTACKS} attacks refused");
}

const ATTACKS: usize = 313;

/// Contoso's valid token under a header with one member set, signed.
fn under(member: &str, value: Value) -> String {
    WORLD.contoso.token_with_header(&with(WORLD.contoso.header(), member, value), &contoso_claims())
}

fn fabrikam_under(header: &Value) -> String {
    WORLD.fabrikam.token_with_header(header, &fabrikam_claims())
}

/// Signed by contoso: two texts, whatever they are.
fn raw(header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    WORLD.contoso.sign(header, payload)
}

fn contoso_header() -> String {
    WORLD.contoso.header().to_string()
}

fn algorithms() -> Vec<Attack> {
    let names = [
        "none", "None", "NONE", "nOnE", "", " none", "HS256", "HS384", "HS512", "hs256", "RS1", "RS384", "RS512",
        "PS384", "PS512", "ES384", "ES512", "ES256K", "eddsa", "EDDSA", "EdDSA ", "EdDSA\0", "Ed25519", "rs256", "dir",
        "RSA-OAEP", "A128KW",
    ];
    let other_names = names
        .map(|name| attack(format!("algorithm {name:?}"), under("alg", json!(name)), Rejection::AlgorithmNotAllowed));
    let unsigned = |alg: &str| {
        let header = with(WORLD.contoso.header(), "alg", json!(alg)).to_string();
        format!("{}.{}.", encode(header), encode(contoso_claims().to_string()))
    };
    let more = [
        attack("no algorithm", raw(r#"{"kid":"contoso-1"}"#, "{}"), Rejection::AlgorithmNotAllowed),
        attack("algorithm null", under("alg", Value::Null), Rejection::Malformed),
        attack("algorithm 256", under("alg", json!(256)), Rejection::Malformed),
        attack("a list of algorithms", under("alg", json!(["EdDSA"])), Rejection::Malformed),
        attack("unsigned, none", unsigned("none"), Rejection::AlgorithmNotAllowed),
        attack("unsigned, and said to be signed", unsigned("EdDSA"), Rejection::SignatureInvalid),
        attack("the public RSA key as HMAC secret", confused("HS256"), Rejection::AlgorithmNotAllowed),
        attack("the same under the name of RSA", confused("RS256"), Rejection::SignatureInvalid),
        attack("RSA under the name of Ed25519", renamed("EdDSA"), Rejection::KeyUnfit),
        attack("RSA under the name of ECDSA", renamed("ES256"), Rejection::KeyUnfit),
        attack("ECDSA under the name of RSA", fabrikam_named("RS256"), Rejection::KeyUnfit),
        attack("ECDSA under the name of Ed25519", fabrikam_named("EdDSA"), Rejection::KeyUnfit),
        attack("Ed25519 under the name of ECDSA", under("alg", json!("ES256")), Rejection::KeyUnfit),
    ];
    [&other_names[..], &more].concat()
}

/// Signed with HMAC, the secret being what everybody knows: the public key.
fn confused(alg: &str) -> String {
    let header = with(entra_header(), "alg", json!(alg)).to_string();
    let message = format!("{}.{}", encode(header), encode(entra_claims().to_string()));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, WORLD.entra.jwk().to_string().as_bytes());
    format!("{message}.{}", encode(hmac::sign(&secret, message.as_bytes())))
}

fn renamed(alg: &str) -> String {
    WORLD.entra.token_with_header(&with(entra_header(), "alg", json!(alg)), &entra_claims())
}

fn fabrikam_named(alg: &str) -> String {
    fabrikam_under(&with(fabrikam_header(), "alg", json!(alg)))
}

fn headers() -> Vec<Attack> {
    let own = "https://evil.example/keys.json";
    let members = [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("jku", json!(own)),
        ("jku", Value::Null),
        ("jwk", WORLD.contoso.jwk()),
        ("x5u", json!(own)),
        ("x5c", json!(["MIIC"])),
    ];
    let refused = members.map(|(member, value)| {
        attack(format!("header {member} {value}"), under(member, value), Rejection::HeaderNotAllowed)
    });
    let unsigned = with(with(WORLD.contoso.header(), "alg", json!("none")), "jwk", WORLD.contoso.jwk());
    let both = attack("a key brought along, unsigned", raw(unsigned.to_string(), "{}"), Rejection::HeaderNotAllowed);
    refused.into_iter().chain([both]).collect()
}

fn kids() -> Vec<Attack> {
    let names = [
        "",
        " contoso-1",
        "contoso-1\0",
        "CONTOSO-1",
        "contoso-1 ",
        "contoso-2",
        "fabrikam-1",
        "entra-1",
        "*",
        "0",
        "../../../../dev/null",
        "/proc/self/environ",
        "' OR '1'='1",
        "contoso-1' UNION SELECT 'k",
        "|id",
        "https://evil.example/key",
        "c\u{43e}ntoso-1",
    ];
    let other_names =
        names.map(|name| attack(format!("kid {name:?}"), under("kid", json!(name)), Rejection::UnknownKey));
    let more = [
        attack("no kid", raw(r#"{"alg":"EdDSA"}"#, contoso_claims().to_string()), Rejection::UnknownKey),
        attack("kid null", under("kid", Value::Null), Rejection::Malformed),
        attack("kid 1", under("kid", json!(1)), Rejection::Malformed),
        attack("a list of kids", under("kid", json!(["contoso-1"])), Rejection::Malformed),
        attack("a kid of 4000 bytes", under("kid", json!("k".repeat(4000))), Rejection::UnknownKey),
    ];
    [&other_names[..], &more].concat()
}

fn shapes() -> Vec<Attack> {
    let token = WORLD.contoso.token(&contoso_claims());
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { unreachable!("a token has three parts") };
    let claims = contoso_claims().to_string();
    let long = with(contoso_claims(), "pad", json!("x".repeat(16 * 1024)));
    let malformed = [
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("one part", header.to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{token}.{signature}")),
        ("five parts, as if encrypted", format!("{header}.{payload}.{signature}.{payload}.{signature}")),
        ("two signatures", format!("{header}.{payload}.{signature}.{signature}")),
        ("a dot at the end", format!("{token}.")),
        ("the JSON form", json!({ "payload": payload, "signatures": [{ "signature": signature }] }).to_string()),
        ("a scheme before it", format!("Bearer {token}")),
        ("a space before it", format!(" {token}")),
        ("a line end after it", format!("{token}\n")),
        ("a NUL after it", format!("{token}\0")),
        ("a padded header", format!("{header}=.{payload}.{signature}")),
        ("a padded signature", format!("{token}==")),
        ("standard base64", token.replace('_', "/").replace('-', "+") + "+"),
        ("bits left over", loose_end(&token)),
        ("an empty header", format!(".{payload}.{signature}")),
        ("an empty payload", raw(contoso_header(), "")),
        ("a header that is a list", raw("[]", &claims)),
        ("a header that is cut short", raw(r#"{"alg":"EdDSA""#, &claims)),
        ("a header with more behind it", raw(contoso_header() + "{}", &claims)),
        ("a payload that is a list", raw(contoso_header(), format!("[{claims}]"))),
        ("a payload that is a text", raw(contoso_header(), r#""{}""#)),
        ("a payload that is null", raw(contoso_header(), "null")),
        ("a payload with more behind it", raw(contoso_header(), claims.clone() + ",")),
        ("a payload with a byte order mark", raw(contoso_header(), format!("\u{feff}{claims}"))),
        ("a payload that is not UTF-8", raw(contoso_header(), b"{\"iss\":\"\xff\"}")),
        ("a payload that is too deep", raw(contoso_header(), "[".repeat(5000))),
        ("a payload that is another token", raw(contoso_header(), &token)),
    ];
    let mut attacks: Vec<_> =
        malformed.into_iter().map(|(name, token)| attack(name, token, Rejection::Malformed)).collect();
    attacks.push(attack("more than 16 KiB", WORLD.contoso.token(&long), Rejection::TooLong));
    attacks.push(attack("a mebibyte of dots", ".".repeat(1 << 20), Rejection::TooLong));
    attacks.push(attack("no signature", format!("{header}.{payload}."), Rejection::SignatureInvalid));
    attacks
}

/// The token with a bit set behind the last byte of its signature, where decoders that are not strict do not look.
fn loose_end(token: &str) -> String {
    let last = token.chars().last().expect("a token is not empty");
    let next = char::from_u32(u32::from(last) + 1).expect("a letter has a successor");
    format!("{}{next}", &token[..token.len() - 1])
}

fn duplicates() -> Vec<Attack> {
    let claims = contoso_claims().to_string();
    let again = |member: &str| format!("{{{member},{}", &claims[1..]);
    let header = contoso_header();
    let nested = with(contoso_claims(), "x", json!({ "y": "z" })).to_string().replace(r#""y""#, r#""y":0,"y""#);
    let twice = [
        ("algorithm twice", raw(format!(r#"{{"alg":"none",{}"#, &header[1..]), &claims)),
        ("kid twice", raw(format!(r#"{{"kid":"contoso-1",{}"#, &header[1..]), &claims)),
        ("tenant twice", raw(&header, again(r#""tid":"fabrikam""#))),
        ("tenant twice, the same", raw(&header, again(r#""tid":"contoso""#))),
        ("tenant twice, once in disguise", raw(&header, again(r#""\u0074id":"fabrikam""#))),
        ("issuer twice", raw(&header, again(&format!(r#""iss":"{FABRIKAM}""#)))),
        ("end twice", raw(&header, again(r#""exp":9999999999"#))),
        ("audience twice", raw(&header, again(r#""aud":"mail""#))),
        ("a member twice further down", raw(&header, nested)),
    ];
    twice.into_iter().map(|(name, token)| attack(name, token, Rejection::DuplicateMember)).collect()
}

/// Tokens in perfect order, signed with a key that is somebody else's.
fn keys() -> Vec<Attack> {
    let named = |kid: &str, alg: &str| with(with(WORLD.contoso.header(), "kid", json!(kid)), "alg", json!(alg));
    let foreign = |issuer: &super::mint::Issuer| issuer.token(&contoso_claims());
    vec![
        attack("contoso's token with fabrikam's key", foreign(&WORLD.fabrikam), Rejection::UnknownKey),
        attack("contoso's token with Entra's key", foreign(&WORLD.entra), Rejection::UnknownKey),
        attack(
            "contoso's token with fabrikam's key, renamed",
            WORLD.fabrikam.token_with_header(&named("contoso-1", "ES256"), &contoso_claims()),
            Rejection::KeyUnfit,
        ),
        attack(
            "contoso's token with fabrikam's key, renamed twice",
            WORLD.fabrikam.token_with_header(&named("contoso-1", "EdDSA"), &contoso_claims()),
            Rejection::SignatureInvalid,
        ),
        attack(
            "fabrikam's token with contoso's key",
            WORLD.contoso.token_with_header(&with(WORLD.contoso.header(), "typ", json!("at+jwt")), &fabrikam_claims()),
            Rejection::UnknownKey,
        ),
        attack("a tenant of Entra ID with contoso's key", WORLD.contoso.token(&entra_claims()), Rejection::UnknownKey),
        attack(
            "an enterprise with the consumers' key",
            WORLD.consumers.token(&entra_claims()),
            Rejection::KeyOutOfScope,
        ),
        attack("another claim under the same signature", borrowed(), Rejection::SignatureInvalid),
    ]
}

/// The header and signature of a valid token around other claims.
fn borrowed() -> String {
    let token = WORLD.contoso.token(&contoso_claims());
    let other = encode(with(contoso_claims(), "tid", json!("contoso-labs")).to_string());
    let parts: Vec<&str> = token.split('.').collect();
    format!("{}.{other}.{}", parts[0], parts[2])
}
