//! The tables.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::Outcome;
use super::life::MEMORY;

pub fn write(out: &Path, scales: &[Value], boxes: &[Value]) -> Outcome {
    let mut text = String::new();
    if !scales.is_empty() {
        scale_tables(&mut text, scales)?;
    }
    if !boxes.is_empty() {
        boxes_table(&mut text, boxes)?;
    }
    Ok(std::fs::write(out.join("figures.md"), text)?)
}

fn scale_tables(text: &mut String, scales: &[Value]) -> Outcome {
    writeln!(
        text,
        "| tenants | made one by one | made together | opening the store | memory, all idle | disk, each |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for scale in scales {
        let tenants = number(scale, "/tenants");
        let row = [
            thousands(tenants),
            scale.pointer("/alone/secs").map_or_else(|| "-".into(), |_| seconds(number(scale, "/alone/secs"))),
            seconds(number(scale, "/together/secs")),
            millis(number(scale, "/idle/open_ms")),
            format!("{:.0} MB", number(scale, "/idle/resident") / 1e6),
            format!("{:.1} kB", number(scale, "/together/disk") / tenants / 1e3),
        ];
        writeln!(text, "| {} |", row.join(" | "))?;
    }
    writeln!(
        text,
        "\nActive tenants within {} MiB for the engine: nine in ten read, one in ten writes. First \
         sessions (with opening the view through which the catalog is read), reads and writes of cold tenants, median / p99; \
         the most memory and descriptors that the process took, and what was open at the end:\n",
        MEMORY >> 20
    )?;
    writeln!(text, "| tenants | active | drawn | session | read | write | memory | descriptors | cells | views |")?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
    for scale in scales {
        for (drawn, key) in [("evenly", "evenly"), ("from few cells", "few_cells")] {
            let at = |what: &str| format!("/{key}/{what}");
            let pair = |what: &str| {
                let place = |place| number(scale, &at(&format!("{what}/{place}")));
                format!("{} / {}", millis(place(0)), millis(place(1)))
            };
            let row = [
                thousands(number(scale, "/tenants")),
                thousands(number(scale, "/active")),
                drawn.to_owned(),
                pair("session_ms"),
                pair("read_ms"),
                pair("write_ms"),
                format!("{:.0} MB", number(scale, &at("peak")) / 1e6),
                thousands(number(scale, &at("files"))),
                thousands(number(scale, &at("open"))),
                thousands(number(scale, &at("views"))),
            ];
            writeln!(text, "| {} |", row.join(" | "))?;
        }
    }
    Ok(())
}

fn boxes_table(text: &mut String, boxes: &[Value]) -> Outcome {
    let first = &boxes[0];
    let (tenants, active) = (number(first, "/tenants"), number(first, "/active"));
    writeln!(
        text,
        "\nBoxes per cell, with {} tenants of which {} write; memory beyond that of the idle store, first write of a \
         cold tenant:\n",
        thousands(tenants),
        thousands(active)
    )?;
    writeln!(
        text,
        "| boxes | making a tenant | disk, each | memory, drawn evenly | memory, from few cells | cells open | \
         first write, evenly | first write, few cells |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    for row in boxes {
        let pair = |key: &str| {
            let place = |place: u32| number(row, &format!("/{key}/write_ms/{place}"));
            format!("{} / {}", millis(place(0)), millis(place(1)))
        };
        let row = [
            format!("{:.0}", number(row, "/boxes")),
            millis(number(row, "/together/secs") * 1e3 / tenants),
            format!("{:.1} kB", number(row, "/together/disk") / tenants / 1e3),
            format!("{:.0} MB", number(row, "/evenly/held") / 1e6),
            format!("{:.1} MB", number(row, "/few_cells/held") / 1e6),
            format!("{:.0} / {:.0}", number(row, "/evenly/open"), number(row, "/few_cells/open")),
            pair("evenly"),
            pair("few_cells"),
        ];
        writeln!(text, "| {} |", row.join(" | "))?;
    }
    Ok(())
}

/// A figure, by its place.
pub fn number(figures: &Value, place: &str) -> f64 {
    figures.pointer(place).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// A whole number, its digits in groups.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn seconds(secs: f64) -> String {
    if secs < 1.0 { format!("{:.0} ms", secs * 1e3) } else { format!("{secs:.1} s") }
}

fn millis(millis: f64) -> String {
    match millis {
        ..1.0 => format!("{millis:.2} ms"),
        ..1000.0 => format!("{millis:.1} ms"),
        _ => format!("{:.2} s", millis / 1e3),
    }
}
