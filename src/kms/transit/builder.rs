//! How a vault is named: everything that is talked to, and nothing else, stands here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use zeroize::Zeroizing;

use super::bodies::is_plain;
use super::client::Client;
use super::login::{Credential, Login};
use super::{Transit, TransitRoots};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::https::Origin;
use crate::kms::{Guarded, RootId};

/// How root keys in a vault are reached. See [`TransitRoots::builder`].
#[must_use = "a builder does nothing until it builds"]
pub struct TransitRootsBuilder {
    address: String,
    credential: Option<Credential>,
    login_mount: String,
    ca_pem: Option<Vec<u8>>,
    mount: String,
    namespace: Option<String>,
    roots: Vec<(String, String)>,
    is_plain_http_allowed: bool,
    clock: Arc<dyn Clock>,
}

impl TransitRootsBuilder {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            credential: None,
            login_mount: "approle".to_owned(),
            ca_pem: None,
            mount: "transit".to_owned(),
            namespace: None,
            roots: Vec::new(),
            is_plain_http_allowed: false,
            clock: SystemClock::new(),
        }
    }

    /// Uses this token as it is, and never another: it is not renewed, and when it ends the roots are
    /// [`Denied`](crate::RootError::Denied). For tools and tests; a service logs in.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.credential = Some(Credential::Token(Zeroizing::new(token.into())));
        self
    }

    /// Uses the token in a file that an agent of the vault keeps fresh. The file is read again when its token is refused.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credential = Some(Credential::TokenFile(path.into()));
        self
    }

    /// Logs in as an AppRole, again before each token ends and once more when one is refused. The secret id must be
    /// good for many uses.
    pub fn approle(mut self, role_id: impl Into<String>, secret_id: impl Into<String>) -> Self {
        let (role_id, secret_id) = (role_id.into(), Zeroizing::new(secret_id.into()));
        self.credential = Some(Credential::AppRole { mount: String::new(), role_id, secret_id });
        self
    }

    /// Where AppRole is mounted; `approle` unless said otherwise.
    pub fn approle_mount(mut self, mount: impl Into<String>) -> Self {
        self.login_mount = mount.into();
        self
    }

    /// The certificates, in PEM, of the authorities that may vouch for the vault. There are no others: for a vault with
    /// a certificate of a public authority, give the bundle of the operating system.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Where the transit engine is mounted; `transit` unless said otherwise.
    pub fn mount(mut self, mount: impl Into<String>) -> Self {
        self.mount = mount.into();
        self
    }

    /// The namespace of the vault that engine and login are in.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Names a root key, and the key of the vault that it is. May be called several times.
    pub fn root(mut self, id: impl Into<String>, key: impl Into<String>) -> Self {
        self.roots.push((id.into(), key.into()));
        self
    }

    /// Lets the address be `http://` and a loopback address (127.0.0.0/8 or `::1`), for a proxy or agent on this machine:
    /// whoever can listen on this machine's loopback sees the secrets.
    pub fn danger_plain_http_on_loopback(mut self) -> Self {
        self.is_plain_http_allowed = true;
        self
    }

    /// The clock that deadlines are held to; that of the operating system unless said otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The provider, guarded (see [`Guarded`]). Nothing is asked yet.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for an address that is not a bare `https://host[:port]`, without a login,
    /// without a certificate of an authority, for names that a path cannot hold, and for a root that is named twice.
    pub fn build(self) -> Result<TransitRoots> {
        let address = Origin::parse("the address of a vault", &self.address, self.is_plain_http_allowed)?;
        if address.is_tls && self.ca_pem.is_none() {
            return Err(Error::invalid("the authority that vouches for a vault must be named"));
        }
        for path in [Some(&self.mount), Some(&self.login_mount), self.namespace.as_ref()].into_iter().flatten() {
            check_path(path)?;
        }
        let client = Client::new(&address, self.ca_pem.as_deref(), self.namespace.as_deref())?;
        let credential = check_credential(self.credential, self.login_mount)?;
        let transit = Transit {
            client,
            login: Login::new(credential, self.clock.clone()),
            keys: read_roots(self.roots)?,
            address,
            mount: self.mount,
            namespace: self.namespace,
            bindings: Mutex::default(),
            creating: Mutex::default(),
            throttled_until_ms: AtomicU64::new(0),
            clock: self.clock.clone(),
        };
        Ok(TransitRoots(Guarded::new(transit).clock(self.clock)))
    }
}

fn read_roots(named: Vec<(String, String)>) -> Result<BTreeMap<RootId, String>> {
    let mut roots = BTreeMap::new();
    for (id, key) in named {
        if !is_plain(&key, 128) {
            return Err(Error::invalid("a key of a vault has 1 to 128 letters, digits, '-', '_' and '.'"));
        }
        if roots.insert(RootId::new(id)?, key).is_some() {
            return Err(Error::invalid("a root key is named twice"));
        }
    }
    if roots.is_empty() {
        return Err(Error::invalid("no key of the vault is named"));
    }
    Ok(roots)
}

fn check_credential(credential: Option<Credential>, login_mount: String) -> Result<Credential> {
    match credential {
        None => Err(Error::invalid("a vault needs a token or an AppRole")),
        Some(Credential::AppRole { role_id, secret_id, .. }) => {
            if !is_plain(&role_id, 256) || !is_plain(&secret_id, 256) {
                return Err(Error::invalid(
                    "a role id or secret id of an AppRole has letters, digits, '-', '_' and '.'",
                ));
            }
            Ok(Credential::AppRole { mount: login_mount, role_id, secret_id })
        }
        Some(Credential::Token(token)) => {
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Error::invalid("a token of a vault has visible characters only"));
            }
            Ok(Credential::Token(token))
        }
        Some(Credential::TokenFile(path)) => Ok(Credential::TokenFile(path)),
    }
}

fn check_path(path: &str) -> Result<()> {
    if path.len() <= 256 && path.split('/').all(|part| is_plain(part, 128)) {
        return Ok(());
    }
    Err(Error::invalid("a mount or namespace of a vault has parts of letters, digits, '-', '_' and '.', joined by '/'"))
}

impl std::fmt::Debug for TransitRootsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransitRootsBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::kms::RootKeys;

    fn good() -> TransitRootsBuilder {
        TransitRoots::builder("http://127.0.0.1:8200").danger_plain_http_on_loopback().token("t").root("a", "key-a")
    }

    #[test]
    fn what_is_not_named_in_full_is_refused() {
        let refused = |builder: TransitRootsBuilder| builder.build().err().map(|error| error.kind());
        assert_eq!(refused(good()), None, "the control");
        let invalid = Some(ErrorKind::Invalid);
        assert_eq!(refused(good().root("a", "again")), invalid);
        assert_eq!(refused(good().root("b", "../keys")), invalid);
        assert_eq!(refused(good().root("B", "key")), invalid);
        assert_eq!(refused(good().mount("a/../b")), invalid);
        assert_eq!(refused(good().mount("/a")), invalid);
        assert_eq!(refused(good().namespace("a b")), invalid);
        assert_eq!(refused(good().approle("role", "secret\"")), invalid);
        assert_eq!(refused(good().token("two\nlines")), invalid);
        assert_eq!(refused(TransitRoots::builder("https://vault.example").token("t").root("a", "a")), invalid, "no CA");
        let pem = "no certificate";
        assert_eq!(refused(TransitRoots::builder("https://v.example").ca_pem(pem).token("t").root("a", "a")), invalid);
        let plain = |address| TransitRoots::builder(address).danger_plain_http_on_loopback().ca_pem(pem);
        assert_eq!(refused(plain("http://127.0.0.1").root("a", "a")), invalid, "no login");
        assert_eq!(refused(plain("http://127.0.0.1").token("t")), invalid, "no root");
        assert_eq!(refused(plain("http://vault.example").token("t").root("a", "a")), invalid);
    }

    #[test]
    fn the_one_host_is_listed_and_no_secret_is_shown() {
        let roots = good().token("s.secret").build().unwrap();
        let [connection] = &roots.connections()[..] else { panic!("one connection") };
        assert_eq!((connection.host.as_str(), connection.port, connection.is_tls), ("127.0.0.1", 8200, false));
        assert!(!format!("{roots:?} {:?}", good().token("s.secret")).contains("s.secret"));
    }
}
