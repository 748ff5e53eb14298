//! What the verifier of tokens promises, tried with real tokens.

use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use jsonwebtoken::crypto::{CryptoProvider, KeyUtils};
use serde_json::{Value, json};

use self::mint::{Issuer, jwks_json};
use super::{Claims, Entra, Jwks, JwtVerifier, Oidc, Rejection, Verifier};
use crate::error::ErrorKind;
use crate::identity::SubjectKind;

mod apps;
mod attacks;
mod incidents;
mod key_sets;
#[path = "../../../../tests/support/mint.rs"]
mod mint;
mod mutations;

const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 60;

/// The tenant whose tokens are the valid ones, and somebody else's.
const TENANT: &str = "5f0e7c1a-3b52-4d0e-9c57-0a1b2c3d4e5f";
const VICTIM: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const OBJECT: &str = "0b9c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3";
const APPLICATION: &str = "6e74172b-be56-4843-9ff4-e66a39bb12e3";
const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
const CONTOSO: &str = "https://id.contoso.example";
const FABRIKAM: &str = "https://id.fabrikam.example";

/// The issuers, each with the key it signs with. Entra ID has one key for all tenants and one for consumers.
struct World {
    entra: Issuer,
    consumers: Issuer,
    contoso: Issuer,
    fabrikam: Issuer,
    verifier: JwtVerifier,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let entra = Issuer::rs256(issuer_of(TENANT), "entra-1");
    let consumers = Issuer::es256(issuer_of(CONSUMERS), "consumers-1");
    let contoso = Issuer::ed25519(CONTOSO, "contoso-1");
    let fabrikam = Issuer::es256(FABRIKAM, "fabrikam-1");
    let keys_of_entra = [vouching_for(entra.jwk(), TEMPLATE), vouching_for(consumers.jwk(), &issuer_of(CONSUMERS))];
    let verifier = JwtVerifier::builder()
        .entra(Entra::new(APPLICATION), jwks(keys_of_entra))
        .oidc(Oidc::new(CONTOSO, "mail").tenants(["contoso", "contoso-labs"]), jwks([contoso.jwk()]))
        .oidc(
            Oidc::new(FABRIKAM, "mail").tenant_claim("org").subject_claim("uid").access_tokens_only(),
            jwks([fabrikam.jwk()]),
        )
        .build()
        .expect("a sound verifier");
    World { entra, consumers, contoso, fabrikam, verifier }
});

fn issuer_of(tenant: &str) -> String {
    TEMPLATE.replace("{tenantid}", tenant)
}

fn jwks(keys: impl IntoIterator<Item = Value>) -> Jwks {
    Jwks::from_json(&jwks_json(keys)).expect("a sound set")
}

fn vouching_for(jwk: Value, issuer: &str) -> Value {
    let mut jwk = with(jwk, "issuer", json!(issuer));
    // Entra ID publishes its keys without `alg`, and with more than is needed here.
    jwk.as_object_mut().expect("an object").remove("alg");
    with(with(jwk, "x5t", json!("CvnVBTBYqmAtPKVMBN1lAUN-hGQ")), "x5c", json!(["MIIC/TCCAeWgAwIBAgII"]))
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().expect("an object").remove(name).expect("a member to remove");
    object
}

/// What an access token of Entra ID for a user looks like.
fn entra_claims() -> Value {
    json!({
        "aud": APPLICATION, "iss": issuer_of(TENANT), "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 3600,
        "aio": "AWQAm/8TAAAA", "azp": "1b730954-1685-4b74-9bfd-dac224a7b894", "azpacr": "1", "name": "Ada",
        "oid": OBJECT, "preferred_username": "ada@contoso.example", "rh": "0.AX0", "roles": ["Reader", "Custodian"],
        "scp": "mail.read mail.write", "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", "tid": TENANT,
        "uti": "vJwLkxqzZUeS", "ver": "2.0",
    })
}

fn contoso_claims() -> Value {
    json!({ "iss": CONTOSO, "aud": ["calendar", "mail"], "sub": "ada", "tid": "contoso", "exp": NOW + 600,
        "roles": ["Reader"], "scope": "read write" })
}

fn fabrikam_claims() -> Value {
    json!({ "iss": FABRIKAM, "aud": "mail", "uid": "u-1", "org": "fabrikam", "exp": NOW + 600, "scp": ["read"] })
}

fn entra_header() -> Value {
    with(WORLD.entra.header(), "x5t", json!("CvnVBTBYqmAtPKVMBN1lAUN-hGQ"))
}

fn fabrikam_header() -> Value {
    with(WORLD.fabrikam.header(), "typ", json!("AT+JWT"))
}

fn verify(token: &str) -> Result<Claims, Rejection> {
    WORLD.verifier.verify(token, NOW)
}

/// The answer to contoso's valid claims with one of them set to `value`.
fn verify_contoso_with(claim: &str, value: Value) -> Result<Claims, Rejection> {
    verify(&WORLD.contoso.token(&with(contoso_claims(), claim, value)))
}

#[test]
fn a_verifier_knows_whom_it_could_ever_accept() {
    let could_accept = |issuer: &str, tenant: &str| WORLD.verifier.could_accept(issuer, tenant);
    assert!(could_accept(CONTOSO, "contoso-labs") && could_accept(FABRIKAM, "whoever"));
    assert!(could_accept(&issuer_of(TENANT), TENANT) && could_accept(&issuer_of(CONSUMERS), CONSUMERS));
    let never = [
        (format!("{CONTOSO}/"), "contoso", "an issuer is compared to the byte"),
        (CONTOSO.to_owned(), "fabrikam", "not one of its tenants"),
        ("https://id.example".to_owned(), "contoso", "nobody"),
        (issuer_of(TENANT), VICTIM, "an issuer of Entra ID speaks for its own tenant"),
        (TEMPLATE.to_owned(), "{tenantid}", "a template is no issuer"),
        (issuer_of("contoso"), "contoso", "a tenant of Entra ID is a GUID"),
        (FABRIKAM.to_owned(), &"f".repeat(257), "longer than any token may say"),
    ];
    for (issuer, tenant, why) in never {
        assert!(!could_accept(&issuer, tenant), "{why}");
    }
    let some = JwtVerifier::builder().entra(Entra::new(APPLICATION).tenants([TENANT]), jwks([WORLD.entra.jwk()]));
    let some = some.build().expect("a sound verifier");
    assert!(some.could_accept(&issuer_of(TENANT), TENANT) && !some.could_accept(&issuer_of(VICTIM), VICTIM));
}

#[test]
fn a_token_of_each_issuer_says_what_it_says() {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let entra = Claims {
        issuer: issuer_of(TENANT),
        tenant: TENANT.to_owned(),
        subject: format!("{TENANT}.{OBJECT}"),
        subject_kind: SubjectKind::Person,
        expires_at_secs: NOW + 3600 + LEEWAY,
        roles: texts(&["Reader", "Custodian"]),
        scopes: Some(texts(&["mail.read", "mail.write"])),
    };
    assert_eq!(verify(&WORLD.entra.token_with_header(&entra_header(), &entra_claims())), Ok(entra.clone()));
    let pss = with(entra_header(), "alg", json!("PS256"));
    assert_eq!(verify(&WORLD.entra.token_with_header(&pss, &entra_claims())), Ok(entra));
    let contoso = Claims {
        issuer: CONTOSO.to_owned(),
        tenant: "contoso".to_owned(),
        subject: "ada".to_owned(),
        subject_kind: SubjectKind::Unknown,
        expires_at_secs: NOW + 600 + LEEWAY,
        roles: texts(&["Reader"]),
        scopes: Some(texts(&["read", "write"])),
    };
    assert_eq!(verify(&WORLD.contoso.token(&contoso_claims())), Ok(contoso));
    let fabrikam = Claims {
        issuer: FABRIKAM.to_owned(),
        tenant: "fabrikam".to_owned(),
        subject: "u-1".to_owned(),
        subject_kind: SubjectKind::Unknown,
        expires_at_secs: NOW + 600 + LEEWAY,
        roles: vec![],
        scopes: Some(texts(&["read"])),
    };
    assert_eq!(verify(&WORLD.fabrikam.token_with_header(&fabrikam_header(), &fabrikam_claims())), Ok(fabrikam));
}

#[test]
fn a_consumer_key_vouches_for_consumers() {
    let claims = with(with(entra_claims(), "tid", json!(CONSUMERS)), "iss", json!(issuer_of(CONSUMERS)));
    assert_eq!(verify(&WORLD.consumers.token(&claims)).map(|claims| claims.tenant), Ok(CONSUMERS.to_owned()));
}

#[test]
fn the_edges_of_validity_are_where_the_leeway_puts_them() {
    let cases = [
        ("exp", NOW - LEEWAY, Err(Rejection::Expired)),
        ("exp", NOW - LEEWAY + 1, Ok(NOW + 1)),
        ("exp", 253_402_300_799, Ok(253_402_300_799 + LEEWAY)),
        ("exp", 253_402_300_800, Err(Rejection::Malformed)),
        ("nbf", NOW + LEEWAY, Ok(NOW + 600 + LEEWAY)),
        ("nbf", NOW + LEEWAY + 1, Err(Rejection::NotYetValid)),
        ("iat", NOW + 9999, Ok(NOW + 600 + LEEWAY)),
    ];
    for (claim, value, expected) in cases {
        let result = verify_contoso_with(claim, json!(value)).map(|claims| claims.expires_at_secs);
        assert_eq!(result, expected, "{claim} {value}");
    }
    let token = WORLD.contoso.token(&contoso_claims());
    assert_eq!(WORLD.verifier.verify(&token, 0).map(|claims| claims.tenant), Ok("contoso".to_owned()), "no nbf");
    assert_eq!(WORLD.verifier.verify(&token, u64::MAX), Err(Rejection::Expired));
}

#[test]
fn scopes_and_roles_are_read_as_their_issuers_write_them() {
    let scopes = |claims: &Value| verify(&WORLD.contoso.token(claims)).map(|claims| claims.scopes);
    let list = |texts: &[&str]| Ok(Some(texts.iter().map(ToString::to_string).collect::<Vec<_>>()));
    assert_eq!(scopes(&without(contoso_claims(), "scope")), Ok(None));
    assert_eq!(scopes(&with(contoso_claims(), "scope", json!(""))), list(&[]));
    assert_eq!(scopes(&with(contoso_claims(), "scope", json!("  a  b "))), list(&["a", "b"]));
    assert_eq!(scopes(&with(contoso_claims(), "scp", json!(["c", "d e"]))), list(&["c", "d e"]));
    let entra = with(entra_claims(), "scope", json!("all"));
    assert_eq!(verify(&WORLD.entra.token(&entra)).map(|claims| claims.scopes), list(&["mail.read", "mail.write"]));
    assert_eq!(
        verify(&WORLD.contoso.token(&without(contoso_claims(), "roles"))).map(|claims| claims.roles),
        Ok(vec![])
    );
}

#[test]
fn a_verifier_that_contradicts_itself_is_not_built() {
    let none = || jwks([]);
    let contoso = || Oidc::new(CONTOSO, "mail");
    let builder = JwtVerifier::builder;
    let unsound = [
        ("nobody is trusted", builder()),
        ("leeway", builder().oidc(contoso(), none()).leeway(Duration::from_millis(300_001))),
        ("the same issuer twice", builder().oidc(contoso(), none()).oidc(contoso(), none())),
        ("Entra ID twice", builder().entra(Entra::new("a"), none()).entra(Entra::new("b"), none())),
        ("a tenant twice", builder().entra(Entra::new("a"), none()).oidc(Oidc::new(issuer_of(TENANT), "a"), none())),
        ("a tenant first", builder().oidc(Oidc::new(issuer_of(TENANT), "a"), none()).entra(Entra::new("a"), none())),
        ("no audience", builder().oidc(Oidc::new(CONTOSO, ""), none())),
        ("no audience of Entra ID", builder().entra(Entra::new(""), none())),
        ("no authority", builder().entra(Entra::new("a").authority(""), none())),
        ("plain http", builder().entra(Entra::new("a").authority("http://login.example"), none())),
        ("a slash", builder().entra(Entra::new("a").authority("https://login.example/"), none())),
        ("upper case", builder().entra(Entra::new("a").authority("https://Login.example"), none())),
        ("no issuer", builder().oidc(Oidc::new("", "mail"), none())),
        ("no tenant claim", builder().oidc(contoso().tenant_claim(""), none())),
        ("no subject claim", builder().oidc(contoso().subject_claim(""), none())),
        ("an empty tenant", builder().oidc(contoso().tenants([""]), none())),
        ("a tenant without GUID", builder().entra(Entra::new("a").tenants(["contoso"]), none())),
        ("an e-mail address", builder().oidc(contoso().subject_claim("email"), none())),
    ];
    for (why, builder) in unsound {
        assert_eq!(builder.build().map_err(|error| error.kind()).err(), Some(ErrorKind::Invalid), "{why}");
    }
    let sound = builder().entra(Entra::new("a").tenants([TENANT]), none()).oidc(contoso(), none());
    assert!(sound.leeway(Duration::from_secs(300)).build().is_ok());
}

#[test]
fn entra_tenants_can_be_listed() {
    let verifier = JwtVerifier::builder()
        .entra(Entra::new(APPLICATION).tenants([VICTIM]), jwks([vouching_for(WORLD.entra.jwk(), TEMPLATE)]))
        .build()
        .expect("a sound verifier");
    let token = |tenant| with(with(entra_claims(), "tid", json!(tenant)), "iss", json!(issuer_of(tenant)));
    assert_eq!(verifier.verify(&WORLD.entra.token(&token(TENANT)), NOW), Err(Rejection::TenantOutOfScope));
    assert!(verifier.verify(&WORLD.entra.token(&token(VICTIM)), NOW).is_ok());
}

/// `jsonwebtoken` verifies with a process-wide provider of whoever comes first. This one would panic.
#[test]
fn the_process_wide_provider_is_never_asked() {
    static PANICS: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| panic!("the process-wide provider was asked"),
        verifier_factory: |_, _| panic!("the process-wide provider was asked"),
        key_utils: KeyUtils::new_unimplemented(),
    };
    PANICS.install_default().expect("no test before this one has installed a provider");
    let token = WORLD.contoso.token(&contoso_claims());
    let set = WORLD.contoso.jwks_json();
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let keys = Jwks::from_json(&set).expect("a sound set");
                let verifier = JwtVerifier::builder().oidc(Oidc::new(CONTOSO, "mail"), keys).build();
                let verifier = verifier.expect("a sound verifier");
                (0..50).for_each(|_| assert!(verifier.verify(&token, NOW).is_ok()));
            });
        }
    });
}

#[test]
fn nothing_printed_tells_of_a_token_or_a_key() {
    let token = WORLD.entra.token(&entra_claims());
    let (message, _) = token.rsplit_once('.').expect("a token has three parts");
    let rejection = verify(&format!("{message}.AAAA")).expect_err("a signature that is none");
    assert_eq!(format!("{rejection} / {rejection:?}"), "the signature is invalid / SignatureInvalid");
    let printed = format!("{:?}", WORLD.verifier);
    assert!(printed.contains(CONTOSO) && !printed.contains("contoso-1"), "{printed}");
}
