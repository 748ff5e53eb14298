//! A real OpenBao, for the tests of root keys in a vault: started on loopback with TLS, in memory, ended when dropped.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom::{TransitRoots, TransitRootsBuilder};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const ROOT_TOKEN: &str = "root";
/// The policy that [`OpenBao::start`] makes: what a store needs, for every key.
pub const POLICY: &str = "strongroom";

/// A running OpenBao with an audit log and a transit engine.
pub struct OpenBao {
    child: Child,
    port: u16,
    agent: Agent,
    folder: tempfile::TempDir,
}

impl OpenBao {
    /// Starts one. `None` where there is no program to start, which is said loudly; under CI that fails.
    pub fn start() -> Option<Self> {
        let program = program()?;
        // The port may be taken between finding and using it.
        let bao = (0..5).find_map(|_| Self::try_start(&program)).expect("an OpenBao that starts");
        bao.must("POST", "sys/mounts/transit", &json!({"type": "transit"}));
        bao.must("POST", "sys/config/auditing/request-headers/X-Correlation-Id", &json!({"hmac": false}));
        bao.must("POST", "sys/auth/approle", &json!({"type": "approle"}));
        bao.policy(POLICY, "*");
        Some(bao)
    }

    fn try_start(program: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (tls, config) = (folder.path().join("tls"), folder.path().join("config.hcl"));
        fs::create_dir(&tls).expect("a folder");
        let audit = folder.path().join("audit.log");
        fs::write(
            &config,
            format!("audit \"file\" \"file\" {{\n options {{ file_path = \"{}\" }}\n}}\n", audit.display()),
        )
        .expect("a configuration");
        let port = free_port();
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut child = Command::new(program)
            .args(["server", "-dev", "-dev-tls", "-dev-no-store-token"])
            .arg(format!("-dev-tls-cert-dir={}", tls.display()))
            .arg(format!("-config={}", config.display()))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("a program that starts");
        // It writes its certificates before it listens.
        let is_up = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            tls.join("vault-ca.pem").exists() && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
                || child.try_wait().expect("a child").is_some()
        });
        if !is_up || child.try_wait().expect("a child").is_some() {
            drop(child.kill());
            drop(child.wait());
            return None;
        }
        let agent = agent(&fs::read(tls.join("vault-ca.pem")).expect("a certificate"));
        let bao = Self { child, port, agent, folder };
        (0..600)
            .any(|_| {
                std::thread::sleep(Duration::from_millis(20));
                bao.try_call("GET", "sys/health", &Value::Null).is_some_and(|(status, _)| status == 200)
            })
            .then_some(bao)
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn ca_pem(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("tls/vault-ca.pem")).expect("a certificate")
    }

    /// Asks with the root token; the status and the answer.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.try_call(method, path, body).expect("an answer")
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let url = format!("{}/v1/{path}", self.address());
        let token = ("X-Vault-Token", ROOT_TOKEN);
        let response = match method {
            "GET" => self.agent.get(url).header(token.0, token.1).call(),
            "DELETE" => self.agent.delete(url).header(token.0, token.1).call(),
            "PUT" => self.agent.put(url).header(token.0, token.1).send(body.to_string()),
            _ => self.agent.post(url).header(token.0, token.1).send(body.to_string()),
        };
        let mut response = response.ok()?;
        let text = response.body_mut().read_to_string().expect("text");
        Some((response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// The same, of what cannot fail.
    pub fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Makes a key: `aes256-gcm96`, `rsa-4096`, or `derived` for AES with derivation.
    pub fn make_key(&self, name: &str, kind: &str) {
        let body = match kind {
            "derived" => json!({"type": "aes256-gcm96", "derived": true}),
            kind => json!({"type": kind}),
        };
        self.must("POST", &format!("transit/keys/{name}"), &body);
    }

    pub fn rotate(&self, name: &str) {
        self.must("POST", &format!("transit/keys/{name}/rotate"), &json!({}));
    }

    /// Disables a key, so that [`restore`](Self::restore) can enable it again.
    pub fn soft_delete(&self, name: &str) {
        self.must("DELETE", &format!("transit/keys/{name}/soft-delete"), &Value::Null);
    }

    pub fn restore(&self, name: &str) {
        self.must("POST", &format!("transit/keys/{name}/soft-delete-restore"), &json!({}));
    }

    /// Deletes a key for ever.
    pub fn delete(&self, name: &str) {
        self.configure(name, &json!({"deletion_allowed": true}));
        self.must("DELETE", &format!("transit/keys/{name}"), &Value::Null);
    }

    pub fn configure(&self, name: &str, config: &Value) {
        self.must("POST", &format!("transit/keys/{name}/config"), config);
    }

    pub fn set_min_decryption_version(&self, name: &str, version: u32) {
        self.configure(name, &json!({"min_decryption_version": version}));
    }

    /// Destroys the versions of a key before this one.
    pub fn trim(&self, name: &str, version: u32) {
        self.configure(name, &json!({"min_decryption_version": version, "min_encryption_version": version}));
        self.must("POST", &format!("transit/keys/{name}/trim"), &json!({"min_available_version": version}));
    }

    /// Whether wrapping under a name that has no key makes one, as it does unless it is told not to.
    pub fn set_upsert(&self, is_on: bool) {
        self.must("POST", "transit/config/keys", &json!({"disable_upsert": !is_on}));
    }

    /// From now on it answers 503 to everybody.
    pub fn seal(&self) {
        self.must("PUT", "sys/seal", &json!({}));
    }

    pub fn unseal(&self) {
        let log = fs::read_to_string(self.folder.path().join("log")).expect("a log");
        let key = log.lines().find_map(|line| line.trim().strip_prefix("Unseal Key: ")).expect("a key in the log");
        self.must("PUT", "sys/unseal", &json!({"key": key}));
    }

    /// Makes or changes a policy: what a store needs with the key `key` (`*` for all), and no more.
    pub fn policy(&self, name: &str, key: &str) {
        let allow = |path: &str, capability: &str| {
            format!("path \"transit/{path}/{key}\" {{ capabilities = [\"{capability}\"] }}\n")
        };
        let text = allow("encrypt", "update") + &allow("decrypt", "update") + &allow("keys", "read");
        self.set_policy(name, &text);
    }

    pub fn set_policy(&self, name: &str, text: &str) {
        self.must("PUT", &format!("sys/policies/acl/{name}"), &json!({"policy": text}));
    }

    /// A token with this policy, and `default`.
    pub fn token(&self, policy: &str, ttl: &str) -> String {
        let answer = self.must("POST", "auth/token/create", &json!({"policies": [policy], "ttl": ttl}));
        answer["auth"]["client_token"].as_str().expect("a token").to_owned()
    }

    pub fn revoke(&self, token: &str) {
        self.must("POST", "auth/token/revoke", &json!({"token": token}));
    }

    /// Makes a role whose tokens live for `ttl`, and returns its id and secret id.
    pub fn approle(&self, role: &str, policy: &str, ttl: &str) -> (String, String) {
        let path = format!("auth/approle/role/{role}");
        self.must("POST", &path, &json!({"token_policies": [policy], "token_ttl": ttl, "token_max_ttl": ttl}));
        let text = |answer: Value, name: &str| answer["data"][name].as_str().expect("an id").to_owned();
        let role_id = text(self.must("GET", &format!("{path}/role-id"), &Value::Null), "role_id");
        (role_id, text(self.must("POST", &format!("{path}/secret-id"), &json!({})), "secret_id"))
    }

    /// From now on the role logs nobody in.
    pub fn delete_approle(&self, role: &str) {
        self.must("DELETE", &format!("auth/approle/role/{role}"), &Value::Null);
    }

    /// Makes a role that was deleted again, with the ids that it had.
    pub fn restore_approle(&self, role: &str, policy: &str, ttl: &str, (role_id, secret_id): &(String, String)) {
        self.approle(role, policy, ttl);
        let path = format!("auth/approle/role/{role}");
        self.must("POST", &format!("{path}/role-id"), &json!({"role_id": role_id}));
        self.must("POST", &format!("{path}/custom-secret-id"), &json!({"secret_id": secret_id}));
    }

    /// Makes it an identity provider, and returns the issuer that its tokens name.
    pub fn start_issuing(&self) -> String {
        self.must("POST", "identity/oidc/config", &json!({"issuer": self.address()}));
        self.must("POST", "sys/auth/userpass", &json!({"type": "userpass"}));
        let policy = "path \"identity/oidc/token/*\" { capabilities = [\"read\"] }";
        self.set_policy("tokens", policy);
        format!("{}/v1/identity/oidc", self.address())
    }

    /// Makes a role whose tokens are for `audience` and live for `ttl`, signed with a key of this algorithm, and that key if
    /// it is not there. Tenant and role of a token are those of the entity.
    pub fn make_issuing_role(&self, role: &str, algorithm: &str, audience: &str, ttl: &str) {
        let key = format!("identity/oidc/key/{algorithm}");
        if self.call("GET", &key, &Value::Null).0 != 200 {
            let key_body = json!({"algorithm": algorithm, "allowed_client_ids": "*", "verification_ttl": "24h"});
            self.must("POST", &key, &key_body);
        }
        let template = r#"{"tid": {{identity.entity.metadata.tid}}, "roles": [{{identity.entity.metadata.role}}],
            "nbf": {{time.now}}}"#;
        let body = json!({"key": algorithm, "ttl": ttl, "client_id": audience, "template": template});
        self.must("POST", &format!("identity/oidc/role/{role}"), &body);
    }

    /// Makes somebody with these metadata who can log in, and logs in.
    pub fn login_for_tokens(&self, name: &str, metadata: &Value) -> String {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let mounts = self.must("GET", "sys/auth", &Value::Null);
        let accessor = text(&mounts["data"]["userpass/"]["accessor"]);
        let entity = self.must("POST", "identity/entity", &json!({"name": name, "metadata": metadata}));
        let alias = json!({"name": name, "canonical_id": entity["data"]["id"], "mount_accessor": accessor});
        self.must("POST", "identity/entity-alias", &alias);
        let password = json!({"password": "a password of a test", "token_policies": "tokens"});
        self.must("POST", &format!("auth/userpass/users/{name}"), &password);
        text(&self.must("POST", &format!("auth/userpass/login/{name}"), &password)["auth"]["client_token"])
    }

    /// A token of this role about whoever has logged in.
    pub fn issue(&self, login: &str, role: &str) -> String {
        let url = format!("{}/v1/identity/oidc/token/{role}", self.address());
        let mut response = self.agent.get(url).header("X-Vault-Token", login).call().expect("an answer");
        let answer: Value = serde_json::from_str(&response.body_mut().read_to_string().expect("text")).expect("JSON");
        answer["data"]["token"].as_str().expect("a token").to_owned()
    }

    /// What the audit log holds: requests and responses, oldest first.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("audit.log")).expect("an audit log");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The requests of the audit log below `transit/<operation>/`, each with its correlation id (empty if it had none).
    pub fn audited(&self, operation: &str) -> Vec<String> {
        let start = format!("transit/{operation}/");
        let is_asked = |line: &&Value| {
            line["type"] == "request" && line["request"]["path"].as_str().is_some_and(|path| path.starts_with(&start))
        };
        let id = |line: &Value| line["request"]["headers"]["x-correlation-id"][0].as_str().unwrap_or("").to_owned();
        self.audit().iter().filter(is_asked).map(id).collect()
    }

    /// An agent that reaches it, and where it is, for what stands in between.
    pub fn upstream(&self) -> (Agent, String) {
        (self.agent.clone(), self.address())
    }

    /// Root keys here, without a login and without roots.
    pub fn builder(&self) -> TransitRootsBuilder {
        TransitRoots::builder(self.address()).ca_pem(self.ca_pem())
    }

    /// The key `key` as the root `root`, with a token of [`POLICY`].
    pub fn roots(&self, root: &str, key: &str) -> TransitRoots {
        self.builder().token(self.token(POLICY, "1h")).root(root, key).build().expect("root keys")
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An agent that believes these certificates and no others.
fn agent(ca_pem: &[u8]) -> Agent {
    let certificate = Certificate::from_pem(ca_pem).expect("a certificate");
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&[certificate]))
        .build();
    let config = Agent::config_builder().http_status_as_error(false).proxy(None).tls_config(tls);
    config.timeout_global(Some(Duration::from_secs(60))).build().new_agent()
}

/// A port that is free, and the next one too, which an OpenBao takes for its cluster.
fn free_port() -> u16 {
    let listen = |port| TcpListener::bind(("127.0.0.1", port));
    let pair = (0..100).find_map(|_| {
        let first = listen(0).ok()?;
        let port = first.local_addr().ok()?.port();
        listen(port.checked_add(1)?).ok().map(|_| port)
    });
    pair.expect("two free ports")
}

fn program() -> Option<PathBuf> {
    let named = std::env::var_os("STRONGROOM_BAO").map(PathBuf::from);
    let on_path = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|folder| folder.join("bao")).find(|bao| bao.is_file()));
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools");
    let installed = || {
        let found = fs::read_dir(tools).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bao")));
        found.into_iter().find(|bao| bao.is_file())
    };
    let program = named.or(on_path).or_else(installed);
    if program.is_none() {
        let reason = "SKIPPED: tests of root keys in a vault, because there is no OpenBao: run .ci/openbao, or name one in STRONGROOM_BAO";
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        // Past the harness, which shows only what failing tests say.
        drop(writeln!(std::io::stderr().lock(), "{reason}"));
    }
    program
}
