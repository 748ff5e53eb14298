//! Tokens that are not what they seem open nothing.

use serde_json::{Value, json};

use crate::mint::{Issuer, encode};
use crate::support::{ISSUER, Service, claims};

const ROLES: [&str; 2] = ["strongroom.read", "strongroom.write"];

#[test]
fn no_forged_token_opens_a_mailbox() {
    let service = Service::begin();
    let good = claims("contoso-tid", "anna", &ROLES);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        service.token_of(&claims)
    };
    let token = service.token_of(&good);
    assert_eq!(service.bearer(&token).get("/t/contoso/folders").status, 200, "the control");

    let parts: Vec<&str> = token.split('.').collect();
    let none = encode(json!({"alg": "none", "typ": "JWT", "kid": "k1"}).to_string());
    let hs256 = encode(json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}).to_string());
    let other_claims = encode(claims("fabrikam-tid", "anna", &ROLES).to_string());
    let stranger = Issuer::es256(ISSUER, "k1");
    let now = service.now_secs();
    let forged = [
        ("no signature", format!("{none}.{}.", parts[1])),
        ("the signature of another algorithm", format!("{hs256}.{}.{}", parts[1], parts[2])),
        ("other claims", format!("{}.{other_claims}.{}", parts[0], parts[2])),
        ("a signature cut off", format!("{}.{}.{}", parts[0], parts[1], &parts[2][..20])),
        ("a key of the same name", stranger.token(&good)),
        ("a key that there is not", Issuer::es256(ISSUER, "k2").token(&good)),
        ("another issuer", Issuer::es256("https://id.evil", "k1").token(&good)),
        ("for another service", with("aud", json!("calendar"))),
        ("expired", with("exp", json!(now - 120))),
        ("not valid yet", with("nbf", json!(now + 3600))),
        ("without an end", with("exp", Value::Null)),
        ("without a tenant", with("tid", json!(""))),
        ("of another tenant", with("tid", json!("fabrikam-tid"))),
        ("of two", with("tid", json!(["contoso-tid", "fabrikam-tid"]))),
        ("without a subject", with("sub", json!(""))),
        ("an ID token", with("at_hash", json!("x"))),
        ("in the name of another", with("act", json!({"sub": "x"}))),
        ("no token", "x".repeat(40)),
        ("too long", "x".repeat(20_000)),
    ];
    for (what, token) in forged {
        let bearer = service.bearer(&token);
        for (method, path) in
            [("GET", "/t/contoso/folders"), ("GET", "/t/contoso/folders/inbox/messages"), ("POST", "/t/contoso/send")]
        {
            let answer = bearer.ask(method, path, &[], b"{}");
            assert_eq!(answer.status, 403, "{what}: {}", answer.text());
        }
    }
    for authorization in ["", "Bearer", "Basic YTpi", "bearer"] {
        let answer = service.bearer("").ask("GET", "/t/contoso/folders", &[("authorization", authorization)], b"");
        assert!([401, 403].contains(&answer.status), "{authorization}: {}", answer.status);
    }
}

#[test]
fn a_name_in_a_token_is_shown_and_never_trusted() {
    let service = Service::begin();
    let mut claims = claims("contoso-tid", "anna", &ROLES);
    claims["name"] = json!("boss <ceo@contoso.example>\r\nBcc: x@y");
    let odd = service.bearer(&service.token_of(&claims));
    assert_eq!(odd.get("/me").json()["name"], "anna-of-contoso-tid");
}
