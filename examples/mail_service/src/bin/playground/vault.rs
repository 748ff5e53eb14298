//! The identity provider of the playground and of the tests: a real OpenBao on loopback, with TLS, in memory.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_service::identity;
use mail_service::serve::Failure;
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

const ROOT_TOKEN: &str = "root";
/// The tenant claim comes from the entity, the roles are its groups (OpenBao sets `sub`, `aud`, `iss`, `exp` and `iat`).
const TEMPLATE: &str = r#"{"tid": {{identity.entity.metadata.tid}}, "name": {{identity.entity.name}},
    "roles": {{identity.entity.groups.names}}, "nbf": {{time.now}}}"#;

/// A running OpenBao that issues tokens. It ends when it is dropped.
pub struct Vault {
    child: Child,
    folder: TempDir,
    agent: Agent,
    /// `https://127.0.0.1:port`.
    pub address: String,
    /// Entities by group, as groups are written as a whole.
    groups: Vec<(String, Vec<String>)>,
}

impl Vault {
    /// Starts one. `None` if there is no program to start.
    pub fn start() -> Result<Option<Self>, Failure> {
        let Some(program) = program() else { return Ok(None) };
        // A port may be taken between finding and using it.
        for _ in 0..5 {
            if let Some(vault) = Self::try_start(&program)? {
                vault.prepare()?;
                return Ok(Some(vault));
            }
        }
        Err(format!("{} does not start", program.display()).into())
    }

    fn try_start(program: &Path) -> Result<Option<Self>, Failure> {
        let folder = tempfile::tempdir()?;
        let tls = folder.path().join("tls");
        fs::create_dir(&tls)?;
        let (port, log) = (free_port()?, File::create(folder.path().join("log"))?);
        let mut child = Command::new(program)
            .args(["server", "-dev", "-dev-tls", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
            .arg(format!("-dev-tls-cert-dir={}", tls.display()))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let ca = tls.join("vault-ca.pem");
        let is_up = (0..600).any(|_| {
            thread::sleep(Duration::from_millis(20));
            ca.exists() && TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        if !is_up || child.try_wait()?.is_some() {
            drop(child.kill());
            drop(child.wait());
            return Ok(None);
        }
        let (agent, address) = (identity::agent(&fs::read(ca)?)?, format!("https://127.0.0.1:{port}"));
        let vault = Self { child, folder, agent, address, groups: Vec::new() };
        let is_ready = (0..600).any(|_| {
            thread::sleep(Duration::from_millis(20));
            vault.ask("GET", "sys/health", &Value::Null).is_ok()
        });
        Ok(is_ready.then_some(vault))
    }

    /// The issuer, its role for the service, and a way to sign in.
    fn prepare(&self) -> Result<(), Failure> {
        self.ask("POST", "identity/oidc/config", &json!({"issuer": self.address}))?;
        let key = json!({"algorithm": "ES256", "allowed_client_ids": "*", "verification_ttl": "2h"});
        self.ask("POST", "identity/oidc/key/mail", &key)?;
        let role = json!({"key": "mail", "ttl": "1h", "client_id": "mail", "template": STANDARD.encode(TEMPLATE)});
        self.ask("POST", "identity/oidc/role/mail", &role)?;
        let policy = r#"path "identity/oidc/token/mail" { capabilities = ["read"] }"#;
        self.ask("PUT", "sys/policies/acl/mail", &json!({"policy": policy}))?;
        self.ask("POST", "sys/auth/userpass", &json!({"type": "userpass"})).map(drop)
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> String {
        format!("{}/v1/identity/oidc", self.address)
    }

    /// A file with the authority that its certificate is from.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("tls/vault-ca.pem")
    }

    /// Makes somebody who may sign in, as `tid`'s, with these roles.
    pub fn add_user(&mut self, name: &str, password: &str, tid: &str, roles: &[&str]) -> Result<(), Failure> {
        let mounts = self.ask("GET", "sys/auth", &Value::Null)?;
        let accessor = mounts["data"]["userpass/"]["accessor"].clone();
        let entity = self.ask("POST", "identity/entity", &json!({"name": name, "metadata": {"tid": tid}}))?;
        let id = entity["data"]["id"].as_str().ok_or("an entity has no id")?.to_owned();
        let alias = json!({"name": name, "canonical_id": id, "mount_accessor": accessor});
        self.ask("POST", "identity/entity-alias", &alias)?;
        let user = json!({"password": password, "token_policies": "mail", "token_ttl": "5m"});
        self.ask("POST", &format!("auth/userpass/users/{name}"), &user)?;
        for role in roles {
            let at = self.groups.iter().position(|(group, _)| group == role);
            let at = at.unwrap_or_else(|| {
                self.groups.push(((*role).to_owned(), Vec::new()));
                self.groups.len() - 1
            });
            self.groups[at].1.push(id.clone());
            let group = json!({"name": role, "member_entity_ids": self.groups[at].1});
            self.ask("POST", "identity/group", &group)?;
        }
        Ok(())
    }

    /// A token for this service, as the user gets it.
    pub fn token(&self, name: &str, password: &str) -> Result<String, Failure> {
        let login = self.ask("POST", &format!("auth/userpass/login/{name}"), &json!({"password": password}))?;
        let session = login["auth"]["client_token"].as_str().ok_or("no session")?;
        let answer = self.ask_as(session, "GET", "identity/oidc/token/mail", &Value::Null)?;
        Ok(answer["data"]["token"].as_str().ok_or("no token")?.to_owned())
    }

    /// Asks with the owner's token.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask_as(ROOT_TOKEN, method, path, body)
    }

    fn ask_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let url = format!("{}/v1/{path}", self.address);
        let header = "X-Vault-Token";
        let mut answer = match method {
            "GET" => self.agent.get(url).header(header, token).call()?,
            "PUT" => self.agent.put(url).header(header, token).send(body.to_string())?,
            _ => self.agent.post(url).header(header, token).send(body.to_string())?,
        };
        let (status, text) = (answer.status(), answer.body_mut().read_to_string()?);
        match status.is_success() {
            true => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
            false => Err(format!("{method} {path}: {status}").into()),
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that is free, and the next one too, which an OpenBao takes for its cluster.
fn free_port() -> Result<u16, Failure> {
    let listen = |port| TcpListener::bind(("127.0.0.1", port));
    let pair = (0..100).find_map(|_| {
        let first = listen(0).ok()?;
        let port = first.local_addr().ok()?.port();
        listen(port.checked_add(1)?).ok().map(|_| port)
    });
    pair.ok_or_else(|| "no two free ports".into())
}

/// `bao`: named in `STRONGROOM_BAO`, on the path, or where .ci/openbao has put it, beside this program's own folder.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("STRONGROOM_BAO").map(PathBuf::from);
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("bao")).find(|bao| bao.is_file())
    };
    let installed = || {
        let exe = std::env::current_exe().ok()?;
        let tools = exe.ancestors().map(|folder| folder.join("tools")).find(|tools| tools.is_dir())?;
        let found = fs::read_dir(tools).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bao")));
        found.into_iter().find(|bao| bao.is_file())
    };
    named.or_else(on_path).or_else(installed)
}
