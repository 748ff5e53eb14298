//! Prints the public API that a file of rustdoc's JSON describes, one item a line.

use std::process::ExitCode;

use public_api::Builder;

fn main() -> ExitCode {
    let Some(json) = std::env::args_os().nth(1) else {
        eprintln!("usage: strongroom-api <file of rustdoc's JSON>");
        return ExitCode::from(2);
    };
    // Blanket implementations are those of the standard library.
    match Builder::from_rustdoc_json(json).omit_blanket_impls(true).build() {
        Ok(api) => {
            api.items().map(ToString::to_string).filter(|item| is_telling(item)).for_each(|item| println!("{item}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Left out is what follows from another line: traits that the compiler implements by itself, except whether a value may go to
/// another thread, which is a promise; and the methods of traits of which the implementation has a line.
fn is_telling(item: &str) -> bool {
    const BY_ITSELF: [&str; 6] =
        ["Freeze", "Unpin", "UnsafeUnpin", "RefUnwindSafe", "UnwindSafe", "StructuralPartialEq"];
    const METHODS: [&str; 8] = ["clone", "eq", "cmp", "partial_cmp", "fmt", "hash", "serialize", "deserialize"];
    let is_method = |name: &str| {
        let after = item.split_once(&format!("::{name}")).map_or("", |(_, after)| after);
        item.starts_with("pub fn") && (after.starts_with('(') || after.starts_with("<__"))
    };
    let is_of = |name: &str| item.starts_with("impl") && item.contains(&format!("::{name} for "));
    !BY_ITSELF.iter().any(|name| is_of(name)) && !METHODS.iter().any(|name| is_method(name))
}
