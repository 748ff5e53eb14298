//! Root keys that remember what they were asked.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use strongroom::{LocalRoots, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped};

/// Local root keys, and everything that passed through them. Clones see the same.
#[derive(Clone)]
pub struct Witness {
    roots: Arc<LocalRoots>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    wrapped: Vec<([u8; 32], Vec<u8>)>,
    unwraps: usize,
    contexts: BTreeSet<Vec<u8>>,
}

impl Witness {
    /// Those in `folder`, with a root `service`.
    pub fn of(folder: &Path) -> Self {
        let roots = LocalRoots::open_with_root(folder, "service").expect("root keys");
        Self { roots: Arc::new(roots), seen: Arc::default() }
    }

    /// Every secret that was wrapped, and what came of it.
    pub fn wrapped(&self) -> Vec<([u8; 32], Vec<u8>)> {
        self.seen.lock().unwrap().wrapped.clone()
    }

    /// How many distinct contexts secrets were wrapped for.
    pub fn contexts(&self) -> usize {
        self.seen.lock().unwrap().contexts.len()
    }

    /// How often the roots were asked to unwrap since this was last asked.
    pub fn take_unwraps(&self) -> usize {
        std::mem::take(&mut self.seen.lock().unwrap().unwraps)
    }
}

impl RootKeys for Witness {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        let wrapped = self.roots.wrap(root, secret, context)?;
        let mut seen = self.seen.lock().unwrap();
        seen.wrapped.push((*secret.expose_secret(), wrapped.bytes.clone()));
        seen.contexts.insert(context.associated_data());
        Ok(wrapped)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.seen.lock().unwrap().unwraps += 1;
        self.roots.unwrap(root, wrapped, context)
    }

    fn locations(&self) -> Vec<&Path> {
        self.roots.locations()
    }
}
