//! How many boxes a cell should have: what tenants cost that are busy all together, and that are busy here and there.

use serde_json::{Value, json};

use super::life::{What, folder, task};
use super::{Outcome, measure_apart};

const BOXES: [u32; 6] = [1, 8, 16, 32, 64, 256];
const TENANTS: usize = 4096;
const ACTIVE: usize = 128;

/// One object of figures for each number of boxes.
pub fn measure(limit: usize) -> Outcome<Vec<Value>> {
    let tenants = TENANTS.min(limit);
    BOXES.into_iter().map(|boxes| measure_one(boxes, tenants)).collect()
}

fn measure_one(boxes: u32, tenants: usize) -> Outcome<Value> {
    eprintln!("{boxes} boxes per cell, {tenants} tenants");
    let active = ACTIVE.min(tenants / 4).max(1);
    let home = folder()?;
    let apart = |what, stride| measure_apart(&task(what, home.path(), tenants, boxes, active, stride));
    let (spread, dense) = (tenants / active, 1);
    let together = apart(What::Together, spread)?;
    apart(What::Fill, spread)?;
    let evenly = apart(What::Busy, spread)?;
    apart(What::Fill, dense)?;
    let few_cells = apart(What::Busy, dense)?;
    Ok(json!({
        "boxes": boxes, "tenants": tenants, "active": active, "together": together, "evenly": evenly,
        "few_cells": few_cells,
    }))
}
