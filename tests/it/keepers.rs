//! Root keys in local files that answer as they are told to, each for itself, and count how often they are asked: for tests
//! of what a store makes of an answer. What a provider makes of its network is tested with real ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use strongroom::{CallId, LocalRoots, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};

/// A cheap handle: whoever holds one tells the others' root keys what to answer.
#[derive(Clone)]
pub struct Keepers(Arc<Shared>);

struct Shared {
    local: LocalRoots,
    /// Whether their names begin with `far` that leave the process.
    told: Mutex<BTreeMap<String, RootError>>,
    asked: Mutex<Vec<Asked>>,
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub root: String,
    pub operation: &'static str,
    pub id: CallId,
}

impl Keepers {
    /// The root keys in a folder, made if they are not there.
    pub fn open(folder: &Path, roots: &[&str]) -> Self {
        let local = LocalRoots::open(folder).unwrap();
        let there = local.roots();
        let missing = roots.iter().map(|root| id(root)).filter(|root| !there.contains(root));
        missing.for_each(|root| drop(local.generate(&root).unwrap()));
        Self(Arc::new(Shared { local, told: Mutex::default(), asked: Mutex::default() }))
    }

    /// From now on `root` answers with this, or as it is.
    pub fn tell(&self, root: &str, answer: impl Into<Option<RootError>>) {
        let mut told = self.0.told.lock().unwrap();
        match answer.into() {
            Some(answer) => drop(told.insert(root.to_owned(), answer)),
            None => drop(told.remove(root)),
        }
    }

    /// What has been asked since this was last called.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked())
    }

    /// How often each root was asked to unwrap since this was last called.
    pub fn take_unwraps(&self) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        let unwraps = self.take_asked().into_iter().filter(|asked| asked.operation == "unwrap");
        unwraps.for_each(|asked| *counts.entry(asked.root).or_default() += 1);
        counts
    }

    pub fn generate(&self, root: &str) {
        self.0.local.generate(&id(root)).unwrap();
    }

    fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.0.asked.lock().unwrap()
    }

    fn answer<T>(
        &self,
        root: &RootId,
        operation: &'static str,
        context: &WrapContext,
        answer: impl FnOnce() -> Result<T, RootError>,
    ) -> Result<T, RootError> {
        self.asked().push(Asked { root: root.as_str().to_owned(), operation, id: context.call().id() });
        let told = self.0.told.lock().unwrap().get(root.as_str()).copied();
        told.map_or_else(answer, Err)
    }
}

impl RootKeys for Keepers {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.answer(root, "wrap", context, || self.0.local.wrap(root, secret, context))
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.answer(root, "unwrap", context, || self.0.local.unwrap(root, wrapped, context))
    }

    fn is_external(&self, root: &RootId) -> bool {
        root.as_str().starts_with("far")
    }
}

fn id(root: &str) -> RootId {
    RootId::new(root).unwrap()
}
