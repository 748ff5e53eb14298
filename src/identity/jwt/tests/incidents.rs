//! Two forgeries that worked elsewhere. Each is stopped by two checks: with either one out of the way the other
//! still refuses, and with both out of the way the forgery is accepted, so that it is one.

use serde_json::{Value, json};

use super::mint::{Issuer, encode};
use super::{
    APPLICATION, CONSUMERS, Entra, JwtVerifier, NOW, OBJECT, Rejection, TEMPLATE, TENANT, VICTIM, Verifier, WORLD,
    entra_claims, issuer_of, jwks, verify, vouching_for, with,
};

/// A perfect token about a user of the victim.
fn victims_claims() -> Value {
    with(with(entra_claims(), "tid", json!(VICTIM)), "iss", json!(issuer_of(VICTIM)))
}

/// Storm-0558 (2023): a signing key for consumers, stolen and two years past its end, signed tokens of enterprises.
/// The set of keys held it still, and nobody compared whose it was with what it signed, nor looked at its age.
#[test]
fn storm_0558_a_consumer_key_signs_for_an_enterprise() {
    let stolen = Issuer::rs256(issuer_of(CONSUMERS), "consumers-2016");
    let forgery = stolen.token(&victims_claims());
    let answer = |issuer: &str, ends_at_secs: u64| {
        let key = with(vouching_for(stolen.jwk(), issuer), "exp", json!(ends_at_secs));
        let keys = jwks([vouching_for(WORLD.entra.jwk(), TEMPLATE), key]);
        let verifier = JwtVerifier::builder().entra(Entra::new(APPLICATION), keys).build();
        verifier.expect("a sound verifier").verify(&forgery, NOW).map(|claims| claims.tenant)
    };
    let two_years = 2 * 365 * 86_400;
    assert_eq!(answer(&issuer_of(CONSUMERS), NOW - two_years), Err(Rejection::KeyExpired), "as it happened");
    assert_eq!(answer(TEMPLATE, NOW - two_years), Err(Rejection::KeyExpired), "the scope of the key unchecked");
    assert_eq!(answer(&issuer_of(CONSUMERS), NOW + 1), Err(Rejection::KeyOutOfScope), "its age unchecked");
    assert_eq!(answer(TEMPLATE, NOW + 1), Ok(VICTIM.to_owned()), "neither checked: the forgery is one");
}

/// Nor can the same key say that it is the consumers' own and speak of the victim.
#[test]
fn storm_0558_an_issuer_speaks_for_its_own_tenant_only() {
    let claims = with(victims_claims(), "iss", json!(issuer_of(CONSUMERS)));
    assert_eq!(verify(&WORLD.consumers.token(&claims)), Err(Rejection::IssuerMismatch));
    let unknown = Issuer::es256(issuer_of(VICTIM), "consumers-2016").token(&victims_claims());
    assert_eq!(verify(&unknown), Err(Rejection::UnknownKey), "and a key taken out of the set is nobody's");
}

#[test]
fn a_key_of_entra_that_does_not_say_whose_it_is_vouches_for_nobody() {
    let verifier = JwtVerifier::builder().entra(Entra::new(APPLICATION), jwks([WORLD.entra.jwk()])).build();
    let verifier = verifier.expect("a sound verifier");
    assert_eq!(verifier.verify(&WORLD.entra.token(&entra_claims()), NOW), Err(Rejection::KeyOutOfScope));
}

/// CVE-2025-55241: an actor token of the attacker's own tenant, wrapped in an unsigned token that names a user of
/// another tenant. The service believed the wrapper, and did not compare the tenants.
#[test]
fn cve_2025_55241_an_actor_token_of_another_tenant() {
    let actor = WORLD.entra.token(&actor_claims());
    let wrapper = json!({
        "aud": "00000002-0000-0000-c000-000000000000", "iss": issuer_of(VICTIM), "tid": VICTIM, "oid": OBJECT,
        "ver": "2.0", "exp": NOW + 600, "nameid": "10032001E2CBE43B", "nii": "urn:federation:MicrosoftOnline",
        "actortoken": actor,
    });
    let unsigned = format!("{}.{}.", encode(r#"{"alg":"none","typ":"JWT"}"#), encode(wrapper.to_string()));
    assert_eq!(verify(&unsigned), Err(Rejection::AlgorithmNotAllowed), "as it happened");

    let answer = |claims: Value| verify(&WORLD.entra.token(&claims)).map(|claims| claims.tenant);
    let own_issuer = |claims| with(claims, "iss", json!(issuer_of(TENANT)));
    let acting = |claims| with(claims, "actortoken", json!(actor));
    assert_eq!(answer(acting(own_issuer(victims_claims()))), Err(Rejection::ActorNotAllowed), "were it signed");
    assert_eq!(answer(acting(victims_claims())), Err(Rejection::ActorNotAllowed), "the tenants not compared");
    assert_eq!(answer(own_issuer(victims_claims())), Err(Rejection::IssuerMismatch), "actors not refused");
    assert_eq!(answer(victims_claims()), Ok(VICTIM.to_owned()), "neither checked: the forgery is one");
}

#[test]
fn cve_2025_55241_nothing_that_an_actor_token_carries_is_accepted() {
    for claim in
        ["act", "actort", "actortoken", "appidacr", "identityprovider", "nameid", "nii", "trustedfordelegation"]
    {
        for value in [json!("2"), json!({}), Value::Null] {
            let token = WORLD.entra.token(&with(entra_claims(), claim, value));
            assert_eq!(verify(&token), Err(Rejection::ActorNotAllowed), "{claim}");
        }
    }
    for claim in ["act", "actort", "actortoken"] {
        let token = WORLD.contoso.token(&with(super::contoso_claims(), claim, json!({ "sub": "eve" })));
        assert_eq!(verify(&token), Err(Rejection::ActorNotAllowed), "{claim}");
    }
    assert_eq!(verify(&WORLD.entra.token(&actor_claims())), Err(Rejection::IssuerMismatch), "the actor token itself");
}

fn actor_claims() -> Value {
    let service = format!("00000001-0000-0000-c000-000000000000@{TENANT}");
    json!({
        "aud": APPLICATION, "iss": service, "identityprovider": service, "exp": NOW + 600, "nbf": NOW,
        "nameid": format!("{OBJECT}@{TENANT}"), "oid": OBJECT, "trustedfordelegation": "true", "tid": TENANT,
    })
}
