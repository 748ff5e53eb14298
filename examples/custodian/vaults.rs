//! Vaults in the settings: which root keys are there, and which files hold what logs in. No secret stands in the settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom::RootSet;

use crate::failure::Failure;

/// A vault with root keys. Paths are relative to the folder of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    address: String,
    /// The certificates, in PEM, of the authorities that may vouch for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mount: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// Root keys, each with the key of the vault that it is.
    pub roots: BTreeMap<String, String>,
    login: Login,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    plain_http_on_loopback: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Login {
    /// The file that an agent of the vault keeps a good token in.
    TokenFile(PathBuf),
    Approle {
        role_id: String,
        /// The secret id, in a file of its owner's alone.
        secret_id_file: PathBuf,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mount: Option<String>,
    },
}

impl Vault {
    /// From `address=..,ca=..,root=ID:KEY,token-file=..` and the like.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let (mut said, mut roots) = (BTreeMap::new(), BTreeMap::new());
        for pair in text.split(',') {
            let (what, how) = pair.split_once('=').ok_or_else(|| usage(format!("{pair} is no WHAT=HOW")))?;
            let is_new = match (what, how.split_once(':')) {
                ("root", Some((root, key))) => roots.insert(root.to_owned(), key.to_owned()).is_none(),
                ("root", None) => return Err(usage("a root is given as root=ID:KEY")),
                _ => said.insert(what, how.to_owned()).is_none(),
            };
            if !is_new {
                return Err(usage(format!("{what} is given twice")));
            }
        }
        let mut take = |what: &str| said.remove(what);
        let vault = Self {
            address: take("address").ok_or_else(|| usage("address is missing"))?,
            ca: take("ca").map(PathBuf::from),
            mount: take("mount"),
            namespace: take("namespace"),
            login: Login::of(&mut take)?,
            plain_http_on_loopback: take("plain-http-on-loopback").is_some_and(|how| how == "true"),
            roots,
        };
        match said.keys().next() {
            Some(what) => Err(usage(format!("{what} is not known"))),
            None if vault.roots.is_empty() => Err(usage("it has no root=ID:KEY")),
            None => Ok(vault),
        }
    }

    /// The same, with every path as `change` makes it.
    pub fn with_paths(mut self, change: impl Fn(&Path) -> PathBuf) -> Self {
        self.ca = self.ca.as_deref().map(&change);
        match &mut self.login {
            Login::TokenFile(file) | Login::Approle { secret_id_file: file, .. } => *file = change(file),
        }
        self
    }

    /// The name of a root key there, for people.
    pub fn place_of(&self, key: &str) -> String {
        format!("{key} in the vault {}", self.address)
    }

    /// Adds its root keys.
    #[cfg(feature = "transit")]
    pub fn join(&self, roots: RootSet) -> Result<RootSet, Failure> {
        let builder = strongroom::TransitRoots::builder(&self.address);
        let builder = match &self.ca {
            Some(file) => builder.ca_pem(read(file)?),
            None => builder,
        };
        let builder = self.mount.iter().fold(builder, strongroom::TransitRootsBuilder::mount);
        let builder = self.namespace.iter().fold(builder, strongroom::TransitRootsBuilder::namespace);
        let builder = self.roots.iter().fold(builder, |builder, (root, key)| builder.root(root, key));
        let builder = if self.plain_http_on_loopback { builder.danger_plain_http_on_loopback() } else { builder };
        let builder = match &self.login {
            Login::TokenFile(file) => builder.token_file(file),
            Login::Approle { role_id, secret_id_file, mount } => {
                check_private(secret_id_file)?;
                let builder = builder.approle(role_id, zeroize::Zeroizing::new(read(secret_id_file)?).trim());
                mount.iter().fold(builder, strongroom::TransitRootsBuilder::approle_mount)
            }
        };
        Ok(roots.provider(self.roots.keys(), builder.build()?)?)
    }

    #[cfg(not(feature = "transit"))]
    pub fn join(&self, _: RootSet) -> Result<RootSet, Failure> {
        let message =
            format!("root keys are in the vault {}, and this build knows none: --features transit", self.address);
        Err(Failure::usage(message))
    }
}

impl Login {
    fn of(take: &mut impl FnMut(&str) -> Option<String>) -> Result<Self, Failure> {
        let (token_file, role_id, secret_id_file) = (take("token-file"), take("role-id"), take("secret-id-file"));
        match (token_file, role_id, secret_id_file, take("login-mount")) {
            (Some(file), None, None, None) => Ok(Self::TokenFile(file.into())),
            (None, Some(role_id), Some(file), mount) => {
                Ok(Self::Approle { role_id, secret_id_file: file.into(), mount })
            }
            _ => Err(usage("it needs a token-file, or a role-id and a secret-id-file")),
        }
    }
}

fn usage(message: impl std::fmt::Display) -> Failure {
    Failure::usage(format!("--vault: {message}"))
}

#[cfg(feature = "transit")]
fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

/// A secret that others can read is none.
#[cfg(feature = "transit")]
fn check_private(file: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata(file) {
        Ok(there) if there.mode() & 0o077 != 0 => {
            Err(Failure::usage(format!("{0} is open to others: chmod go= {0}", file.display())))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::usage(format!("{}: {error}", file.display()))),
    }
}
