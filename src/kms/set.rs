//! Several keepers of root keys in one store, each asked for its own roots and no others.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Call, Connection, LocalRoots, RootDescription, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped,
};
use crate::error::{Error, Result};

/// Root keys of several providers, in one store.
///
/// A root goes to the provider that was named for exactly its id, and every other root to the local ones, if there are
/// any. A root that nobody keeps is [`Disabled`](RootError::Disabled), which is a refusal and no outage: to take a
/// provider out of a configuration must not look like a network that fails, for that is what a recovery root is for.
/// The refusal ends when the provider is named again.
///
/// ```
/// # use strongroom::{LocalRoots, RootSet};
/// # fn roots(customer: impl strongroom::RootKeys, keys: &std::path::Path) -> strongroom::Result<RootSet> {
/// let service = LocalRoots::open_with_root(keys, "service")?;
/// RootSet::new().provider(["customer-a", "customer-b"], customer)?.local(service)
/// # }
/// ```
#[derive(Default)]
pub struct RootSet {
    local: Option<Arc<LocalRoots>>,
    providers: Vec<Arc<dyn RootKeys>>,
    /// The place of each named root's provider.
    routes: BTreeMap<RootId, usize>,
}

impl RootSet {
    /// No roots yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the local roots, which answer for every id that is not named for another provider, also for roots that
    /// are made later.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if there are local roots already, or one of these is named for a
    /// provider.
    pub fn local(mut self, roots: impl Into<Arc<LocalRoots>>) -> Result<Self> {
        if self.local.replace(roots.into()).is_some() {
            return Err(Error::invalid("a set of root keys has one folder of local ones"));
        }
        self.check_distinct()
    }

    /// Adds a provider, and says which roots it keeps.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if an id breaks the rule of [`RootId::new`] or is taken by another
    /// provider or a local root.
    pub fn provider<Id: AsRef<str>>(
        mut self,
        ids: impl IntoIterator<Item = Id>,
        provider: impl RootKeys,
    ) -> Result<Self> {
        for id in ids {
            if self.routes.insert(RootId::new(id.as_ref())?, self.providers.len()).is_some() {
                return Err(Error::invalid("a root key is named for two providers"));
            }
        }
        self.providers.push(Arc::new(provider));
        self.check_distinct()
    }

    fn check_distinct(self) -> Result<Self> {
        let is_named = |root: &RootId| self.routes.contains_key(root);
        if self.local.iter().flat_map(|local| local.roots()).any(|root| is_named(&root)) {
            return Err(Error::invalid("a root key that is named for a provider is among the local ones too"));
        }
        Ok(self)
    }

    fn keeper(&self, root: &RootId) -> Result<&dyn RootKeys, RootError> {
        match (self.routes.get(root), &self.local) {
            (Some(&place), _) => Ok(&*self.providers[place]),
            (None, Some(local)) => Ok(&**local),
            (None, None) => Err(RootError::Disabled),
        }
    }
}

impl RootKeys for RootSet {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.keeper(root)?.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.keeper(root)?.unwrap(root, wrapped, context)
    }

    fn describe(&self, root: &RootId, call: &Call) -> Result<RootDescription, RootError> {
        self.keeper(root)?.describe(root, call)
    }

    fn connections(&self) -> Vec<Connection> {
        let mut connections: Vec<_> = self.providers.iter().flat_map(RootKeys::connections).collect();
        connections.sort();
        connections.dedup();
        connections
    }

    fn is_external(&self, root: &RootId) -> bool {
        self.keeper(root).is_ok_and(|keeper| keeper.is_external(root))
    }

    fn retry_after(&self, root: &RootId) -> Option<Duration> {
        self.keeper(root).ok()?.retry_after(root)
    }

    fn locations(&self) -> Vec<&Path> {
        let local = self.local.iter().flat_map(|local| local.locations());
        local.chain(self.providers.iter().flat_map(|provider| provider.locations())).collect()
    }
}

impl std::fmt::Debug for RootSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named: Vec<_> = self.routes.keys().map(RootId::as_str).collect();
        f.debug_struct("RootSet").field("named", &named).field("local", &self.local).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::kms::check_root;

    fn local(folder: &Path, roots: &[&str]) -> LocalRoots {
        let local = LocalRoots::open(folder).unwrap();
        roots.iter().for_each(|root| drop(local.generate(&RootId::new(*root).unwrap()).unwrap()));
        local
    }

    /// A provider somewhere else, with local keys.
    struct Elsewhere(LocalRoots, &'static str);

    impl RootKeys for Elsewhere {
        fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
            self.0.wrap(root, secret, context)
        }

        fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
            self.0.unwrap(root, wrapped, context)
        }

        fn connections(&self) -> Vec<Connection> {
            vec![Connection::new("elsewhere", self.1, 443, "root keys", true)]
        }
    }

    #[test]
    fn each_root_is_asked_of_its_own_provider() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let set = RootSet::new()
            .provider(["a"], Elsewhere(local(&at("a"), &["a", "b"]), "a.example"))
            .unwrap()
            .provider(["b"], Elsewhere(local(&at("b"), &["b"]), "b.example"))
            .unwrap()
            .local(local(&at("keys"), &["service"]))
            .unwrap();
        let id = |name: &str| RootId::new(name).unwrap();
        for root in ["a", "b", "service"] {
            let check = check_root(&set, &id(root)).unwrap();
            assert_eq!(set.is_external(&id(root)), root != "service");
            assert_eq!(check.calls.len(), if root == "service" { 0 } else { 5 }, "calls that left the process");
        }
        let hosts: Vec<_> = set.connections().into_iter().map(|connection| connection.host).collect();
        assert_eq!(hosts, ["a.example", "b.example"]);
        assert_eq!(set.locations(), [at("keys").canonicalize().unwrap()]);
        // b's secret, which a could unwrap with a key of the same name, is asked of b.
        let context = WrapContext::new([1; 16], id("b"), 1, Call::new().unwrap());
        let secret = WrapSecret::from_slice(&[7; 32]).unwrap();
        let wrapped = set.wrap(&id("b"), &secret, &context).unwrap();
        assert_eq!(local(&at("a"), &[]).unwrap(&id("b"), &wrapped, &context).unwrap_err(), RootError::Tampered);
        let context = WrapContext::new([1; 16], id("nobody"), 1, Call::new().unwrap());
        assert_eq!(set.wrap(&id("nobody"), &secret, &context).unwrap_err(), RootError::Disabled);
        assert_eq!(RootSet::new().wrap(&id("a"), &secret, &context).unwrap_err(), RootError::Disabled);
    }

    #[test]
    fn a_root_has_one_keeper() {
        let folder = tempfile::tempdir().unwrap();
        let keys = || local(&folder.path().join("keys"), &[]);
        local(&folder.path().join("keys"), &["service"]);
        let kind = |result: Result<RootSet>| result.unwrap_err().kind();
        assert_eq!(kind(RootSet::new().provider(["a", "a"], keys())), ErrorKind::Invalid);
        assert_eq!(kind(RootSet::new().provider(["a"], keys()).unwrap().provider(["a"], keys())), ErrorKind::Invalid);
        assert_eq!(kind(RootSet::new().local(keys()).unwrap().provider(["service"], keys())), ErrorKind::Invalid);
        assert_eq!(kind(RootSet::new().provider(["service"], keys()).unwrap().local(keys())), ErrorKind::Invalid);
        assert_eq!(kind(RootSet::new().local(keys()).unwrap().local(keys())), ErrorKind::Invalid);
        assert_eq!(kind(RootSet::new().provider(["Not a name"], keys())), ErrorKind::Invalid);
    }
}
