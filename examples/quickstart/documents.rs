//! The documents that are stored: regular files of a folder, in one order on every machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use strongroom::{KEY_MAX_COMPONENTS, KEY_MAX_LEN, VALUE_MAX_LEN};

use crate::failure::{Outcome, fail};

/// A document: where it lies, and the key under which it is stored.
pub struct Document {
    pub file: PathBuf,
    pub key: String,
    pub bytes: usize,
}

/// What was taken of a folder, and what was left and why.
pub struct Documents {
    pub folder: PathBuf,
    pub taken: Vec<Document>,
    pub bytes: usize,
    /// Files that the folder has beyond the caps on number and bytes.
    pub beyond_caps: usize,
    /// Longer than the longest value.
    pub too_long: usize,
    /// Their path is no UTF-8, or longer or deeper than a record key may be.
    pub unfit_name: usize,
}

/// At least one document must be so long that pieces of it can be told from chance on the disk.
const LONGEST_MIN: usize = 32;
const FILES_CAP: usize = 3_000;
const BYTES_CAP: usize = 150_000_000;

impl Documents {
    /// The folder that `DIR` names; else the documentation of the Rust toolchain; else this repository.
    pub fn choose(dir: Option<PathBuf>, all: bool) -> Outcome<Self> {
        let folder = match dir {
            Some(dir) => dir,
            None => documentation_of_rust().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR"))),
        };
        if !folder.is_dir() {
            return fail(format!("DIR={} is not a folder", folder.display()));
        }
        let mut documents =
            Self { taken: vec![], bytes: 0, beyond_caps: 0, too_long: 0, unfit_name: 0, folder: folder.clone() };
        documents.walk(&folder, "")?;
        if !all {
            documents.cap();
        }
        documents.bytes = documents.taken.iter().map(|document| document.bytes).sum();
        if documents.taken.iter().all(|document| document.bytes < LONGEST_MIN) {
            return fail(format!("{} holds no document of {LONGEST_MIN} bytes or more", folder.display()));
        }
        Ok(documents)
    }

    /// The longest document; the first of them if several are as long.
    pub fn longest(&self) -> &Document {
        let longest = self.taken.iter().rev().max_by_key(|document| document.bytes);
        longest.expect("a set of documents is not empty")
    }

    /// The folder that directly holds most documents, as a prefix of keys, and how many lie in it and below.
    pub fn fullest_folder(&self) -> (&str, usize) {
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        for document in &self.taken {
            let end = document.key.rfind('/').map_or(0, |slash| slash + 1);
            *counts.entry(&document.key[..end]).or_default() += 1;
        }
        let fullest = counts.iter().rev().filter(|(folder, _)| !folder.is_empty()).max_by_key(|&(_, count)| count);
        let folder = fullest.map_or("", |(folder, _)| folder);
        (folder, self.taken.iter().filter(|document| document.key.starts_with(folder)).count())
    }

    /// Hidden files, build output and links are passed over.
    fn walk(&mut self, folder: &Path, prefix: &str) -> Outcome {
        let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            let Some(name) = name.to_str() else {
                self.unfit_name += 1;
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let key = format!("{prefix}{name}");
            if kind.is_dir() && !entry.path().join("CACHEDIR.TAG").exists() {
                self.walk(&entry.path(), &format!("{key}/"))?;
            } else if kind.is_file() {
                let bytes = usize::try_from(entry.metadata()?.len()).unwrap_or(usize::MAX);
                self.take(Document { file: entry.path(), key, bytes });
            }
        }
        Ok(())
    }

    fn take(&mut self, document: Document) {
        if document.bytes > VALUE_MAX_LEN {
            self.too_long += 1;
        } else if document.key.len() > KEY_MAX_LEN || document.key.split('/').count() > KEY_MAX_COMPONENTS {
            self.unfit_name += 1;
        } else {
            self.taken.push(document);
        }
    }

    /// Keeps every n-th document, so that what is kept comes from all over the folder, then as many as the bytes
    /// allow.
    fn cap(&mut self) {
        let found = self.taken.len();
        let stride = found.div_ceil(FILES_CAP).max(1);
        let mut place = 0;
        self.taken.retain(|_| {
            place += 1;
            (place - 1) % stride == 0
        });
        let mut bytes = 0;
        self.taken.retain(|document| {
            let fits = bytes + document.bytes <= BYTES_CAP;
            bytes += if fits { document.bytes } else { 0 };
            fits
        });
        self.beyond_caps = found - self.taken.len();
    }
}

impl Document {
    /// Reads the file.
    pub fn read(&self) -> Outcome<Vec<u8>> {
        let content = fs::read(&self.file)?;
        if content.len() != self.bytes {
            return fail(format!("{} changed while the demonstration ran", self.file.display()));
        }
        Ok(content)
    }
}

fn documentation_of_rust() -> Option<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let folder = Path::new(std::str::from_utf8(&output.stdout).ok()?.trim()).join("share/doc/rust/html");
    folder.is_dir().then_some(folder)
}
