//! Root keys in a real OpenBao.

use strongroom::{
    Call, RootError, RootFinding, RootId, RootKeys, RootRight, WrapContext, WrapSecret, Wrapped, check_root,
};

use crate::openbao::OpenBao;

pub fn id(root: &str) -> RootId {
    RootId::new(root).unwrap()
}

pub fn context(root: &str) -> WrapContext {
    WrapContext::new([7; 16], id(root), 1, Call::new().unwrap())
}

pub fn secret() -> WrapSecret {
    WrapSecret::from_slice(&[0xA5; 32]).unwrap()
}

pub fn wrap(roots: &impl RootKeys, root: &str) -> Result<Wrapped, RootError> {
    roots.wrap(&id(root), &secret(), &context(root))
}

pub fn unwrap(roots: &impl RootKeys, root: &str, wrapped: &Wrapped) -> Result<(), RootError> {
    let back = roots.unwrap(&id(root), wrapped, &context(root))?;
    assert_eq!(back.expose_secret(), &[0xA5; 32], "another secret came back");
    Ok(())
}

#[test]
fn a_check_says_what_a_key_is_and_what_its_token_may_do() {
    let Some(bao) = OpenBao::start() else { return };
    bao.make_key("aes", "aes256-gcm96");
    bao.make_key("rsa", "rsa-4096");
    let check = |key: &str| check_root(&bao.roots("customer", key), &id("customer")).unwrap();
    let aes = check("aes");
    assert_eq!(aes.findings, []);
    assert_eq!(aes.description.current_version.as_deref(), Some("v1"));
    let rights: Vec<_> = aes.description.rights.unwrap().into_iter().collect();
    assert_eq!(rights, [RootRight::Wrap, RootRight::Unwrap, RootRight::Describe]);
    let rsa = check("rsa");
    assert_eq!(rsa.findings, [RootFinding::AnyoneCanWrap, RootFinding::ContextNotBound]);
    rsa.prove().unwrap();
}
