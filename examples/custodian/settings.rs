//! Settings: from the command line, else from a file in JSON.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind as Io, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom::ErrorKind;

use crate::cli;
use crate::failure::Failure;
use crate::vaults::Vault;

const FILE: &str = "custodian.json";
const TOKEN: &str = "custodian.token";

/// What the file holds. Paths in it are relative to its folder.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Kept {
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    regions: BTreeMap<String, PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vaults: Vec<Vault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
}

pub struct Settings {
    pub store: Option<PathBuf>,
    pub keys: Option<PathBuf>,
    pub jwks: Option<PathBuf>,
    pub issuer: Option<String>,
    pub audience: Option<String>,
    pub service: String,
    pub root: String,
    pub regions: BTreeMap<String, PathBuf>,
    pub vaults: Vec<Vault>,
    pub socket: Option<PathBuf>,
    pub token_file: PathBuf,
    /// Where the settings came from, or would be kept.
    pub file: PathBuf,
}

impl Settings {
    /// What the command line says, and where it says nothing, the file.
    pub fn read(given: &cli::Settings, is_new: bool) -> Result<Self, Failure> {
        let file = given.config.clone().or_else(kept_somewhere).unwrap_or_else(|| FILE.into());
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let kept = match fs::read(&file) {
            Ok(_) if is_new => Kept::default(),
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|error| Failure::usage(format!("{} is not a file of settings: {error}", file.display())))?,
            Err(error) if error.kind() == Io::NotFound && (given.config.is_none() || is_new) => Kept::default(),
            Err(error) => return Err(Failure::usage(format!("{}: {error}", file.display()))),
        };
        let path = |given: &Option<PathBuf>, kept: Option<PathBuf>| {
            given.clone().or_else(|| kept.map(|path| folder.join(path)))
        };
        let mut regions: BTreeMap<_, _> =
            kept.regions.into_iter().map(|(name, path)| (name, folder.join(path))).collect();
        for region in &given.regions {
            let (name, path) =
                region.split_once('=').ok_or_else(|| Failure::usage("a region is given as NAME=FOLDER"))?;
            regions.insert(name.to_owned(), path.into());
        }
        let vaults = kept.vaults.into_iter().map(|vault| Ok(vault.with_paths(|path| folder.join(path))));
        let vaults = vaults.chain(given.vaults.iter().map(|vault| Vault::parse(vault)));
        let word = |given: &Option<String>, kept: Option<String>| given.clone().or(kept);
        Ok(Self {
            store: path(&given.store, kept.store),
            keys: path(&given.keys, kept.keys),
            jwks: path(&given.jwks, kept.jwks),
            issuer: word(&given.issuer, kept.issuer),
            audience: word(&given.audience, kept.audience),
            service: word(&given.service, kept.service).unwrap_or_else(|| "service".to_owned()),
            root: word(&given.root, kept.root).unwrap_or_else(|| "service".to_owned()),
            regions,
            vaults: vaults.collect::<Result<_, Failure>>()?,
            socket: path(&given.socket, kept.socket),
            token_file: path(&given.token_file, kept.token_file).unwrap_or_else(|| folder.join(TOKEN)),
            file,
        })
    }

    /// Writes what the command line says into the file, with absolute paths.
    pub fn keep(&self, given: &cli::Settings, replace: bool) -> Result<(), Failure> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let path = |path: &Option<PathBuf>| path.as_deref().map(absolute);
        let kept = Kept {
            store: path(&given.store),
            keys: path(&given.keys),
            jwks: path(&given.jwks),
            issuer: given.issuer.clone(),
            audience: given.audience.clone(),
            service: given.service.clone(),
            root: given.root.clone(),
            regions: self.regions.iter().map(|(name, path)| (name.clone(), absolute(path))).collect(),
            vaults: self.vaults.iter().map(|vault| vault.clone().with_paths(absolute)).collect(),
            socket: path(&given.socket),
            token_file: path(&given.token_file),
        };
        let json = serde_json::to_vec_pretty(&kept).map_err(|error| Failure::usage(error.to_string()))?;
        write_private(&self.file, &json, replace)
    }

    /// The token: from the environment, else from the token file, which must be its owner's alone.
    pub fn token(&self) -> Result<String, Failure> {
        if let Ok(token) = std::env::var("STRONGROOM_TOKEN") {
            return Ok(token.trim().to_owned());
        }
        let file = self.token_file.display();
        let mode = fs::metadata(&self.token_file).map(|there| there.mode());
        match mode {
            Err(_) => Err(Failure::usage(format!("STRONGROOM_TOKEN is not set, and there is no {file}"))),
            Ok(mode) if mode & 0o077 != 0 => Err(Failure::usage(format!("{file} is open to others: chmod go= it"))),
            Ok(_) => match fs::read_to_string(&self.token_file) {
                Ok(token) => Ok(token.trim().to_owned()),
                Err(error) => Err(Failure::usage(format!("{file}: {error}"))),
            },
        }
    }
}

/// Writes a file for its owner alone.
pub fn write_private(path: &Path, bytes: &[u8], replace: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let kind = if error.kind() == Io::AlreadyExists { ErrorKind::Conflict } else { ErrorKind::Unavailable };
        Failure::new(kind, format!("{}: {error}", path.display()))
    };
    if replace
        && let Err(error) = fs::remove_file(path)
        && error.kind() != Io::NotFound
    {
        return Err(failed(error));
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all()).map_err(failed)
}

fn kept_somewhere() -> Option<PathBuf> {
    let home = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    let candidates = [Some(PathBuf::from(FILE)), home.map(|home| home.join("strongroom").join(FILE))];
    candidates.into_iter().flatten().find(|path| path.is_file())
}
