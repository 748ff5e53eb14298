//! Child processes: this test binary, run again in a role, to be watched or killed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const ROLE: &str = "STRONGROOM_TEST_ROLE";
const FOLDER: &str = "STRONGROOM_TEST_FOLDER";
const WHICH: &str = "STRONGROOM_TEST_WHICH";
/// What a line of a child begins with that is not of the test harness.
const SAID: &str = "said ";

/// A child at work, and what it has said so far.
pub struct Playing {
    child: Child,
    said: Receiver<String>,
}

/// This binary in a role, on the store in `folder`; `which` is for the role to read.
pub fn command(role: &str, folder: &Path, which: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "children::plays_the_role_it_was_started_for", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(FOLDER, folder).env(WHICH, which.to_string()).stdin(Stdio::null());
    command
}

/// The role that this process plays, if it was started for one.
#[test]
fn plays_the_role_it_was_started_for() {
    match std::env::var(ROLE).as_deref() {
        Ok("writer") => crate::crash::write_until_killed(),
        Ok("founder") => crate::bulk::found_until_killed(),
        Ok("writer of long values") => crate::long_values::write_long_values(),
        Ok("acknowledger") => crate::durability::acknowledge_everything(),
        Ok("everywhere") => crate::budgets::write_everywhere(),
        Ok("churn") => crate::budgets::churn(),
        Ok("keyholder") => crate::custody_kills::change_keys_until_killed(),
        Ok("owner") => crate::access_kills::change_access_until_killed(),
        Ok("mover") => crate::rotation_kills::move_until_killed(),
        Ok("resealer") => crate::reseals::reseal_until_killed(),
        Ok("collector") => crate::expiry_kills::collect_until_killed(),
        Ok("purger") => crate::purge::kills::purge_until_killed(),
        Ok("backer") => crate::backup::kills::back_up_until_killed(),
        Ok("restorer") => crate::backup::kills::restore_until_killed(),
        #[cfg(feature = "transit")]
        Ok("asker") => crate::transit_faults::ask_as_the_environment_wants(),
        Ok("borrower") => crate::backup::kills::restore_tenant_until_killed(),
        Ok(role) => panic!("nobody plays {role}"),
        Err(_) => {}
    }
}

/// The folder that this child works on.
pub fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("a folder").into()
}

/// Which of its scripts this child plays.
pub fn which() -> u64 {
    std::env::var(WHICH).expect("a number").parse().expect("a number")
}

/// Tells the parent, at once: what has been said stays said when this process dies.
pub fn say(text: &str) {
    std::io::stdout().write_all(format!("{SAID}{text}\n").as_bytes()).expect("a parent that listens");
}

impl Playing {
    pub fn begin(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a child");
        let (tell, said) = channel();
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        std::thread::spawn(move || {
            // The harness ends the name of the test without a new line, so a first word may follow it.
            let words = lines.map_while(Result::ok).filter_map(|line| Some(line.split_once(SAID)?.1.to_owned()));
            words.for_each(|text| drop(tell.send(text)));
        });
        Self { child, said }
    }

    /// Waits for the next thing that it says; `None` if it has died.
    pub fn hear(&self) -> Option<String> {
        self.said.recv_timeout(Duration::from_secs(60)).ok()
    }

    /// kill -9. Returns everything that it said and was not yet heard, to the last word before its death.
    pub fn kill(mut self) -> Vec<String> {
        assert!(self.child.try_wait().expect("a child").is_none(), "the child ended before it was killed");
        self.child.kill().expect("a kill");
        self.wait().1
    }

    /// kill -9, unless it has come to its end. Whether it was killed, and everything not yet heard.
    pub fn kill_or_wait(mut self) -> (bool, Vec<String>) {
        let ended = self.child.try_wait().expect("a child").is_some();
        if !ended {
            self.child.kill().expect("a kill");
        }
        (!ended, self.wait().1)
    }

    /// kill -9, unless it has ended by itself and well.
    pub fn kill_if_alive(mut self) -> Vec<String> {
        match self.child.try_wait().expect("a child") {
            Some(status) => assert!(status.success(), "the child failed: {status}"),
            None => self.child.kill().expect("a kill"),
        }
        self.wait().1
    }

    /// Waits for its end.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().expect("an end");
        (status, self.said.into_iter().collect())
    }
}

/// The compiled `syncwatch.c`, to be loaded into children.
pub fn syncwatch() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("syncwatch-{}.so", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/syncwatch.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        let compiled = compiled.expect("this test needs a C compiler named cc, as building RocksDB does");
        assert!(compiled.success(), "cc cannot compile syncwatch.c: {compiled}");
        // One name for all runs, changed at once: another run may be loading it.
        let name = library.with_file_name("syncwatch.so");
        std::fs::rename(library, &name).expect("a file that can be renamed");
        name
    })
}
