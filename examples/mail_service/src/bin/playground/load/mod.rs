//! A load on the service: how much it does for each tenant and how long each waits, at rest and while one floods.

mod client;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use mail_service::serve::Failure;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, sleep_until};

use crate::stage::{self, Stage, TENANTS};
use client::{Connection, Script};
use report::{Report, Row, Tally};

/// Messages that each tenant has before it begins.
const SEED: u64 = 200;
/// Requests of a tenant that works at its pace, in a second.
const PACE: u32 = 50;
/// Connections of a tenant that works at its pace, and of one that floods.
const CONNECTIONS: (usize, usize) = (4, 64);

/// Options of `playground load`.
#[derive(Debug, Args)]
pub struct LoadOptions {
    /// How long each of the three measurements takes.
    #[arg(long, env = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// One line of JSON, and no table.
    #[arg(long)]
    json: bool,
}

/// How a tenant asks.
#[derive(Clone, Copy)]
enum Manner {
    /// So often in a second, whether there were answers or not: what waits is counted from when it was due.
    Paced,
    /// As fast as there are answers.
    Flood,
}

/// Measures, and shows what was measured.
pub fn run(runtime: &Runtime, options: &LoadOptions) -> Result<(), Failure> {
    let Some(stage) = Stage::set(&stage::beside()?, 0)? else { return crate::skipped() };
    let scripts = TENANTS.map(|tenant| Ok::<_, Failure>(Script::new(&stage.address, tenant, &stage.token(tenant)?)));
    let [contoso, fabrikam] = scripts;
    let (contoso, fabrikam) = (contoso?, fabrikam?);
    let span = Duration::from_secs(options.seconds);
    let report = runtime.block_on(async {
        for script in [&contoso, &fabrikam] {
            script.seed(SEED).await?;
        }
        let mut report = Report::new(options.seconds);
        report.add("at rest", measure(&[(&contoso, Manner::Paced), (&fabrikam, Manner::Paced)], span).await?);
        report.add("one alone, full", measure(&[(&contoso, Manner::Flood)], span).await?);
        report.add("fabrikam floods", measure(&[(&contoso, Manner::Paced), (&fabrikam, Manner::Flood)], span).await?);
        Ok::<_, Failure>(report)
    })?;
    stage.end()?;
    report.show(options.json);
    report.check()
}

/// Lets tenants ask beside each other for `span`. A row for each.
async fn measure(tenants: &[(&Arc<Script>, Manner)], span: Duration) -> Result<Vec<Row>, Failure> {
    let (begin, ended) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let mut asking = Vec::new();
    for (script, manner) in tenants {
        let connections = match manner {
            Manner::Paced => CONNECTIONS.0,
            Manner::Flood => CONNECTIONS.1,
        };
        for number in 0..connections {
            let (script, manner, ended) = ((*script).clone(), *manner, ended.clone());
            asking.push((script.tenant(), tokio::spawn(ask(script, manner, number, begin, ended))));
        }
    }
    sleep(span).await;
    ended.store(true, Ordering::Relaxed);
    let mut rows: Vec<(&'static str, Tally)> = Vec::new();
    for (tenant, asking) in asking {
        let tally = asking.await??;
        match rows.iter_mut().find(|(known, _)| *known == tenant) {
            Some((_, row)) => row.take(tally),
            None => rows.push((tenant, tally)),
        }
    }
    let took = begin.elapsed();
    Ok(rows.into_iter().map(|(tenant, tally)| tally.row(tenant, took)).collect())
}

/// One connection, until the end.
async fn ask(
    script: Arc<Script>,
    manner: Manner,
    number: usize,
    begin: Instant,
    ended: Arc<AtomicBool>,
) -> Result<Tally, Failure> {
    let (mut connection, mut tally) = (Connection::open(&script).await?, Tally::default());
    let gap = Duration::from_secs(1) * u32::try_from(CONNECTIONS.0)? / PACE;
    // The connections take turns within a gap.
    let mut due = begin + gap * u32::try_from(number)? / u32::try_from(CONNECTIONS.0)?;
    for turn in 0.. {
        let from = match manner {
            Manner::Paced => {
                sleep_until(due).await;
                due
            }
            Manner::Flood => Instant::now(),
        };
        if ended.load(Ordering::Relaxed) {
            break;
        }
        let status = script.turn(&mut connection, turn).await?;
        tally.count(status, from.elapsed());
        due += gap;
        if status == 429 {
            // As a client should that was told to wait, and sooner than it was told.
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(tally)
}
