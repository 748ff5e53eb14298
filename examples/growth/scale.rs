//! From ten tenants to very many, with the number of boxes per cell that stores have by default.

use serde_json::{Value, json};

use super::life::{What, folder, task};
use super::{Outcome, measure_apart};

/// The default of `StrongroomBuilder::boxes_per_cell`.
pub const BOXES: u32 = 16;

/// Beyond so many tenants nobody makes them one by one.
const ALONE_MAX: usize = 10_000;
const ACTIVE_MAX: usize = 1000;

/// One object of figures for each number of tenants, up to `limit`.
pub fn measure(limit: usize) -> Outcome<Vec<Value>> {
    let counts = (1..).map(|power| 10usize.pow(power)).take_while(|&count| count <= limit);
    counts.map(measure_one).collect()
}

fn measure_one(tenants: usize) -> Outcome<Value> {
    eprintln!("{tenants} tenants");
    let active = tenants.min(ACTIVE_MAX);
    let spread = tenants / active;
    let alone = folder()?;
    let alone = match tenants <= ALONE_MAX {
        true => measure_apart(&task(What::Alone, alone.path(), tenants, BOXES, active, spread))?,
        false => Value::Null,
    };
    let home = folder()?;
    let apart = |what, stride| measure_apart(&task(what, home.path(), tenants, BOXES, active, stride));
    let together = apart(What::Together, spread)?;
    let idle = apart(What::Idle, spread)?;
    apart(What::Fill, spread)?;
    let evenly = apart(What::Active, spread)?;
    apart(What::Fill, 1)?;
    let few_cells = apart(What::Active, 1)?;
    Ok(json!({
        "tenants": tenants, "active": active, "alone": alone, "together": together, "idle": idle,
        "evenly": evenly, "few_cells": few_cells,
    }))
}
