//! App-only tokens: what tells them from those of people, what they may, and that nothing in between is accepted.

use serde_json::{Value, json};

use super::{
    APPLICATION, Entra, JwtVerifier, NOW, OBJECT, Rejection, SubjectKind, TEMPLATE, TENANT, Verifier, WORLD,
    contoso_claims, entra_claims, jwks, verify, vouching_for, with, without,
};

/// What a background job gets from Entra ID with its client credentials, where the service has asked for `idtyp`.
fn app_claims() -> Value {
    let program = without(without(without(entra_claims(), "scp"), "name"), "preferred_username");
    with(with(with(program, "sub", json!(OBJECT)), "azpacr", json!("2")), "idtyp", json!("app"))
}

fn kind(claims: &Value) -> Result<SubjectKind, Rejection> {
    verify(&WORLD.entra.token(claims)).map(|claims| claims.subject_kind)
}

#[test]
fn an_app_only_token_is_of_the_program_itself_with_its_roles_and_no_scopes() {
    let claims = verify(&WORLD.entra.token(&app_claims())).expect("a token of a program");
    assert_eq!(claims.subject_kind, SubjectKind::App);
    assert_eq!(claims.subject, format!("{TENANT}.{OBJECT}"), "its object in the tenant that it acts for");
    assert_eq!((claims.roles.len(), claims.scopes), (2, None));
    assert_eq!(kind(&without(app_claims(), "idtyp")), Ok(SubjectKind::App), "the service has not asked for it");
    assert_eq!(kind(&without(app_claims(), "roles")), Ok(SubjectKind::App), "it is known, and may nothing");
}

#[test]
fn a_person_is_told_by_scopes_however_the_program_has_proved_itself() {
    assert_eq!(kind(&entra_claims()), Ok(SubjectKind::Person));
    assert_eq!(kind(&with(entra_claims(), "idtyp", json!("user"))), Ok(SubjectKind::Person));
    for proof in ["0", "1", "2"] {
        assert_eq!(kind(&with(entra_claims(), "azpacr", json!(proof))), Ok(SubjectKind::Person), "{proof}");
        assert_eq!(kind(&with(app_claims(), "azpacr", json!(proof))), Ok(SubjectKind::App), "{proof}");
    }
}

#[test]
fn what_is_neither_is_not_an_access_token() {
    let id_token = without(without(without(entra_claims(), "scp"), "azp"), "azpacr");
    let refused = [
        ("an ID token for a program that is the service itself, without nonce", id_token),
        ("scopes left out", without(entra_claims(), "scp")),
        ("a person without scopes", with(without(entra_claims(), "scp"), "idtyp", json!("user"))),
        ("a program with scopes", with(app_claims(), "scp", json!("mail.read"))),
        ("a program with an empty scope", with(app_claims(), "scp", json!(""))),
        ("another kind", with(app_claims(), "idtyp", json!("device"))),
        ("another case", with(app_claims(), "idtyp", json!("App"))),
        ("another subject", with(without(app_claims(), "idtyp"), "sub", json!("somebody"))),
        ("no subject", without(without(app_claims(), "idtyp"), "sub")),
    ];
    for (what, claims) in refused {
        assert_eq!(kind(&claims), Err(Rejection::TypeNotAllowed), "{what}");
    }
    assert_eq!(kind(&with(app_claims(), "idtyp", json!(["app"]))), Err(Rejection::Malformed));
}

#[test]
fn a_service_can_be_for_people_only_or_for_apps_only() {
    let answer = |profile: Entra, claims: &Value| {
        let keys = jwks([vouching_for(WORLD.entra.jwk(), TEMPLATE)]);
        let verifier = JwtVerifier::builder().entra(profile, keys).build().expect("a sound verifier");
        verifier.verify(&WORLD.entra.token(claims), NOW).map(|claims| claims.subject_kind)
    };
    let entra = || Entra::new(APPLICATION);
    assert_eq!(answer(entra().people_only(), &entra_claims()), Ok(SubjectKind::Person));
    assert_eq!(answer(entra().people_only(), &app_claims()), Err(Rejection::SubjectKindNotAllowed));
    assert_eq!(answer(entra().apps_only(), &app_claims()), Ok(SubjectKind::App));
    assert_eq!(answer(entra().apps_only(), &entra_claims()), Err(Rejection::SubjectKindNotAllowed));
}

#[test]
fn of_other_issuers_a_program_is_told_by_being_its_own_client() {
    let kind = |claims: &Value| verify(&WORLD.contoso.token(claims)).map(|claims| claims.subject_kind);
    assert_eq!(kind(&contoso_claims()), Ok(SubjectKind::Unknown));
    assert_eq!(kind(&with(contoso_claims(), "client_id", json!("mail-app"))), Ok(SubjectKind::Unknown));
    assert_eq!(kind(&with(contoso_claims(), "client_id", json!("ada"))), Ok(SubjectKind::App));
    assert_eq!(kind(&with(contoso_claims(), "client_id", json!(1))), Err(Rejection::Malformed));
}
