//! Root keys in the transit engine of OpenBao or HashiCorp Vault: they never leave it, and it sees 32 random bytes at a
//! time.

mod answers;
mod bodies;
mod builder;
mod client;
mod keys;
mod login;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use zeroize::Zeroizing;

pub use builder::TransitRootsBuilder;

use super::{
    Call, Connection, Guarded, RootDescription, RootError, RootId, RootKeys, WrapContext, WrapSecret, Wrapped,
};
use crate::clock::{Clock, Deadline};
use crate::https::Origin;
use answers::Fault;
use client::{Client, Reply, Request, Turn};
use keys::{Binding, Capabilities, KeyInfo};
use login::Login;

/// What connections and descriptions call this provider.
const PROVIDER: &str = "transit";
/// How long it is believed that a token can, or cannot, make keys by wrapping.
const CREATING_BELIEVED: Duration = Duration::from_secs(300);

/// Root keys in the transit engine of an OpenBao or a HashiCorp Vault.
///
/// Talks to the one host that it is given, over TLS, follows no redirect and heeds no proxy of the environment. Keys of
/// AES-GCM and ChaCha20-Poly1305 bind what they wrap to tenant, root and epoch as associated data, derived keys by
/// derivation; RSA keys cannot, and the key that is derived from the wrapped secret does. What a key and a token
/// need, and what each answer of a vault means, is in the [manual](crate::manual::roots).
///
/// Secrets are wiped from every buffer of ours. The HTTP and TLS libraries keep buffers of their own, which they do not
/// wipe; what passes there is one epoch's wrap secret of one tenant, or the token.
///
/// ```
/// # fn roots(ca: Vec<u8>, role_id: &str, secret_id: &str) -> strongroom::Result<strongroom::TransitRoots> {
/// strongroom::TransitRoots::builder("https://vault.customer.example:8200")
///     .ca_pem(ca)
///     .approle(role_id, secret_id)
///     .root("customer-a", "strongroom-root")
///     .build()
/// # }
/// ```
pub struct TransitRoots(Guarded<Transit>);

struct Transit {
    client: Client,
    login: Login,
    /// The key of each root.
    keys: BTreeMap<RootId, String>,
    address: Origin,
    mount: String,
    namespace: Option<String>,
    /// How each root binds what it wraps, once that is known. It is a property of a key for life.
    bindings: Mutex<BTreeMap<RootId, Binding>>,
    /// Whether our token can make a key by wrapping under a name that has none, and until when that is believed.
    creating: Mutex<BTreeMap<RootId, (bool, Deadline)>>,
    throttled_until_ms: AtomicU64,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct Encrypted<'r> {
    ciphertext: &'r str,
}

#[derive(Deserialize)]
struct Decrypted<'r> {
    plaintext: &'r str,
}

#[derive(Deserialize)]
struct EngineConfig {
    #[serde(default)]
    disable_upsert: bool,
}

impl TransitRoots {
    /// Begins to name a vault: `address` is `https://host` or `https://host:port`.
    pub fn builder(address: impl Into<String>) -> TransitRootsBuilder {
        TransitRootsBuilder::new(address.into())
    }

    /// The roots that it keeps, for [`RootSet::provider`](super::RootSet::provider).
    #[must_use]
    pub fn roots(&self) -> Vec<RootId> {
        self.0.provider().keys.keys().cloned().collect()
    }
}

impl Transit {
    fn key(&self, root: &RootId) -> Result<&str, RootError> {
        self.keys.get(root).map(String::as_str).ok_or(RootError::Disabled)
    }

    /// Asks with our token. A refusal counts after one fresh login that is refused too: our own token may have ended.
    fn ask(&self, request: &Request, turn: &Turn<'_>) -> Result<Result<Reply, Fault>, RootError> {
        let (token, is_fresh) = self.login.token(&self.client, turn)?;
        let reply = self.note(self.client.send(request, Some(&token.value), turn)?);
        match reply.check() {
            Ok(()) => return Ok(Ok(reply)),
            Err(Fault::Forbidden) if !is_fresh => {}
            Err(Fault::Forbidden) => return Err(RootError::Denied),
            Err(fault) => return Ok(Err(fault)),
        }
        let token = self.login.after(&token, &self.client, turn)?;
        let reply = self.note(self.client.send(request, Some(&token.value), turn)?);
        match reply.check() {
            Ok(()) => Ok(Ok(reply)),
            Err(Fault::Forbidden) => Err(RootError::Denied),
            Err(fault) => Ok(Err(fault)),
        }
    }

    fn note(&self, reply: Reply) -> Reply {
        let wait = reply.retry_after.filter(|_| matches!(reply.check(), Err(Fault::Root(RootError::Throttled))));
        let wait_ms = wait.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let until_ms = if wait_ms == 0 { 0 } else { self.clock.monotonic_ms().saturating_add(wait_ms) };
        self.throttled_until_ms.store(until_ms, Ordering::SeqCst);
        reply
    }

    fn read_key(&self, key: &str, turn: &Turn<'_>) -> Result<Result<KeyInfo, Fault>, RootError> {
        match self.ask(&Request::get(format!("{}/keys/{key}", self.mount)), turn)? {
            Ok(reply) => reply.data().map(Ok),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// How a root binds, asked once. `absent` is what it means that there is no such key.
    fn binding(&self, root: &RootId, absent: RootError, turn: &Turn<'_>) -> Result<Binding, RootError> {
        if let Some(&binding) = self.bindings.lock().unwrap_or_else(PoisonError::into_inner).get(root) {
            return Ok(binding);
        }
        let binding = self.read_key(self.key(root)?, turn)?.map_err(|fault| settle(fault, absent))?.binding()?;
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner).insert(root.clone(), binding);
        Ok(binding)
    }

    /// The key is of another kind than it was: another key, under the same name.
    fn forget_binding(&self, root: &RootId) {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner).remove(root);
    }

    /// Whether wrapping under a name that has no key would make one. If that cannot be found out, it is assumed.
    fn may_create(&self, root: &RootId, turn: &Turn<'_>) -> Result<bool, RootError> {
        let believed = self.creating.lock().unwrap_or_else(PoisonError::into_inner).get(root).copied();
        if let Some((may, _)) = believed.filter(|(_, until)| !until.has_passed(&*self.clock)) {
            return Ok(may);
        }
        let key = self.key(root)?;
        let capabilities = self.capabilities(&[keys::encrypt_path(&self.mount, key)], turn)?;
        let is_granted = capabilities.is_none_or(|granted| keys::may_create(&self.mount, key, &granted));
        let may = is_granted && !self.is_upsert_disabled(turn)?;
        let until = Deadline::after(&*self.clock, CREATING_BELIEVED);
        self.creating.lock().unwrap_or_else(PoisonError::into_inner).insert(root.clone(), (may, until));
        Ok(may)
    }

    fn is_upsert_disabled(&self, turn: &Turn<'_>) -> Result<bool, RootError> {
        match self.optional(&Request::get(format!("{}/config/keys", self.mount)), turn)? {
            Some(reply) => Ok(reply.data::<EngineConfig>()?.disable_upsert),
            None => Ok(false),
        }
    }

    /// What our token may do on these paths; `None` if it may not ask.
    fn capabilities(&self, paths: &[String], turn: &Turn<'_>) -> Result<Option<Capabilities>, RootError> {
        let listed = paths.iter().map(|path| format!("\"{path}\"")).collect::<Vec<_>>().join(",");
        let body = Zeroizing::new(format!("{{\"paths\":[{listed}]}}"));
        let request = Request::post("sys/capabilities-self".to_owned(), body);
        self.optional(&request, turn)?.map(|reply| reply.data()).transpose()
    }

    /// Asks what a token need not be allowed to know.
    fn optional(&self, request: &Request, turn: &Turn<'_>) -> Result<Option<Reply>, RootError> {
        match self.ask(request, turn) {
            Ok(Ok(reply)) => Ok(Some(reply)),
            Ok(Err(Fault::Root(error @ (RootError::Unreachable | RootError::Throttled)))) => Err(error),
            Ok(Err(_)) | Err(RootError::Denied) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn encrypt(
        &self,
        root: &RootId,
        secret: &WrapSecret,
        context: &WrapContext,
        turn: &Turn<'_>,
    ) -> Result<Wrapped, RootError> {
        let binding = self.binding(root, RootError::Disabled, turn)?;
        let body = bodies::encrypt(secret, binding, context);
        let path = keys::encrypt_path(&self.mount, self.key(root)?);
        match self.ask(&Request::post(path, body), turn)? {
            Ok(reply) => {
                let parsed = bodies::parse_ciphertext(reply.data::<Encrypted<'_>>()?.ciphertext);
                let (version, bytes) = parsed.ok_or(RootError::Unreachable)?;
                Ok(Wrapped { version: format!("v{version}"), bytes })
            }
            Err(fault) => {
                if fault == Fault::OtherKind {
                    self.forget_binding(root);
                }
                Err(settle(fault, RootError::Disabled))
            }
        }
    }

    /// A version that may not be used: switched off, or gone?
    fn too_old(&self, root: &RootId, version: u32, turn: &Turn<'_>) -> RootError {
        match self.key(root).and_then(|key| self.read_key(key, turn)) {
            Ok(Ok(info)) if info.min_available_version > version => RootError::Destroyed,
            _ => RootError::Disabled,
        }
    }

    fn location(&self) -> String {
        let namespace = self.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{}:{}/{namespace}{}", self.address.host, self.address.port, self.mount)
    }
}

/// What a fault means where it means nothing of its own: `absent` if there is no such key.
fn settle(fault: Fault, absent: RootError) -> RootError {
    match fault {
        Fault::Root(error) => error,
        Fault::Forbidden => RootError::Denied,
        Fault::Missing => absent,
        Fault::TooOld => RootError::Disabled,
        // It is asked anew what the key is.
        Fault::OtherKind => RootError::Unreachable,
    }
}

impl RootKeys for Transit {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        let turn = Turn::begin(context.call(), &*self.clock);
        let key = self.key(root)?;
        if !self.may_create(root, &turn)? {
            let wrapped = self.encrypt(root, secret, context, &turn);
            // A token that may not make keys is refused where there is none.
            if wrapped.as_ref().is_err_and(|error| *error == RootError::Denied)
                && matches!(self.read_key(key, &turn), Ok(Err(Fault::Missing)))
            {
                return Err(RootError::Disabled);
            }
            return wrapped;
        }
        // The vault would make a new key in the place of one that is gone: so it must be there before, and the same after.
        let look = || self.read_key(key, &turn)?.map_err(|fault| settle(fault, RootError::Disabled));
        let before = look()?;
        let wrapped = self.encrypt(root, secret, context, &turn)?;
        if !look()?.is_same_as(&before) {
            tracing::error!(call = %turn.call, root = root.as_str(),
                "a key was deleted while it wrapped, and the vault made another of its name; disable upsert");
            return Err(RootError::Destroyed);
        }
        Ok(wrapped)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        let turn = Turn::begin(context.call(), &*self.clock);
        let version = bodies::parse_version(&wrapped.version).ok_or(RootError::Tampered)?;
        // It has wrapped this, so it was there.
        let binding = self.binding(root, RootError::Destroyed, &turn)?;
        let body = bodies::decrypt(version, &wrapped.bytes, binding, context);
        let path = format!("{}/decrypt/{}", self.mount, self.key(root)?);
        match self.ask(&Request::post(path, body), &turn)? {
            Ok(reply) => bodies::parse_secret(reply.data::<Decrypted<'_>>()?.plaintext).ok_or(RootError::Tampered),
            Err(Fault::TooOld) => Err(self.too_old(root, version, &turn)),
            Err(Fault::OtherKind) => {
                self.forget_binding(root);
                Err(RootError::Tampered)
            }
            Err(fault) => Err(settle(fault, RootError::Destroyed)),
        }
    }

    fn describe(&self, root: &RootId, call: &Call) -> Result<RootDescription, RootError> {
        let turn = Turn::begin(call, &*self.clock);
        let key = self.key(root)?;
        let info = self.read_key(key, &turn)?.map_err(|fault| settle(fault, RootError::Disabled))?;
        if info.soft_deleted {
            return Err(RootError::Disabled);
        }
        let paths: Vec<String> = keys::paths(&self.mount, key).into_iter().map(|(path, _)| path).collect();
        let capabilities = self.capabilities(&paths, &turn)?;
        let may_create = capabilities.as_ref().is_none_or(|granted| keys::may_create(&self.mount, key, granted));
        let mut description = info.describe(self.location())?;
        description.recreates_missing_keys = Some(may_create && !self.is_upsert_disabled(&turn)?);
        description.rights = capabilities.map(|granted| keys::rights(&self.mount, key, &granted));
        Ok(description)
    }

    fn connections(&self) -> Vec<Connection> {
        let Origin { host, port, is_tls } = self.address.clone();
        vec![Connection::new(PROVIDER, host, port, "wrapping and unwrapping under root keys", is_tls)]
    }

    fn is_external(&self, root: &RootId) -> bool {
        self.keys.contains_key(root)
    }

    fn retry_after(&self, _: &RootId) -> Option<Duration> {
        let until_ms = self.throttled_until_ms.load(Ordering::SeqCst);
        let left_ms = until_ms.saturating_sub(self.clock.monotonic_ms());
        (left_ms > 0).then(|| Duration::from_millis(left_ms))
    }
}

impl RootKeys for TransitRoots {
    fn wrap(&self, root: &RootId, secret: &WrapSecret, context: &WrapContext) -> Result<Wrapped, RootError> {
        self.0.wrap(root, secret, context)
    }

    fn unwrap(&self, root: &RootId, wrapped: &Wrapped, context: &WrapContext) -> Result<WrapSecret, RootError> {
        self.0.unwrap(root, wrapped, context)
    }

    fn describe(&self, root: &RootId, call: &Call) -> Result<RootDescription, RootError> {
        self.0.describe(root, call)
    }

    fn connections(&self) -> Vec<Connection> {
        self.0.connections()
    }

    fn is_external(&self, root: &RootId) -> bool {
        self.0.is_external(root)
    }

    fn retry_after(&self, root: &RootId) -> Option<Duration> {
        self.0.retry_after(root)
    }

    fn locations(&self) -> Vec<&Path> {
        self.0.locations()
    }
}

impl std::fmt::Debug for TransitRoots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let transit = self.0.provider();
        f.debug_struct("TransitRoots").field("at", &transit.location()).field("keys", &transit.keys).finish()
    }
}
