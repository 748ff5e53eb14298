//! What a process and a folder take, and how long things last.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of this process that are in memory.
pub fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// Descriptors that this process has open.
pub fn descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// Bytes that the files below a folder take on the disk.
pub fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk(&entry.path()) + metadata.blocks() * 512,
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[expect(clippy::disallowed_methods, reason = "a measurement asks the clock itself")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let outcome = work();
    (outcome, start.elapsed())
}

/// Times, of which the median and the rest are asked.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (outcome, took) = timed(work);
        self.0.push(took);
        outcome
    }

    /// Milliseconds: the median, the 99th of a hundred, the longest.
    pub fn summary(mut self) -> [f64; 3] {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        [last / 2, last * 99 / 100, last].map(|place| self.0.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3))
    }
}
