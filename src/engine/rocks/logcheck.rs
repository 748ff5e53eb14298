//! placeholder
use crate::error::Result;
pub(crate) fn check_before_open(_db: &std::path::Path) -> Result<()> {
    Ok(())
}
