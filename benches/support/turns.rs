//! Comparing contenders fairly on a machine that is never quiet: in turns, in one run, round by round, so that
//! whatever else the machine does happens to all of them; and telling the spread, not only the middle.

use std::time::{Duration, Instant};

/// Whether this is `cargo bench -- --test`: everything once, small, only to see that it is right.
pub fn is_test() -> bool {
    let given = |option: &str| std::env::args().any(|argument| argument == option);
    given("--test") || !given("--bench")
}

/// Whether one bench runs for a profiler (`-- --profile-time 10 '1024 B/get/strongroom'`): no comparison then.
pub fn is_profiled() -> bool {
    std::env::args().any(|argument| argument == "--profile-time")
}

/// How often the contenders take turns.
pub fn rounds() -> usize {
    if is_test() { 2 } else { 15 }
}

/// Times of each contender, one per round. Who begins changes from round to round.
#[expect(clippy::disallowed_methods, reason = "a bench asks the clock itself")]
pub fn in_turns<const N: usize>(contenders: &mut [&mut dyn FnMut(); N]) -> [Vec<Duration>; N] {
    let mut times = [const { Vec::new() }; N];
    for round in 0..rounds() {
        for turn in 0..N {
            let contender = (round + turn) % N;
            let start = Instant::now();
            contenders[contender]();
            times[contender].push(start.elapsed());
        }
    }
    times
}

/// The speed of `ours` as a share of the speed of `theirs`: median and range over the rounds.
pub fn ratio(ours: &[Duration], theirs: &[Duration]) -> String {
    let ratios = sorted(ours.iter().zip(theirs).map(|(ours, theirs)| theirs.as_secs_f64() / ours.as_secs_f64()));
    format!("{:.2}x ({:.2}..{:.2})", ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1])
}

/// The median time of one of `operations`.
pub fn each(times: &[Duration], operations: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "numbers of operations are small")]
    let nanos = sorted(times.iter().map(|time| time.as_secs_f64() * 1e9 / operations as f64));
    match nanos[nanos.len() / 2] {
        nanos if nanos < 10_000.0 => format!("{nanos:.0} ns"),
        nanos => format!("{:.1} us", nanos / 1e3),
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}
