//! What every provider of root keys promises, whatever it is: one suite over all.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::{
    Call, Guarded, LocalRoots, RootError, RootId, RootKeys, RootSet, WrapContext, WrapSecret, Wrapped, check_root,
};

/// A provider, two of its roots, and what their owner can do to the first.
pub struct Provider<'p> {
    pub roots: &'p (dyn RootKeys + 'static),
    pub root: &'p str,
    pub other: &'p str,
    /// Whether its keys have a place for a context.
    pub binds: bool,
    pub rotate: &'p (dyn Fn() + Sync),
    pub destroy_all_but_the_newest: &'p (dyn Fn() + Sync),
}

fn id(root: &str) -> RootId {
    RootId::new(root).unwrap()
}

impl Provider<'_> {
    fn wrap(&self, root: &str, byte: u8) -> Wrapped {
        let secret = WrapSecret::from_slice(&[byte; 32]).unwrap();
        let wrapped = self.roots.wrap(&id(root), &secret, &context([1; 16], root, 1)).unwrap();
        assert!((1..=128).contains(&wrapped.version.len()) && (1..=1024).contains(&wrapped.bytes.len()));
        wrapped
    }

    fn unwrap(&self, wrapped: &Wrapped, context: &WrapContext) -> Result<[u8; 32], RootError> {
        self.roots.unwrap(&id(self.root), wrapped, context).map(|secret| *secret.expose_secret())
    }

    fn own(&self) -> WrapContext {
        context([1; 16], self.root, 1)
    }

    pub fn conforms(&self) {
        self.what_was_wrapped_comes_back_for_its_context_only();
        self.changed_bytes_and_labels_never_open();
        self.a_root_is_described_and_proven();
        self.many_threads_may_ask_at_once();
        self.versions_rotate_and_go();
    }

    fn what_was_wrapped_comes_back_for_its_context_only(&self) {
        let (one, two) = (self.wrap(self.root, 1), self.wrap(self.root, 2));
        assert_ne!(self.wrap(self.root, 1).bytes, one.bytes, "every wrap is fresh");
        assert_eq!(self.unwrap(&one, &self.own()), Ok([1; 32]));
        assert_eq!(self.unwrap(&two, &self.own()), Ok([2; 32]));
        for stranger in
            [context([2; 16], self.root, 1), context([1; 16], self.root, 2), context([1; 16], self.other, 1)]
        {
            let expected = if self.binds { Err(RootError::Tampered) } else { Ok([1; 32]) };
            assert_eq!(self.unwrap(&one, &stranger), expected, "another tenant's, epoch's or root's");
        }
        let theirs = self.wrap(self.other, 1);
        assert_eq!(self.unwrap(&theirs, &self.own()), Err(RootError::Tampered), "another key's");
        let nobody = id("nobody");
        let unknown = self.roots.unwrap(&nobody, &one, &context([1; 16], "nobody", 1)).unwrap_err();
        assert!(unknown.is_refusal(), "{unknown}");
        let secret = WrapSecret::from_slice(&[1; 32]).unwrap();
        let unknown = self.roots.wrap(&nobody, &secret, &context([1; 16], "nobody", 1)).unwrap_err();
        assert_eq!(unknown, RootError::Disabled);
    }

    fn changed_bytes_and_labels_never_open(&self) {
        let wrapped = self.wrap(self.root, 1);
        let bytes = &wrapped.bytes;
        let flips = (0..bytes.len()).step_by(bytes.len().div_ceil(12)).map(|at| {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            changed
        });
        let lengths = [Vec::new(), bytes[1..].to_vec(), bytes[..bytes.len() - 1].to_vec(), vec![0; 1024]];
        for changed in flips.chain(lengths).chain([[bytes.as_slice(), &[0]].concat()]) {
            let changed = Wrapped { bytes: changed, ..wrapped.clone() };
            assert_eq!(self.unwrap(&changed, &self.own()), Err(RootError::Tampered), "{changed:?}");
        }
        for label in ["", "v", "v0", "v01", "1", "v-1", "v1 ", "v4294967296", &"v".repeat(128)] {
            let changed = Wrapped { version: label.to_owned(), ..wrapped.clone() };
            assert_eq!(self.unwrap(&changed, &self.own()), Err(RootError::Tampered), "{label}");
        }
        let unborn = Wrapped { version: "v99".to_owned(), ..wrapped };
        let answer = self.unwrap(&unborn, &self.own());
        assert!(matches!(answer, Err(RootError::Tampered | RootError::Disabled)), "{answer:?}");
    }

    fn a_root_is_described_and_proven(&self) {
        let check = check_root(self.roots, &id(self.root)).unwrap();
        check.prove().unwrap();
        assert_eq!(check.description.current_version.as_deref(), Some(check.version.as_str()));
        assert_eq!(check.description.binds_context, Some(self.binds));
        assert_eq!(check.description.anyone_can_wrap, Some(!self.binds));
        assert!(!check.description.provider.is_empty() && check.description.algorithm.is_some());
        let is_external = self.roots.is_external(&id(self.root));
        assert_eq!(is_external, !self.roots.connections().is_empty());
        assert_eq!(check.calls.len(), if is_external { 5 } else { 0 });
        if is_external {
            let no_time = WrapContext::new([1; 16], id(self.root), 1, Call::new().unwrap().within(Duration::ZERO));
            assert_eq!(self.unwrap(&self.wrap(self.root, 1), &no_time), Err(RootError::Unreachable));
        }
    }

    fn many_threads_may_ask_at_once(&self) {
        std::thread::scope(|scope| {
            for byte in 0..8 {
                scope.spawn(move || {
                    for _ in 0..5 {
                        assert_eq!(self.unwrap(&self.wrap(self.root, byte), &self.own()), Ok([byte; 32]));
                    }
                });
            }
        });
    }

    fn versions_rotate_and_go(&self) {
        let old = self.wrap(self.root, 1);
        (self.rotate)();
        let new = self.wrap(self.root, 2);
        assert_ne!(new.version, old.version);
        assert_eq!(self.unwrap(&old, &self.own()), Ok([1; 32]), "an older version unwraps");
        let relabelled = Wrapped { version: new.version.clone(), ..old.clone() };
        assert_eq!(self.unwrap(&relabelled, &self.own()), Err(RootError::Tampered));
        (self.destroy_all_but_the_newest)();
        assert_eq!(self.unwrap(&old, &self.own()), Err(RootError::Destroyed));
        assert_eq!(self.unwrap(&new, &self.own()), Ok([2; 32]));
        assert_eq!(check_root(self.roots, &id(self.root)).unwrap().version, new.version);
    }
}

fn context(incarnation: [u8; 16], root: &str, epoch: u32) -> WrapContext {
    WrapContext::new(incarnation, id(root), epoch, Call::new().unwrap())
}

fn local(folder: &Path) -> Arc<LocalRoots> {
    let local = LocalRoots::open_with_root(folder.join("keys"), "one").unwrap();
    local.generate(&id("two")).unwrap();
    Arc::new(local)
}

/// The suite over something that has these local roots inside.
fn check_local(local: &LocalRoots, roots: &dyn RootKeys) {
    let rotate = || drop(local.generate(&id("one")).unwrap());
    let destroy_all_but_the_newest = || {
        let versions = local.versions(&id("one"));
        versions[..versions.len() - 1].iter().for_each(|version| local.destroy(&id("one"), version).unwrap());
    };
    Provider {
        roots,
        root: "one",
        other: "two",
        binds: true,
        rotate: &rotate,
        destroy_all_but_the_newest: &destroy_all_but_the_newest,
    }
    .conforms();
}

#[test]
fn local_roots_conform() {
    let folder = tempfile::tempdir().unwrap();
    let local = local(folder.path());
    check_local(&local, &local);
}

#[test]
fn a_set_of_roots_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let local = local(folder.path());
    check_local(&local, &RootSet::new().local(local.clone()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let local = self::local(folder.path());
    let named = RootSet::new().provider(["one", "two"], local.clone()).unwrap();
    check_local(&local, &named);
}

#[test]
fn guarded_roots_conform() {
    let folder = tempfile::tempdir().unwrap();
    let local = local(folder.path());
    check_local(&local, &Guarded::new(local.clone()));
}

/// Local keys that ignore what they are bound to.
struct Careless(Arc<LocalRoots>);

impl RootKeys for Careless {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, _: &WrapContext) -> Result<Wrapped, RootError> {
        self.0.wrap(root, secret, &context([0; 16], root.as_str(), 0))
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, _: &WrapContext) -> Result<WrapSecret, RootError> {
        self.0.unwrap(root, wrapped, &context([0; 16], root.as_str(), 0))
    }
}

#[test]
#[should_panic(expected = "another tenant's, epoch's or root's")]
fn control_a_provider_that_ignores_the_context_does_not_conform() {
    let folder = tempfile::tempdir().unwrap();
    let local = local(folder.path());
    check_local(&local, &Careless(local.clone()));
}
