//! Tokens that are not what they seem open nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::Service;

fn encode(text: &Value) -> String {
    URL_SAFE_NO_PAD.encode(text.to_string())
}

#[test]
fn no_forged_token_opens_a_mailbox() {
    let service = Service::begin();
    let (anna, now) = (|| service.anna("contoso"), service.now_secs());
    let good = anna().sign();
    assert_eq!(service.bearer(&good).get("/t/contoso/folders").status, 200, "the control");

    let parts: Vec<&str> = good.split('.').collect();
    let header = |alg: &str, kid: &str| encode(&json!({"alg": alg, "typ": "at+jwt", "kid": kid}));
    let fabrikam = service.anna("fabrikam").sign();
    let other_claims = fabrikam.split('.').nth(1).unwrap();
    let forged = [
        ("no signature", format!("{}.{}.", header("none", "toy"), parts[1])),
        ("the signature of another algorithm", format!("{}.{}.{}", header("HS256", "toy"), parts[1], parts[2])),
        ("a key that there is not", format!("{}.{}.{}", header("EdDSA", "other"), parts[1], parts[2])),
        ("other claims", format!("{}.{other_claims}.{}", parts[0], parts[2])),
        ("a signature cut off", format!("{}.{}.{}", parts[0], parts[1], &parts[2][..20])),
        ("another's key of the same name", anna().forged().sign()),
        ("another issuer", anna().claim("iss", "https://id.evil").sign()),
        ("for another service", anna().claim("aud", "calendar").sign()),
        ("expired", anna().expired().sign()),
        ("not valid yet", anna().claim("nbf", now + 3600).sign()),
        ("without an end", anna().claim("exp", Value::Null).sign()),
        ("without a tenant", anna().claim("tid", "").sign()),
        ("of two tenants", anna().claim("tid", ["contoso", "fabrikam"]).sign()),
        ("without a subject", anna().claim("sub", "").sign()),
        ("an ID token", anna().claim("at_hash", "x").sign()),
        ("in the name of another", anna().claim("act", json!({"sub": "x"})).sign()),
        ("no token", "x".repeat(40)),
        ("too long", "x".repeat(20_000)),
    ];
    let paths = [("GET", "folders"), ("GET", "folders/inbox/messages"), ("POST", "send"), ("PUT", "folders/new")];
    for (what, token) in forged {
        let bearer = service.bearer(&token);
        for (method, path) in paths {
            let [known, unknown] = ["contoso", "nobody"].map(|tenant| {
                let answer = bearer.ask(method, &format!("/t/{tenant}/{path}"), &[], b"{}");
                (answer.status, answer.text())
            });
            assert_eq!(known.0, 401, "{what}: {}", known.1);
            assert_eq!(known, unknown, "{what}: nobody learns which tenants there are");
        }
    }
    for (what, token) in
        [("of another tenant", service.user("fabrikam").token), ("without a role", service.nobody("contoso").sign())]
    {
        for (method, path) in paths {
            let answer = service.bearer(&token).ask(
                method,
                &format!("/t/contoso/{path}"),
                &[],
                br#"{"to":"a@b","subject":"s","text":"t"}"#,
            );
            assert_eq!(answer.status, 403, "{what}: {}", answer.text());
        }
    }
    for authorization in ["", "Bearer", "Basic YTpi", "bearer"] {
        let answer = service.bearer("").ask("GET", "/t/contoso/folders", &[("authorization", authorization)], b"");
        assert_eq!(answer.status, 401, "{authorization}");
    }
}

#[test]
fn a_name_in_a_token_is_shown_and_never_trusted() {
    let service = Service::begin();
    let odd = service.anna("contoso").claim("name", "boss <ceo@contoso.example>\r\nBcc: x@y").sign();
    assert_eq!(service.bearer(&odd).get("/me").json()["name"], "anna-of-contoso");
}
