//! The world of tests keeps what it promises, and is hard to take for anything else.

use std::time::Duration;

use self::heard::Heard;
use super::{ISSUER, World};
use crate::collection::CollectionDef;
use crate::custody::TenantSpec;
use crate::error::ErrorKind;
use crate::keys::Policy;
use crate::kms::RootError;

#[path = "../../tests/it/heard.rs"]
mod heard;

const NOTES: CollectionDef<u64, String> = CollectionDef::cbor("notes");

fn world() -> World {
    let world = World::new();
    world.tenant("contoso");
    world
}

/// What a session for contoso comes to.
fn outcome(world: &World, token: &str) -> Result<(), ErrorKind> {
    world.room().session(token, "contoso").map(drop).map_err(|error| error.kind())
}

#[test]
fn a_token_opens_its_own_tenant_and_no_other() {
    let world = world();
    world.tenant("fabrikam");
    let token = world.issuer().token("contoso").role("read").role("write").sign();
    let notes = world.room().session(&token, "contoso").unwrap().collection(&NOTES).unwrap();
    notes.put(&1, &"hello".to_owned()).unwrap();
    assert_eq!(notes.get(&1).unwrap().unwrap(), "hello");
    for tenant in ["fabrikam", "nobody", "service"] {
        let error = world.room().session(&token, tenant).unwrap_err();
        assert_eq!((error.kind(), error.http_status()), (ErrorKind::Denied, 403), "{tenant}");
    }
    world.room().clone().close();
    assert_eq!(notes.get(&1).unwrap_err().http_status(), 503, "another instance may be open");
}

#[test]
fn a_token_may_do_what_its_roles_say() {
    let world = world();
    world.session("contoso").collection(&NOTES).unwrap().put(&1, &"hello".to_owned()).unwrap();
    for reader in [world.issuer().token("contoso").role("read"), world.issuer().token("contoso").scope("read")] {
        let notes = world.room().session(&reader.sign(), "contoso").unwrap().collection(&NOTES).unwrap();
        assert!(notes.contains(&1).unwrap());
        assert_eq!(notes.delete(&1).unwrap_err().kind(), ErrorKind::Denied);
    }
    let user = world.issuer().token("contoso").role("read").sign();
    assert_eq!(world.room().custody(&user).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(world.room().tenant_custody(&user, "contoso").unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(world.custody().tenants().unwrap().len(), 1);
    assert!(world.tenant_custody("contoso").access().is_ok());
}

#[test]
fn tokens_that_a_service_must_refuse_are_refused() {
    let world = world();
    let token = || world.issuer().token("contoso").role("read");
    assert_eq!(outcome(&world, &token().sign()), Ok(()), "the control");
    for (flaw, token) in [
        ("expired", token().expired()),
        ("forged", token().forged()),
        ("another issuer", token().claim("iss", "https://id.example")),
        ("another audience", token().claim("aud", "another service")),
        ("no tenant", token().claim("tid", None::<&str>)),
    ] {
        let error = world.room().session(&token.sign(), "contoso").unwrap_err();
        assert_eq!((error.kind(), error.http_status()), (ErrorKind::Denied, 401), "{flaw}");
    }
}

#[test]
fn a_token_of_one_world_counts_in_no_other() {
    let (one, other) = (world(), world());
    let token = one.issuer().token("contoso").role("read").sign();
    assert_eq!(outcome(&one, &token), Ok(()));
    assert_eq!(outcome(&other, &token), Err(ErrorKind::Denied));
}

#[test]
fn time_goes_by_when_it_is_told_to() {
    let world = world();
    let token = world.issuer().token("contoso").role("read").role("write").expires_in(Duration::from_mins(5)).sign();
    let notes = world.room().session(&token, "contoso").unwrap().collection(&NOTES).unwrap();
    world.advance(Duration::from_mins(5));
    assert!(notes.get(&1).is_ok(), "within the leeway");
    world.advance(Duration::from_mins(1));
    assert_eq!(notes.get(&1).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(outcome(&world, &token), Err(ErrorKind::Denied));
    assert_eq!(outcome(&world, &world.issuer().token("contoso").role("read").sign()), Ok(()), "issued now");
}

#[test]
fn root_keys_fail_and_recover_on_cue() {
    let world = world();
    world.root_key("customer");
    let policy = Policy::any_of([["customer"]]).unwrap();
    world.custody().create_tenant(TenantSpec::new("owner", ISSUER, "owner").policy(policy)).unwrap();
    let read = || {
        let token = world.issuer().token("owner").role("read").role("write").sign();
        world.room().session(&token, "owner")?.collection(&NOTES)?.get(&1)
    };
    assert!(read().is_ok(), "the control");
    for (failure, kind) in
        [(RootError::Unreachable, ErrorKind::Unavailable), (RootError::Denied, ErrorKind::KeyRevoked)]
    {
        world.root_keys_fail(failure);
        world.advance(Duration::from_hours(24));
        assert_eq!(read().unwrap_err().kind(), kind);
        world.root_keys_recover();
        world.advance(Duration::from_mins(1));
        assert!(read().is_ok(), "after {failure}");
    }
}

#[test]
fn its_folder_goes_with_the_last_handle_of_its_store() {
    let world = world();
    let folder = world.roots.folder().to_owned();
    assert!(folder.join("keys").is_dir(), "the control");
    let session = world.session("contoso");
    drop(world);
    assert!(session.collection(&NOTES).unwrap().get(&1).is_ok(), "a handle outlives its world");
    drop(session);
    let gone = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !folder.exists()
    });
    assert!(gone, "{}", folder.display());
}

#[test]
fn it_says_aloud_that_it_is_for_tests() {
    let heard = Heard::default();
    heard.during(|| drop(World::new()));
    assert!(heard.text().contains("a store for TESTS"), "{}", heard.text());
    assert!(ISSUER.contains(".invalid/"));
}
