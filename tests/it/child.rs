//! This test binary once more, as a process of its own that runs one test.

use std::process::{Command, Output};

const ARGUMENT: &str = "STRONGROOM_TEST_CHILD";

pub struct Child(Output);

/// Whether this process was started by [`run`].
pub fn is_child() -> bool {
    argument().is_some()
}

/// What [`run`] was given for this process.
pub fn argument() -> Option<String> {
    std::env::var(ARGUMENT).ok()
}

/// Runs the test of this name in a new process and waits for its end.
pub fn run(test: &str, argument: &str) -> Child {
    let binary = std::env::current_exe().unwrap();
    let mut command = Command::new(binary);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ARGUMENT, argument);
    Child(command.output().unwrap())
}

impl Child {
    /// Panics with all that the child has said unless its one test passed.
    pub fn assert_success(&self) {
        let Output { status, stdout, stderr } = &self.0;
        let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
        assert!(status.success() && stdout.contains("1 passed"), "{stdout}\n{stderr}");
    }
}

/// The most memory that this process has had at once.
pub fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
