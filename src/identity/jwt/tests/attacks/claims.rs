//! Tokens whose signature is good and whose claims are not.

use serde_json::{Value, json};

use super::super::{
    APPLICATION, CONTOSO, NOW, OBJECT, Rejection, TENANT, VICTIM, WORLD, contoso_claims, entra_claims, entra_header,
    fabrikam_claims, fabrikam_header, issuer_of, with, without,
};
use super::{Attack, attack, contoso_header, fabrikam_under, raw, under};

fn contoso_with(claim: &str, value: Value) -> String {
    WORLD.contoso.token(&with(contoso_claims(), claim, value))
}

fn contoso_without(claim: &str) -> String {
    WORLD.contoso.token(&without(contoso_claims(), claim))
}

fn entra_with(claim: &str, value: Value) -> String {
    WORLD.entra.token_with_header(&entra_header(), &with(entra_claims(), claim, value))
}

fn entra_without(claim: &str) -> String {
    WORLD.entra.token_with_header(&entra_header(), &without(entra_claims(), claim))
}

pub(super) fn times() -> Vec<Attack> {
    let mut attacks = vec![
        attack("no end", contoso_without("exp"), Rejection::Malformed),
        attack("ended", contoso_with("exp", json!(NOW - 60)), Rejection::Expired),
        attack("ended in 1970", contoso_with("exp", json!(0)), Rejection::Expired),
        attack("not begun", contoso_with("nbf", json!(NOW + 61)), Rejection::NotYetValid),
        attack("begins at the end of time", contoso_with("nbf", json!(253_402_300_799_u64)), Rejection::NotYetValid),
        attack("ended, of Entra ID", entra_with("exp", json!(NOW - 60)), Rejection::Expired),
        attack("not begun, of Entra ID", entra_with("nbf", json!(NOW + 61)), Rejection::NotYetValid),
    ];
    let values = [
        json!("1800000600"),
        json!(""),
        json!(1_800_000_600.5),
        json!(1_800_000_600.0),
        json!(1e300),
        json!(-1),
        json!(-1_800_000_600_i64),
        json!(253_402_300_800_u64),
        json!(u64::MAX),
        Value::Null,
        json!(true),
        json!([]),
        json!([1_800_000_600]),
        json!({}),
    ];
    for claim in ["exp", "nbf", "iat"] {
        let wrong = values.iter().map(|value| (format!("{claim} {value}"), contoso_with(claim, value.clone())));
        attacks.extend(wrong.map(|(name, token)| attack(name, token, Rejection::Malformed)));
    }
    for number in ["18446744073709551616", "1.8e9", "1800000600e0", "-0"] {
        let claims = contoso_claims().to_string().replace(&(NOW + 600).to_string(), number);
        attacks.push(attack(format!("an end of {number}"), raw(contoso_header(), claims), Rejection::Malformed));
    }
    attacks
}

pub(super) fn audiences() -> Vec<Attack> {
    let others = [
        json!("calendar"),
        json!(""),
        json!("Mail"),
        json!("mail "),
        json!("mail\0"),
        json!("mail,calendar"),
        json!("mai"),
        json!("mails"),
        json!([]),
        json!(["calendar"]),
        json!(["Mail", "mail/"]),
        json!([""]),
    ];
    let malformed = [
        json!(null),
        json!(1),
        json!({ "mail": "mail" }),
        json!(["mail", 1]),
        json!([["mail"]]),
        json!([null, "mail"]),
    ];
    let tried = |values: &[Value], expected| -> Vec<_> {
        let attack = |value: &Value| attack(format!("audience {value}"), contoso_with("aud", value.clone()), expected);
        values.iter().map(attack).collect()
    };
    let upper = json!(APPLICATION.to_uppercase());
    let more = vec![
        attack("no audience", contoso_without("aud"), Rejection::Malformed),
        attack("an application in upper case", entra_with("aud", upper), Rejection::AudienceMismatch),
        attack(
            "Microsoft Graph's",
            entra_with("aud", json!("00000003-0000-0000-c000-000000000000")),
            Rejection::AudienceMismatch,
        ),
    ];
    [tried(&others, Rejection::AudienceMismatch), tried(&malformed, Rejection::Malformed), more].concat()
}

pub(super) fn issuers() -> Vec<Attack> {
    let strangers = [
        "",
        "https://id.contoso.example/",
        "https://ID.contoso.example",
        "http://id.contoso.example",
        "https://id.contoso.example\0",
        " https://id.contoso.example",
        "https://id.contoso.example.evil.example",
        "https://id.contoso.example@evil.example",
        "https://id.contoso.example#",
        "id.contoso.example",
        "https://login.microsoftonline.com/common/v2.0",
        "https://login.microsoftonline.com/{tenantid}/v2.0",
    ];
    let mut attacks: Vec<_> = strangers
        .iter()
        .map(|issuer| {
            attack(format!("issuer {issuer:?}"), contoso_with("iss", json!(issuer)), Rejection::IssuerMismatch)
        })
        .collect();
    for (name, issuer) in [
        ("Entra's, with a slash", issuer_of(TENANT) + "/"),
        ("Entra's of version 1.0", format!("https://sts.windows.net/{TENANT}/")),
        ("Entra's, without version", issuer_of(TENANT).replace("/v2.0", "")),
        ("Entra's, in upper case", issuer_of(&TENANT.to_uppercase())),
        ("Entra's in another cloud", issuer_of(TENANT).replace(".com", ".us")),
        ("Entra's, with a query", issuer_of(TENANT) + "?p=b2c"),
        ("Entra's, for two tenants", issuer_of(&format!("{VICTIM}/{TENANT}"))),
        ("Entra's, of another tenant", issuer_of(VICTIM)),
    ] {
        attacks.push(attack(name, entra_with("iss", json!(issuer)), Rejection::IssuerMismatch));
    }
    for (name, value) in [("null", Value::Null), ("a list", json!([CONTOSO])), ("a number", json!(1))] {
        attacks.push(attack(format!("issuer is {name}"), contoso_with("iss", value), Rejection::Malformed));
    }
    attacks.push(attack(
        "no issuer",
        raw(contoso_header(), without(contoso_claims(), "iss").to_string()),
        Rejection::Malformed,
    ));
    attacks
}

pub(super) fn tenants() -> Vec<Attack> {
    let fabrikam_of =
        |tenant: Value| WORLD.fabrikam.token_with_header(&fabrikam_header(), &with(fabrikam_claims(), "org", tenant));
    let mut attacks = vec![
        attack("no tenant", contoso_without("tid"), Rejection::TenantMissing),
        attack("an empty tenant", contoso_with("tid", json!("")), Rejection::TenantMissing),
        attack("a tenant in another claim", fabrikam_of(json!("")), Rejection::TenantMissing),
        attack("no tenant of Entra ID", entra_without("tid"), Rejection::TenantMissing),
        attack("an empty tenant of Entra ID", entra_with("tid", json!("")), Rejection::TenantMissing),
        attack("a tenant of 257 bytes", fabrikam_of(json!("x".repeat(257))), Rejection::TenantMalformed),
        attack("another tenant of Entra ID", entra_with("tid", json!(VICTIM)), Rejection::IssuerMismatch),
    ];
    for tenant in ["fabrikam", "Contoso", "contoso ", "cont\u{43e}so", "*", "contoso,fabrikam", "contoso-"] {
        let token = contoso_with("tid", json!(tenant));
        attacks.push(attack(format!("a tenant of another: {tenant:?}"), token, Rejection::TenantOutOfScope));
    }
    let wrong = [Value::Null, json!(1), json!(true), json!(["contoso"]), json!({ "contoso": 1 })];
    for value in wrong.into_iter().chain(["contoso\0", "\n", "a\u{7f}", "a\u{85}"].map(|text| json!(text))) {
        let name = format!("a tenant that is no name: {value}");
        attacks.push(attack(name, contoso_with("tid", value), Rejection::TenantMalformed));
    }
    let not_guids = [
        TENANT.to_uppercase(),
        TENANT.replace('-', ""),
        format!("{{{TENANT}}}"),
        format!("{TENANT} "),
        "contoso.onmicrosoft.com".to_owned(),
        "common".to_owned(),
        format!("{TENANT}/../{VICTIM}"),
    ];
    for tenant in not_guids {
        let name = format!("a tenant of Entra ID that is no GUID: {tenant}");
        attacks.push(attack(name, entra_with("tid", json!(tenant)), Rejection::TenantMalformed));
    }
    attacks
}

pub(super) fn subjects() -> Vec<Attack> {
    let mut attacks = vec![
        attack("no subject", contoso_without("sub"), Rejection::SubjectMissing),
        attack("an empty subject", contoso_with("sub", json!("")), Rejection::SubjectMissing),
        attack("no object id", entra_without("oid"), Rejection::SubjectMissing),
        attack("a subject of 257 bytes", contoso_with("sub", json!("x".repeat(257))), Rejection::SubjectMalformed),
    ];
    for value in [json!(1), Value::Null, json!(["ada"]), json!("ada\0"), json!("ada\r\nadmin")] {
        let name = format!("a subject that is no name: {value}");
        attacks.push(attack(name, contoso_with("sub", value), Rejection::SubjectMalformed));
    }
    for value in [json!("ada@contoso.example"), json!(OBJECT.to_uppercase()), json!(format!("{OBJECT}.x")), json!(7)] {
        let name = format!("an object id that is no GUID: {value}");
        attacks.push(attack(name, entra_with("oid", value), Rejection::SubjectMalformed));
    }
    attacks
}

pub(super) fn kinds() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for kind in ["", "id+jwt", "ID", "logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "JWT ", "at+jwt;", "jwt+at"] {
        attacks.push(attack(format!("type {kind:?}"), under("typ", json!(kind)), Rejection::TypeNotAllowed));
    }
    for kind in [json!(1), Value::Null, json!(["JWT"])] {
        attacks.push(attack(format!("type is {kind}"), under("typ", kind), Rejection::Malformed));
    }
    for claim in ["at_hash", "c_hash", "s_hash", "events"] {
        let name = format!("another kind of token, by its {claim}");
        attacks.push(attack(name, contoso_with(claim, json!("x")), Rejection::TypeNotAllowed));
    }
    let untyped = without(entra_header(), "typ");
    attacks.extend([
        attack(
            "no type, of Entra ID",
            WORLD.entra.token_with_header(&untyped, &entra_claims()),
            Rejection::TypeNotAllowed,
        ),
        attack("an ID token of Entra ID", entra_with("nonce", json!("n")), Rejection::TypeNotAllowed),
        attack("not said to be an access token", fabrikam_under(&WORLD.fabrikam.header()), Rejection::TypeNotAllowed),
        attack(
            "no type where one is asked for",
            fabrikam_under(&without(fabrikam_header(), "typ")),
            Rejection::TypeNotAllowed,
        ),
        attack("bound to a key", contoso_with("cnf", json!({ "jkt": "x" })), Rejection::ProofRequired),
        attack("version 1.0", entra_with("ver", json!("1.0")), Rejection::VersionNotAllowed),
        attack("version 2", entra_with("ver", json!("2")), Rejection::VersionNotAllowed),
        attack("no version", entra_without("ver"), Rejection::VersionNotAllowed),
        attack("a version that is a number", entra_with("ver", json!(2.0)), Rejection::Malformed),
    ]);
    attacks
}

pub(super) fn members() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let wrong = [Value::Null, json!(1), json!(true), json!({}), json!([1]), json!(["a", null]), json!([["a"]])];
    for claim in ["roles", "scp", "scope"] {
        let tokens = wrong.iter().map(|value| (format!("{claim} {value}"), contoso_with(claim, value.clone())));
        attacks.extend(tokens.map(|(name, token)| attack(name, token, Rejection::Malformed)));
    }
    attacks.push(attack("roles as a text", contoso_with("roles", json!("Reader")), Rejection::Malformed));
    attacks.push(attack("roles of Entra ID as a text", entra_with("roles", json!("Reader")), Rejection::Malformed));
    attacks
}
