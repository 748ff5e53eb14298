//! An issuer of many tenants, as Entra ID is one: one document whose issuer is a template, and keys that say whose they are.

use std::sync::Arc;

use serde_json::{Value, json};
use strongroom::identity::{Entra, JwtVerifier, OidcKeys, Rejection, SubjectKind, Verifier};
use strongroom::{Clock, ErrorKind, ManualClock};

use super::server::{Answer, Server, document};
use super::{NOTES, clock_of_today, make_tenant, secs, store};
use crate::mint::{Issuer, jwks_json};

const DOCUMENT: &str = "/common/v2.0/.well-known/openid-configuration";
const KEYS: &str = "/common/discovery/v2.0/keys";
const APPLICATION: &str = "6e74172b-be56-4843-9ff4-e66a39bb12e3";
const SERVICE: &str = "0f3c1a52-7a52-4d0e-9c57-0a1b2c3d4e5f";
const CONTOSO: &str = "5f0e7c1a-3b52-4d0e-9c57-0a1b2c3d4e5f";
const FABRIKAM: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const ADA: &str = "0b9c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3";
const JOB: &str = "1c9c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c4";

/// A cloud on loopback, with a key for all organisations and one for personal accounts.
struct Cloud {
    server: Server,
    clock: Arc<ManualClock>,
    organisations: Issuer,
    consumers: Issuer,
    verifier: Arc<JwtVerifier>,
}

impl Cloud {
    fn new() -> Self {
        Self::with(|entra| entra)
    }

    fn with(change: impl FnOnce(Entra) -> Entra) -> Self {
        let (server, clock) = (Server::start(), clock_of_today());
        let (organisations, consumers) = (Issuer::rs256("", "org"), Issuer::rs256("", "consumers"));
        let keys = OidcKeys::entra_at(server.url()).ca_pem(server.ca_pem()).clock(clock.clone()).build().unwrap();
        let entra = change(Entra::new(APPLICATION).authority(server.url()));
        let verifier = Arc::new(JwtVerifier::builder().entra(entra, keys).build().unwrap());
        let cloud = Self { server, clock, organisations, consumers, verifier };
        let template = cloud.issuer_of("{tenantid}");
        cloud.server.set(DOCUMENT, Answer::Page(document(&template, &format!("{}{KEYS}", cloud.server.url()))));
        cloud.publish([
            vouching_for(&cloud.organisations, Some(&template)),
            vouching_for(&cloud.consumers, Some(&cloud.issuer_of(CONSUMERS))),
        ]);
        cloud
    }

    fn publish(&self, keys: impl IntoIterator<Item = Value>) {
        self.server.set(KEYS, Answer::Page(jwks_json(keys)));
    }

    fn issuer_of(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.server.url())
    }

    /// What a person's access token says.
    fn person(&self, tenant: &str) -> Value {
        let now_secs = self.clock.wall_ms() / 1000;
        json!({
            "aud": APPLICATION, "iss": self.issuer_of(tenant), "iat": now_secs, "nbf": now_secs, "exp": now_secs + 3600,
            "azp": "1b730954-1685-4b74-9bfd-dac224a7b894", "azpacr": "0", "oid": ADA, "sub": "HKZpfaHyWadeOouYlitjrI",
            "roles": ["strongroom.read", "strongroom.write"], "scp": "strongroom.read strongroom.write", "tid": tenant,
            "ver": "2.0",
        })
    }

    /// What a background job's says, which it got with its client credentials.
    fn job(&self, tenant: &str, roles: &[&str]) -> Value {
        let mut claims = self.person(tenant);
        claims.as_object_mut().unwrap().remove("scp");
        for (name, value) in [("azpacr", json!("2")), ("oid", json!(JOB)), ("sub", json!(JOB)), ("roles", json!(roles))]
        {
            claims[name] = value;
        }
        claims
    }

    fn refusal(&self, issuer: &Issuer, claims: &Value) -> Option<Rejection> {
        self.verifier.verify(&issuer.token(claims), self.clock.wall_ms() / 1000).err()
    }
}

/// As Entra ID publishes keys: without `alg`, with the issuer that it is for.
fn vouching_for(issuer: &Issuer, whose: Option<&str>) -> Value {
    let mut jwk = issuer.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    if let Some(whose) = whose {
        jwk["issuer"] = json!(whose);
    }
    jwk
}

#[test]
fn tenants_of_one_cloud_open_their_own_stores_and_no_others() {
    let cloud = Cloud::new();
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder, cloud.verifier.clone(), &cloud.clock, (&cloud.issuer_of(SERVICE), SERVICE));
    let custodian = cloud.organisations.token(&cloud.job(SERVICE, &["strongroom.custodian"]));
    make_tenant(&room, &custodian, &cloud.issuer_of(CONTOSO), "contoso", CONTOSO);
    make_tenant(&room, &custodian, &cloud.issuer_of(FABRIKAM), "fabrikam", FABRIKAM);
    for (tenant, name, other) in [(CONTOSO, "contoso", "fabrikam"), (FABRIKAM, "fabrikam", "contoso")] {
        let token = cloud.organisations.token(&cloud.person(tenant));
        let session = room.session(&token, name).expect("a session");
        assert_eq!(session.identity().subject_kind(), SubjectKind::Person);
        session.collection(&NOTES).unwrap().put(&1, &name.to_owned()).unwrap();
        assert_eq!(room.session(&token, other).unwrap_err().kind(), ErrorKind::Denied);
    }
    assert_eq!((cloud.server.asked(DOCUMENT), cloud.server.asked(KEYS)), (1, 1));
}

#[test]
fn a_background_job_acts_for_its_tenant_with_the_roles_that_it_was_granted() {
    let cloud = Cloud::new();
    let folder = tempfile::tempdir().unwrap();
    let room = store(&folder, cloud.verifier.clone(), &cloud.clock, (&cloud.issuer_of(SERVICE), SERVICE));
    let custodian = cloud.organisations.token(&cloud.job(SERVICE, &["strongroom.custodian"]));
    make_tenant(&room, &custodian, &cloud.issuer_of(CONTOSO), "contoso", CONTOSO);
    let open = |roles: &[&str]| room.session(&cloud.organisations.token(&cloud.job(CONTOSO, roles)), "contoso");
    let writing = open(&["strongroom.read", "strongroom.write"]).expect("a session");
    assert_eq!(writing.identity().subject_kind(), SubjectKind::App);
    assert_eq!(writing.identity().subject(), format!("{CONTOSO}.{JOB}"));
    writing.collection(&NOTES).unwrap().put(&1, &"a".to_owned()).unwrap();
    let notes = open(&["strongroom.read"]).unwrap().collection(&NOTES).unwrap();
    assert_eq!(notes.get(&1).unwrap(), Some("a".to_owned()));
    assert_eq!(notes.put(&1, &"b".to_owned()).unwrap_err().kind(), ErrorKind::Denied, "it may only read");
    let nothing = open(&[]).map(|session| session.collection(&NOTES).and_then(|notes| notes.get(&1)).map(|_| ()));
    assert!(
        nothing.and_then(|outcome| outcome).is_err_and(|error| error.kind() == ErrorKind::Denied),
        "no role, nothing"
    );
    let elsewhere = cloud.organisations.token(&cloud.job(FABRIKAM, &["strongroom.read"]));
    assert_eq!(room.session(&elsewhere, "contoso").unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn a_service_for_people_only_refuses_background_jobs() {
    let cloud = Cloud::with(Entra::people_only);
    assert_eq!(cloud.refusal(&cloud.organisations, &cloud.person(CONTOSO)), None);
    let job = cloud.job(CONTOSO, &["strongroom.read"]);
    assert_eq!(cloud.refusal(&cloud.organisations, &job), Some(Rejection::SubjectKindNotAllowed));
}

#[test]
fn a_fetched_key_vouches_for_those_it_names_and_for_nobody_else() {
    let cloud = Cloud::new();
    let answer = |issuer: &Issuer, tenant: &str| cloud.refusal(issuer, &cloud.person(tenant));
    assert_eq!(answer(&cloud.organisations, CONTOSO), None);
    assert_eq!(answer(&cloud.consumers, CONSUMERS), None);
    assert_eq!(answer(&cloud.consumers, CONTOSO), Some(Rejection::KeyOutOfScope), "Storm-0558");
    let mut claims = cloud.person(CONTOSO);
    claims["iss"] = json!(cloud.issuer_of(FABRIKAM));
    assert_eq!(cloud.refusal(&cloud.organisations, &claims), Some(Rejection::IssuerMismatch));
    claims["iss"] = json!(cloud.issuer_of(CONTOSO).replace("127.0.0.1", "127.0.0.2"));
    assert_eq!(cloud.refusal(&cloud.organisations, &claims), Some(Rejection::IssuerMismatch), "another cloud");

    cloud.publish([vouching_for(&cloud.organisations, None)]);
    cloud.clock.advance(secs(300));
    assert_eq!(answer(&cloud.organisations, CONTOSO), Some(Rejection::KeyOutOfScope), "it does not say whose it is");
}

#[test]
fn the_document_must_be_that_of_all_tenants() {
    let cloud = Cloud::new();
    let keys = format!("{}{KEYS}", cloud.server.url());
    for issuer in [
        cloud.issuer_of(CONTOSO),
        cloud.issuer_of("{tenant}"),
        "https://login.microsoftonline.com/{tenantid}/v2.0".into(),
    ] {
        cloud.server.set(DOCUMENT, Answer::Page(document(&issuer, &keys)));
        let answer = cloud.refusal(&cloud.organisations, &cloud.person(CONTOSO));
        assert_eq!(answer, Some(Rejection::Unavailable), "{issuer}");
        cloud.clock.advance(secs(30));
    }
}
