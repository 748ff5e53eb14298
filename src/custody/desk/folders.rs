//! Folders of the service's machine that its configuration has given a name. What has none is out of a request's reach.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::name::check_name;

#[derive(Clone, Debug, Default)]
pub(super) struct Folders(BTreeMap<String, PathBuf>);

impl Folders {
    pub(super) fn add(&mut self, name: &str, path: &Path) -> Result<()> {
        check_name(name)?;
        match self.0.insert(name.to_owned(), path.to_path_buf()) {
            None => Ok(()),
            Some(_) => Err(Error::invalid("two folders of the desk have the same name")),
        }
    }

    #[cfg_attr(not(feature = "backup"), expect(dead_code, reason = "of acts on files"))]
    pub(super) fn get(&self, name: &str) -> Result<&Path> {
        let path = self.0.get(name).map(PathBuf::as_path);
        path.ok_or_else(|| Error::new(ErrorKind::NotFound, "the service has named no such folder for this desk"))
    }
}
