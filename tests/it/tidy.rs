//! Style as a test: the order of the modules, the size of files and functions, and what may reach the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FILE_MAX_LINES: usize = 500;
const FUNCTION_MAX_LINES: usize = 70;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.insert(path.strip_prefix(root()).expect("below the root").to_path_buf(), text);
            }
        }
    }
    found
}

/// The library without what is only compiled for tests.
fn library() -> BTreeMap<PathBuf, String> {
    let only_for_tests = |path: &Path| {
        path.components().any(|part| part.as_os_str() == "tests")
            || path
                .file_stem()
                .is_some_and(|stem| ["tests", "test_kit", "layers", "fuzz"].iter().any(|name| stem == *name))
    };
    let mut sources = sources("src");
    sources.retain(|path, _| !only_for_tests(path));
    for text in sources.values_mut() {
        if let Some(at) = text.find("\nmod tests {") {
            text.truncate(at);
        }
    }
    sources
}

/// The modules of lib.rs, topmost first.
fn layers(lib: &str) -> Vec<String> {
    let declared = lib.lines().filter_map(|line| {
        line.trim_start_matches("pub(crate) ").trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')
    });
    declared.map(str::to_owned).collect()
}

/// The modules named after `crate::` in a text, comments left out.
fn imports(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = code.flat_map(|line| line.split("crate::").skip(1));
    let module = |path: &str| path.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or("").to_owned();
    paths.map(module).collect()
}

/// The imports of a module at place `layer` that go up or sideways out of the order.
fn upward(layers: &[String], module: &str, text: &str) -> Vec<String> {
    let place = |name: &str| layers.iter().position(|layer| layer == name);
    let here = place(module).expect("a module of lib.rs");
    // Items of the root (`crate::Error`) are re-exports of leaves; the lower-case names are modules.
    let up = imports(text).into_iter().filter(|name| name != module && place(name).is_some_and(|there| there < here));
    up.collect()
}

#[test]
fn no_module_imports_from_above_itself() {
    let sources = library();
    let layers = layers(&sources[Path::new("src/lib.rs")]);
    assert!(layers.len() > 15, "{layers:?}");
    for (path, text) in &sources {
        let mut parts = path.iter().skip(1).map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned());
        let module = parts.next().expect("a file below src");
        if module != "lib" {
            assert_eq!(upward(&layers, &module, text), Vec::<String>::new(), "{}", path.display());
        }
    }
    assert_eq!(
        upward(&layers, "seal", "use crate::keys::Ring;\nlet a = crate::session::x();"),
        ["session"],
        "the control"
    );
}

#[test]
fn the_crate_root_is_a_title_page() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let code: Vec<&str> = lib.lines().filter(|line| !line.starts_with("//")).collect();
    assert!(!code.iter().any(|line| line.contains("fn ")), "lib.rs is a title page");
    assert!(lib.contains("#![forbid(unsafe_code)]"));
}

/// The functions of a text that are longer than the limit, by the line on which they begin.
fn long_functions(text: &str) -> Vec<usize> {
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut long = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let begins = line.trim_start().split("fn ").next().is_some_and(|before| {
            line.contains("fn ")
                && before.split_whitespace().all(|word| {
                    ["pub", "pub(crate)", "pub(super)", "const", "unsafe", "async", "extern"].contains(&word)
                })
        });
        if begins && !line.trim_end().ends_with([';', '}']) {
            open.push((number, indent));
        } else if line.trim_end() == format!("{}}}", " ".repeat(indent))
            && let Some(&(start, at)) = open.last()
            && at == indent
        {
            open.pop();
            if number - start > FUNCTION_MAX_LINES {
                long.push(start + 1);
            }
        }
    }
    long
}

#[test]
fn files_and_functions_stay_short() {
    for folder in ["src", "tests", "examples", "benches"] {
        for (path, text) in sources(folder) {
            assert!(text.lines().count() <= FILE_MAX_LINES, "{} has {} lines", path.display(), text.lines().count());
            assert_eq!(long_functions(&text), Vec::<usize>::new(), "long functions in {}", path.display());
        }
    }
    let long = format!("fn long() {{\n{}}}\n", "    step();\n".repeat(FUNCTION_MAX_LINES + 1));
    assert_eq!(long_functions(&long), [1], "the control");
    assert_eq!(long_functions(&"fn short() {\n    step();\n}\n".repeat(100)), Vec::<usize>::new());
}

/// Where `Opaque` is implemented: the types whose bytes may reach the disk.
fn opaque_types(sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let lines = sources.values().flat_map(|text| text.lines());
    let mut types: Vec<String> = lines
        .filter_map(|line| line.split("Opaque for ").nth(1).filter(|_| line.trim_start().starts_with("impl")))
        .map(|rest| rest.split([' ', '{']).next().unwrap_or("").to_owned())
        .collect();
    types.sort();
    types
}

#[test]
fn only_envelopes_and_ring_slots_may_reach_the_disk() {
    let mut sources = library();
    assert_eq!(opaque_types(&sources), ["Envelope", "Slot"]);
    sources.insert("x.rs".into(), "impl Opaque for Vec<u8> {".into());
    assert_eq!(opaque_types(&sources).len(), 3, "the control");
}

/// Words that stand for something unfinished or unchecked, each with what to do instead.
const BANNED: [(&str, &str); 8] = [
    (concat!("todo", "!("), "finish it"),
    (concat!("unimplemented", "!("), "finish it"),
    (concat!("dbg", "!("), "use tracing"),
    (concat!("println", "!("), "use tracing"),
    (concat!("#[", "allow("), "use #[expect(.., reason = \"..\")]"),
    (concat!("#![", "allow("), "use #![expect(.., reason = \"..\")]"),
    (concat!(".unwrap", "()"), "return an error, or expect() with the invariant"),
    (concat!("FIX", "ME"), "fix it"),
];

#[test]
fn the_library_has_no_banned_words() {
    for (path, text) in library() {
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for (word, instead) in BANNED {
            assert!(!code.iter().any(|line| line.contains(word)), "{}: {word} ({instead})", path.display());
        }
    }
}

#[test]
fn every_ignored_test_says_why() {
    for folder in ["src", "tests"] {
        for (path, text) in sources(folder) {
            assert!(!text.contains(concat!("#[ignore", "]")), "{}", path.display());
        }
    }
}

/// The features that Cargo.toml declares.
fn features() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let section = manifest.split("[features]").nth(1).and_then(|rest| rest.split("\n[").next()).expect("features");
    let names = section.lines().filter_map(|line| line.split_once(" = ").map(|(name, _)| name.to_owned()));
    names.filter(|name| name != "default" && !name.starts_with('#')).collect()
}

#[test]
fn every_feature_is_documented_and_built_alone() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect(path);
    let (lib, readme, ci) = (read("src/lib.rs"), read("README.md"), read(".ci/run"));
    let features = features();
    assert!(features.len() >= 6, "{features:?}");
    for feature in features {
        assert!(readme.contains(&format!("| `{feature}` |")), "{feature} has no row in README.md");
        if feature == "bench-internals" {
            continue;
        }
        assert!(lib.contains(&format!("//! - `{feature}`")), "{feature} is not in the documentation of the crate");
        let alone = format!("--no-default-features --features {feature} -- -D warnings");
        assert!(ci.contains(&alone), ".ci/run does not build {feature} alone");
    }
}

#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect(path);
    let manifest = read("Cargo.toml");
    let oldest = manifest.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a version");
    for (path, words) in [
        ("clippy.toml", format!("msrv = \"{oldest}\"")),
        ("README.md", format!("Minimum Rust version: {oldest}.")),
        ("CHANGELOG.md", format!("Minimum supported Rust version: {oldest};")),
        ("src/lib.rs", format!("Minimum Rust version: {oldest}.")),
    ] {
        assert!(read(path).contains(&words), "{path} does not say {words}");
    }
}
