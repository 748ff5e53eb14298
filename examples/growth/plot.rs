//! The curves, both axes logarithmic: a straight line that rises by one decade a decade is linear, a level one is flat.

use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

use super::Outcome;
use super::report::{number, thousands};

/// A name and its points.
type Curve = (&'static str, Vec<(f64, f64)>);

const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 90, 160), RGBColor(200, 90, 20), RGBColor(40, 130, 70), RGBColor(130, 60, 140)];

pub fn draw(out: &Path, scales: &[Value], boxes: &[Value]) -> Outcome {
    let along = |figures: &[Value], x: &str, y: &str, unit: f64| -> Vec<(f64, f64)> {
        let points = figures.iter().map(|row| (number(row, x), number(row, y) / unit));
        points.filter(|(x, y)| x.is_finite() && y.is_finite() && *y > 0.0).collect()
    };
    if !scales.is_empty() {
        draw_scales(out, |y, unit| along(scales, "/tenants", y, unit))?;
    }
    if boxes.is_empty() {
        return Ok(());
    }
    let by_boxes = |y: &str, unit: f64| along(boxes, "/boxes", y, unit);
    chart(
        &out.join("boxes.svg"),
        "128 of 4,096 tenants write",
        "boxes per cell",
        "",
        &[
            ("MB, drawn evenly", by_boxes("/evenly/held", 1e6)),
            ("MB, from few cells", by_boxes("/few_cells/held", 1e6)),
            ("ms, median first write, evenly", by_boxes("/evenly/write_ms/0", 1.0)),
            ("us to make a tenant", by_boxes("/together/secs", 4096.0 / 1e6)),
        ],
    )
}

fn draw_scales(out: &Path, scale: impl Fn(&str, f64) -> Vec<(f64, f64)>) -> Outcome {
    chart(
        &out.join("making.svg"),
        "Making tenants, durably",
        "tenants",
        "seconds",
        &[("one by one", scale("/alone/secs", 1.0)), ("together", scale("/together/secs", 1.0))],
    )?;
    chart(
        &out.join("opening.svg"),
        "Opening a store",
        "tenants",
        "",
        &[
            ("milliseconds to open", scale("/idle/open_ms", 1.0)),
            ("megabytes of memory, all idle", scale("/idle/resident", 1e6)),
        ],
    )?;
    chart(
        &out.join("active.svg"),
        "Up to 1,000 active tenants: 900 read, 100 write",
        "tenants",
        "",
        &[
            ("MB, drawn evenly", scale("/evenly/peak", 1e6)),
            ("MB, from few cells", scale("/few_cells/peak", 1e6)),
            ("ms, p99 of a first read, evenly", scale("/evenly/read_ms/1", 1.0)),
            ("ms, p99 of a first session, evenly", scale("/evenly/session_ms/1", 1.0)),
        ],
    )
}

fn chart(path: &Path, title: &str, across: &str, up: &str, curves: &[Curve]) -> Outcome {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let span = |of: fn(&(f64, f64)) -> f64| {
        let least = points().map(of).fold(f64::INFINITY, f64::min);
        let most = points().map(of).fold(0.0, f64::max);
        least..most.max(least * 1.01)
    };
    let (xs, ys) = (span(|point| point.0), span(|point| point.1));
    // Room above the curves for their names.
    let headroom = curves.iter().fold(1.6, |room, _| room * (ys.end / ys.start).powf(0.1));
    let canvas = SVGBackend::new(path, (720, 400)).into_drawing_area();
    canvas.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&canvas)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .margin_right(36)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(xs.log_scale(), (ys.start * 0.6..ys.end * headroom).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(across)
        .y_desc(up)
        .x_label_formatter(&|x| thousands(*x))
        .y_label_formatter(&|y| if *y < 1.0 { y.to_string() } else { thousands(*y) })
        .light_line_style(WHITE)
        .draw()?;
    for ((name, points), colour) in curves.iter().zip(COLOURS) {
        let line = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        line.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(canvas.present()?)
}
