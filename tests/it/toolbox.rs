//! The custodian's tool as a process of its own, with a store, root keys, and an issuer of tokens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use strongroom::identity::{Jwks, JwtVerifier, Oidc};
use strongroom::{Clock, LocalRoots, RootKeys, Strongroom, SystemClock};
use tempfile::TempDir;

use crate::mint::Issuer;

const URL: &str = "https://issuer.example";
/// Whose users the service lets in besides.
const OTHER_URL: &str = "https://other.example";
const AUDIENCE: &str = "storage";

/// Everything that a custodian has in front of them.
pub struct Desktop {
    folder: TempDir,
    issuer: Issuer,
}

/// What the tool said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desktop {
    /// A new, closed store with root keys, and the settings of the tool for it.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = Issuer::ed25519(URL, "k1");
        fs::write(folder.path().join("jwks.json"), issuer.jwks_json()).unwrap();
        let desktop = Self { folder, issuer };
        drop(desktop.open());
        let at = |name: &str| desktop.path(name).display().to_string();
        let [store, keys, jwks, socket] = ["store", "keys", "jwks.json", "custody.sock"].map(at);
        let settings = ["--store", &store, "--keys", &keys, "--jwks", &jwks, "--socket", &socket];
        let who = ["--issuer", URL, "--audience", AUDIENCE];
        desktop.tool("").args(["init"]).args(settings).args(who).said().assert_code(0);
        desktop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store, open in this process as a service has it.
    pub fn open(&self) -> Strongroom {
        self.open_with(LocalRoots::open_with_root(self.path("keys"), "service").unwrap())
    }

    /// The same with these root keys.
    pub fn open_with(&self, roots: impl RootKeys) -> Strongroom {
        let (jwks, others) = (self.path("jwks.json"), Issuer::ed25519(OTHER_URL, "k2"));
        let verifier = JwtVerifier::builder()
            .oidc(Oidc::new(URL, AUDIENCE), move || Jwks::from_file(&jwks))
            .oidc(Oidc::new(OTHER_URL, AUDIENCE), Jwks::from_json(&others.jwks_json()).unwrap());
        let verifier = verifier.build().unwrap();
        let room = Strongroom::builder(self.path("store"), roots, verifier).service_speaker(URL, "service");
        room.boxes_per_cell(4).open().unwrap()
    }

    /// A token of `subject` for `tenant` with these roles, until so many seconds from now.
    pub fn token(&self, subject: &str, tenant: &str, roles: &[&str], seconds: i64) -> String {
        let now = i64::try_from(SystemClock::new().wall_ms() / 1000).unwrap();
        let roles: Vec<String> = roles.iter().map(|role| format!("strongroom.{role}")).collect();
        self.issuer.token(&json!({
            "aud": AUDIENCE, "sub": subject, "tid": tenant, "roles": roles,
            "iat": now - 7200, "nbf": now - 7200, "exp": now + seconds,
        }))
    }

    pub fn custodian_of(&self, tenant: &str) -> String {
        self.token("somebody", tenant, &["custodian"], 600)
    }

    /// The tool with a token, in this folder.
    pub fn tool(&self, token: &str) -> Tool {
        let mut command = Command::new(binary());
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_clear().env("HOME", self.folder.path());
        if !token.is_empty() {
            command.env("STRONGROOM_TOKEN", token);
        }
        Tool(command)
    }

    /// What the tool says to a custodian of the service.
    pub fn run(&self, arguments: &str) -> Said {
        self.tool(&self.custodian_of("service")).args(arguments.split_whitespace()).said()
    }

    /// The same to a custodian of contoso.
    pub fn run_as_contoso(&self, arguments: &str) -> Said {
        self.tool(&self.custodian_of("contoso")).args(arguments.split_whitespace()).said()
    }
}

pub struct Tool(Command);

impl Tool {
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Self {
        self.0.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn said(mut self) -> Said {
        let Output { status, stdout, stderr } = self.0.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: status.code().expect("it was not killed"), out: text(stdout), err: text(stderr) }
    }
}

impl Said {
    #[track_caller]
    pub fn assert_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// The one JSON document that was printed.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// The tool, built from what is there now, and once.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "--example", "custodian"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if cfg!(feature = "transit") {
            build.args(["--features", "transit"]);
        }
        assert!(build.status().unwrap().success(), "the tool does not build");
        let tests = std::env::current_exe().unwrap();
        tests.parent().and_then(Path::parent).unwrap().join("examples/custodian")
    })
}
