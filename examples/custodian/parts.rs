//! A file that is put together from the pieces of an answer.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use strongroom::ErrorKind;

use crate::failure::Failure;

/// It has its name once it is whole; dropped before that, it is gone.
#[derive(Default)]
pub struct Parts(Option<Unfinished>);

struct Unfinished {
    file: File,
    beginning: PathBuf,
    name: PathBuf,
    failure: Option<std::io::Error>,
}

impl Parts {
    pub fn nowhere() -> Self {
        Self::default()
    }

    pub fn into(name: &Path) -> Result<Self, Failure> {
        if name.exists() {
            return Err(Failure::new(ErrorKind::Conflict, format!("{} is there already", name.display())));
        }
        let beginning = name.with_added_extension(format!("making-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beginning).map_err(failed)?;
        Ok(Self(Some(Unfinished { file, beginning, name: name.to_path_buf(), failure: None })))
    }

    pub fn write(&mut self, text: &str) {
        if let Self(Some(Unfinished { file, failure: failure @ None, .. })) = self {
            *failure = file.write_all(text.as_bytes()).err();
        }
    }

    pub fn keep(mut self) -> Result<(), Failure> {
        let Some(unfinished) = &mut self.0 else { return Ok(()) };
        if let Some(error) = unfinished.failure.take() {
            return Err(failed(error));
        }
        unfinished.file.sync_all().map_err(failed)?;
        // A link and no renaming: it fails if somebody else has made the file meanwhile.
        fs::hard_link(&unfinished.beginning, &unfinished.name).map_err(failed)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(Unfinished { beginning, .. }) = &self.0 {
            drop(fs::remove_file(beginning));
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn failed(error: std::io::Error) -> Failure {
    Failure::new(ErrorKind::Unavailable, format!("the file cannot be written: {error}"))
}
