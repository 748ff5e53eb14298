//! Tokens: nothing is accepted that the issuer did not sign, and of what it signed only what the rules let through,
//! which are written here a second time, with another JSON reader.

#![no_main]

use std::collections::HashMap;
use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use strongroom::identity::{Claims, Jwks, JwtVerifier, Oidc, SubjectKind, Verifier};

const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 60;
const ISSUER: &str = "https://id.contoso.example";
const AUDIENCE: &str = "mail";
const TENANTS: [&str; 2] = ["contoso", "contoso-labs"];

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
static VERIFIER: LazyLock<JwtVerifier> = LazyLock::new(|| {
    let x = BASE64.encode(KEY.public_key());
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"one","x":"{x}"}}]}}"#);
    let profile = Oidc::new(ISSUER, AUDIENCE).tenants(TENANTS).access_tokens_only();
    JwtVerifier::builder().oidc(profile, Jwks::from_json(&keys).unwrap()).build().unwrap()
});

const HEADER: &str = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"one"}"#;
const CLAIMS: &str = r#"{"iss":"https://id.contoso.example","aud":"mail","sub":"s","tid":"contoso","exp":1800000100}"#;

// The first byte says what the rest is: a whole token, the claims of a signed one, or its header.
fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind {
        b't' => whole_token(rest),
        b'c' => signed_claims(rest),
        _ => signed_header(rest),
    }
});

/// Nobody but the issuer can sign, and the fuzzer has not seen a signature.
fn whole_token(token: &[u8]) {
    if let Ok(token) = std::str::from_utf8(token) {
        assert!(VERIFIER.verify(token, NOW).is_err(), "a token was accepted that the issuer never signed");
    }
}

fn signed_claims(claims: &[u8]) {
    if let Ok(accepted) = VERIFIER.verify(&sign(HEADER.as_bytes(), claims), NOW) {
        let claims: HashMap<String, Value> = without_duplicates(claims).expect("one JSON object");
        assert_eq!(Some(accepted), as_the_rules_say(&claims));
    }
}

fn signed_header(header: &[u8]) {
    if VERIFIER.verify(&sign(header, CLAIMS.as_bytes()), NOW).is_ok() {
        let header = without_duplicates(header).expect("one JSON object");
        assert_eq!((&header["alg"], &header["kid"]), (&Value::from("EdDSA"), &Value::from("one")));
        let kind = header["typ"].as_str().expect("a kind").to_ascii_lowercase();
        assert!(matches!(&*kind, "at+jwt" | "application/at+jwt"));
        for forbidden in ["crit", "b64", "zip", "jku", "jwk", "x5u", "x5c"] {
            assert!(!header.contains_key(forbidden), "{forbidden}");
        }
    }
}

fn sign(header: &[u8], claims: &[u8]) -> String {
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = BASE64.encode(KEY.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// What may come of these claims, if anything.
fn as_the_rules_say(claims: &HashMap<String, Value>) -> Option<Claims> {
    let text = |name: &str| claims.get(name)?.as_str().map(str::to_owned);
    let list = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let seconds = |name: &str| claims.get(name)?.as_u64();
    let (issuer, tenant, subject) = (text("iss")?, text("tid")?, text("sub")?);
    let audience = &claims["aud"];
    let for_us = audience == AUDIENCE || list(audience)?.iter().any(|named| named == AUDIENCE);
    let is_name = |name: &str| (1..=256).contains(&name.len()) && !name.chars().any(char::is_control);
    let other_kinds = ["act", "actort", "actortoken", "at_hash", "c_hash", "s_hash", "events", "cnf"];
    let expires_at_secs = seconds("exp")? + LEEWAY;
    let begins = claims.get("nbf").map_or(Some(0), Value::as_u64)?;
    let scopes = claims.get("scp").or(claims.get("scope"));
    let client = claims.get("client_id").map_or(Some(None), |client| client.as_str().map(Some))?;
    let subject_kind = if client == Some(&*subject) { SubjectKind::App } else { SubjectKind::Unknown };
    let holds = for_us
        && issuer == ISSUER
        && TENANTS.contains(&&*tenant)
        && is_name(&subject)
        && !other_kinds.iter().any(|name| claims.contains_key(*name))
        && expires_at_secs > NOW
        && begins <= NOW + LEEWAY;
    holds.then_some(Claims {
        issuer,
        tenant,
        subject,
        subject_kind,
        expires_at_secs,
        roles: claims.get("roles").map_or(Some(vec![]), list)?,
        scopes: match scopes {
            None => None,
            Some(Value::String(scopes)) => {
                Some(scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect())
            }
            Some(scopes) => Some(list(scopes)?),
        },
    })
}

/// The members of an object, none of them twice.
fn without_duplicates(json: &[u8]) -> Option<HashMap<String, Value>> {
    struct Members(HashMap<String, Value>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Visitor)
        }
    }
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Members;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let mut members = HashMap::new();
            while let Some((name, value)) = map.next_entry()? {
                if members.insert(name, value).is_some() {
                    return Err(serde::de::Error::custom("a member occurs twice"));
                }
            }
            Ok(Members(members))
        }
    }
    serde_json::from_slice(json).ok().map(|Members(members)| members)
}
