//! Rows of the directory taken away, or put back after their tenant was deleted.

use strongroom::ErrorKind;

use super::Sample;
use crate::plain_tools::{RawDatabase, Rows};
use crate::support::{self, CUSTODIAN};

#[test]
fn a_directory_without_any_row_is_corrupt_while_its_cells_are_there() {
    let sample = Sample::make();
    RawDatabase::open(&sample.store().join("zero/db")).replace(0, &Rows::new());
    for _ in 0..2 {
        assert_eq!(sample.open(&sample.store()).unwrap_err().kind(), ErrorKind::Corrupt, "and stays so");
    }
}

#[test]
fn the_row_of_a_deleted_tenant_goes_and_is_refused_beside_the_heir_of_its_box() {
    let sample = Sample::make();
    let zero = sample.store().join("zero/db");
    let before = RawDatabase::open(&zero).rows(0);
    sample.open(&sample.store()).unwrap().custody(CUSTODIAN).unwrap().delete_tenant("contoso").unwrap();
    let after = RawDatabase::open(&zero).rows(0);
    let tenants = |rows: &Rows| rows.keys().filter(|key| key.starts_with(&[0, 0, 0, 1])).count();
    assert_eq!(tenants(&after) + 1, tenants(&before), "its row is gone");
    support::make_tenants(&sample.open(&sample.store()).unwrap(), &["heir"]);
    let database = RawDatabase::open(&zero);
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    gone.for_each(|(key, value)| database.put(0, key, value));
    drop(database);
    assert_eq!(sample.open(&sample.store()).unwrap_err().kind(), ErrorKind::Corrupt);
}
