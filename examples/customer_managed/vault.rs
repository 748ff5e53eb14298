//! The customer's vault: an OpenBao that the environment names, or one that is started here and ended with this program. What
//! this example makes in it lies in an engine, a login and policies of their own, and goes again at the end.

use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::outcome::{Outcome, fail};

/// A vault, and what its owner may do in it.
pub struct Vault {
    /// `host`, `port`.
    pub place: (String, u16),
    pub ca_pem: Vec<u8>,
    /// The name of everything that this run makes.
    pub name: String,
    token: String,
    agent: Agent,
    audit_log: Option<PathBuf>,
    started: Option<Started>,
}

/// What the service logs in with.
pub struct Role {
    pub id: String,
    pub secret_id: String,
}

/// An OpenBao that this program has started. It ends with it, also when the story fails.
struct Started {
    child: Child,
    _folder: TempDir,
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Vault {
    /// The one that the environment names, else one that is started. `None` if there is no program to start.
    pub fn find_or_start() -> Outcome<Option<Self>> {
        let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let vault = match (named("OPENBAO_ADDR"), named("OPENBAO_TOKEN"), named("OPENBAO_CACERT")) {
            (Some(address), Some(token), Some(ca)) => {
                let place = parse(&address)?;
                println!("The vault is the OpenBao at {address}, which the environment names.");
                let audit_log = named("OPENBAO_AUDIT_LOG").map(PathBuf::from);
                Self::new(place, fs::read(ca)?, token, audit_log, None)?
            }
            (None, None, None) => match program() {
                Some(program) => Self::start(&program)?,
                None => return Ok(None),
            },
            _ => return fail("OPENBAO_ADDR, OPENBAO_TOKEN and OPENBAO_CACERT must be set together"),
        };
        vault.prepare()?;
        Ok(Some(vault))
    }

    fn new(
        place: (String, u16),
        ca_pem: Vec<u8>,
        token: String,
        audit_log: Option<PathBuf>,
        started: Option<Started>,
    ) -> Outcome<Self> {
        let name = format!("strongroom-example-{}", std::process::id());
        let agent = agent(&ca_pem)?;
        Ok(Self { place, ca_pem, name, token, agent, audit_log, started })
    }

    /// Starts one: in memory, on loopback, with TLS. A port may be taken between finding and using it.
    fn start(program: &Path) -> Outcome<Self> {
        for _ in 0..5 {
            if let Some(vault) = Self::try_start(program)? {
                println!("The vault is {}, started for this story on port {}.", program.display(), vault.place.1);
                return Ok(vault);
            }
        }
        fail(format!("{} does not start", program.display()))
    }

    fn try_start(program: &Path) -> Outcome<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let [tls, config, audit] = ["tls", "config.hcl", "audit.log"].map(|name| folder.path().join(name));
        fs::create_dir_all(&tls)?;
        let device = format!("audit \"file\" \"file\" {{\n options {{ file_path = \"{}\" }}\n}}\n", audit.display());
        fs::write(&config, device)?;
        let (port, log) = (free_port()?, File::create(folder.path().join("log"))?);
        let child = Command::new(program)
            .args(["server", "-dev", "-dev-tls", "-dev-no-store-token", "-dev-root-token-id=owner"])
            .arg(format!("-dev-tls-cert-dir={}", tls.display()))
            .arg(format!("-config={}", config.display()))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", program.display()))?;
        let mut started = Started { child, _folder: folder };
        let ca = tls.join("vault-ca.pem");
        let is_up = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            ca.exists() && TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        if !is_up || started.child.try_wait()?.is_some() {
            return Ok(None);
        }
        let place = ("127.0.0.1".to_owned(), port);
        let vault = Self::new(place, fs::read(ca)?, "owner".to_owned(), Some(audit), Some(started))?;
        let is_ready = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            vault.ask("GET", "sys/health", &Value::Null).is_ok()
        });
        Ok(is_ready.then_some(vault))
    }

    /// An engine, and a way to log in. What has been made of it when a step fails goes with the vault.
    fn prepare(&self) -> Outcome {
        self.ask("POST", &format!("sys/mounts/{}", self.name), &json!({"type": "transit"}))?;
        self.ask("POST", &format!("sys/auth/{}", self.name), &json!({"type": "approle"}))?;
        let header = "sys/config/auditing/request-headers/X-Correlation-Id";
        self.ask("POST", header, &json!({"hmac": false})).map(drop)
    }

    /// Asks with the owner's token.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Outcome<Value> {
        let url = format!("https://{}:{}/v1/{path}", self.place.0, self.place.1);
        let token = ("X-Vault-Token", self.token.as_str());
        let mut response = match method {
            "GET" => self.agent.get(url).header(token.0, token.1).call()?,
            "DELETE" => self.agent.delete(url).header(token.0, token.1).call()?,
            "PUT" => self.agent.put(url).header(token.0, token.1).send(body.to_string())?,
            _ => self.agent.post(url).header(token.0, token.1).send(body.to_string())?,
        };
        let (status, text) = (response.status(), response.body_mut().read_to_string()?);
        match status.is_success() {
            true => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
            false => fail(format!("the vault answers {method} {path} with {status} {text}")),
        }
    }

    /// The name of one key's policy.
    fn policy(&self, key: &str) -> String {
        format!("sys/policies/acl/{}-{key}", self.name)
    }

    pub fn make_key(&self, key: &str) -> Outcome {
        self.ask("POST", &format!("{}/keys/{key}", self.name), &json!({"type": "aes256-gcm96"}))?;
        self.allow(key)
    }

    /// Lets the service use a key: to wrap, to unwrap and to describe it, and no more.
    pub fn allow(&self, key: &str) -> Outcome {
        let rule = |path: &str, capability: &str| {
            format!("path \"{}/{path}/{key}\" {{ capabilities = [\"{capability}\"] }}\n", self.name)
        };
        let text = rule("encrypt", "update") + &rule("decrypt", "update") + &rule("keys", "read");
        self.ask("PUT", &self.policy(key), &json!({"policy": text})).map(drop)
    }

    /// Takes that back. The key stays as it is.
    pub fn deny(&self, key: &str) -> Outcome {
        let text = format!("path \"{}/keys/{key}\" {{ capabilities = [\"deny\"] }}\n", self.name);
        self.ask("PUT", &self.policy(key), &json!({"policy": text})).map(drop)
    }

    pub fn soft_delete(&self, key: &str) -> Outcome {
        self.ask("DELETE", &format!("{}/keys/{key}/soft-delete", self.name), &Value::Null).map(drop)
    }

    pub fn restore(&self, key: &str) -> Outcome {
        self.ask("POST", &format!("{}/keys/{key}/soft-delete-restore", self.name), &json!({})).map(drop)
    }

    /// Gives a key another version.
    pub fn rotate(&self, key: &str) -> Outcome {
        self.ask("POST", &format!("{}/keys/{key}/rotate", self.name), &json!({})).map(drop)
    }

    /// From now on older versions unwrap nothing.
    pub fn retire_versions_before(&self, key: &str, version: u32) -> Outcome {
        let oldest = json!({"min_decryption_version": version});
        self.ask("POST", &format!("{}/keys/{key}/config", self.name), &oldest).map(drop)
    }

    /// What the service logs in with, to use these keys.
    pub fn role(&self, keys: &[&str]) -> Outcome<Role> {
        let policies: Vec<String> = keys.iter().map(|key| format!("{}-{key}", self.name)).collect();
        let path = format!("auth/{}/role/service", self.name);
        self.ask("POST", &path, &json!({"token_policies": policies, "token_ttl": "10m"}))?;
        let text = |answer: Value, name: &str| answer["data"][name].as_str().unwrap_or_default().to_owned();
        let id = text(self.ask("GET", &format!("{path}/role-id"), &Value::Null)?, "role_id");
        let secret_id = text(self.ask("POST", &format!("{path}/secret-id"), &json!({}))?, "secret_id");
        Ok(Role { id, secret_id })
    }

    /// The uses of the keys that the vault has logged, each with its correlation id; `None` if its log cannot be read here.
    pub fn logged_uses(&self) -> Outcome<Option<Vec<String>>> {
        let Some(path) = &self.audit_log else { return Ok(None) };
        let mut text = String::new();
        File::open(path)?.read_to_string(&mut text)?;
        let is_use = |line: &Value| {
            let path = line["request"]["path"].as_str().unwrap_or_default();
            let operation = path.strip_prefix(&self.name).unwrap_or_default();
            line["type"] == "request" && (operation.starts_with("/decrypt/") || operation.starts_with("/encrypt/"))
        };
        let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let id =
            |line: &Value| line["request"]["headers"]["x-correlation-id"][0].as_str().unwrap_or_default().to_owned();
        Ok(Some(lines.iter().filter(|line| is_use(line)).map(id).collect()))
    }

    /// Removes what this run has made.
    fn clean_up(&self) {
        for path in [format!("sys/mounts/{}", self.name), format!("sys/auth/{}", self.name)] {
            drop(self.ask("DELETE", &path, &Value::Null));
        }
        for key in ["contoso-a", "contoso-b"] {
            drop(self.ask("DELETE", &self.policy(key), &Value::Null));
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        if self.started.is_none() {
            self.clean_up();
        }
    }
}

/// An agent that believes these certificates and no others.
fn agent(ca_pem: &[u8]) -> Outcome<Agent> {
    let certificate = Certificate::from_pem(ca_pem)?;
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::new_with_certs(&[certificate]))
        .build();
    let config = Agent::config_builder().http_status_as_error(false).proxy(None).tls_config(tls);
    Ok(config.timeout_global(Some(Duration::from_secs(10))).build().new_agent())
}

fn parse(address: &str) -> Outcome<(String, u16)> {
    let place = address.strip_prefix("https://").map(|place| place.trim_end_matches('/'));
    let (host, port) = match place.map(|place| place.rsplit_once(':').unwrap_or((place, "8200"))) {
        Some((host, port)) if !host.is_empty() => (host, port),
        _ => return fail("OPENBAO_ADDR is https://host:port"),
    };
    Ok((host.to_owned(), port.parse()?))
}

/// A port that is free, and the next one too, which an OpenBao takes for its cluster.
fn free_port() -> Outcome<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind(("127.0.0.1", 0))?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    fail("there are no two free ports")
}

/// Where `bao` is: as the environment says, on the path, or where `.ci/openbao` puts it for the tests.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("STRONGROOM_BAO").map(PathBuf::from);
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("bao")).find(|bao| bao.is_file())
    };
    let installed = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/openbao");
        let output = Command::new(script).stderr(Stdio::inherit()).output().ok().filter(|out| out.status.success())?;
        let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        path.is_file().then_some(path)
    };
    named.or_else(on_path).or_else(installed)
}
