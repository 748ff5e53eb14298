//! Asking a desk, in the name of a token, with a bar where somebody looks on.

use std::cell::Cell;

use indicatif::{ProgressBar, ProgressStyle};
use strongroom::desk::{Act, Done, Progress, Reply, Request, TenantAct};

use crate::door::Door;
use crate::failure::Failure;
use crate::parts::Parts;

/// Whoever asks.
pub struct Asker<'s> {
    pub door: Door<'s>,
    pub token: String,
    pub dry_run: bool,
}

impl Asker<'_> {
    pub fn ask(&self, act: Act) -> Result<Done, Failure> {
        self.ask_into(act, &mut Parts::nowhere())
    }

    /// The same, where the pieces of a long answer go into a file.
    pub fn ask_into(&self, act: Act, parts: &mut Parts) -> Result<Done, Failure> {
        let is_dry = self.dry_run && !is_question(&act);
        let (request, bar) = (Request::new(&self.token, act)?.dry_run(is_dry), bar());
        // Of how many, is not always known.
        let has_length = Cell::new(false);
        let done = self.door.ask(&request, |reply| match reply {
            Reply::Progress(Progress { of, done, total }) => {
                if *total > 0 && !has_length.replace(true) {
                    show_length(&bar);
                }
                if *total > 0 {
                    bar.set_length(*total);
                }
                bar.set_message(of.clone());
                bar.set_position(*done);
            }
            Reply::Part(text) => parts.write(text),
            _ => {}
        });
        bar.finish_and_clear();
        done
    }

    /// An act of a tenant's own custodian.
    pub fn ask_own(&self, tenant: &str, act: TenantAct) -> Result<Done, Failure> {
        self.ask(Act::ForTenant { tenant: tenant.to_owned(), act })
    }
}

/// Who one is, and what the keys are, changes nothing: a dry run of it answers as always.
fn is_question(act: &Act) -> bool {
    matches!(act, Act::WhoAmI | Act::ForTenant { act: TenantAct::WhoAmI | TenantAct::Keys, .. })
}

/// Draws on stderr, and only on a terminal.
pub fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// The same for whoever waits, and counts nothing.
pub fn waiting() -> ProgressBar {
    let bar = bar();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
        bar.set_style(style);
    }
    bar
}

fn show_length(bar: &ProgressBar) {
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos} of {len} {msg}  {eta}") {
        bar.set_style(style);
    }
}
