//! The house style, as far as a machine can see it.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of one source file; live code grows, and is split by concern before it is a burden.
const FILE_LINES_MAX: usize = 800;
const LINE_CHARS_MAX: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(directory: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "node_modules", "corpus"].contains(&name) {
                collect(&path, extension, files);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
}

fn sources(under: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    collect(&root().join(under), "rs", &mut files);
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        (name, fs::read_to_string(&path).expect("a source file is UTF-8"))
    };
    files.into_iter().map(read).collect()
}

fn report(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn files_and_lines_are_short() {
    let mut found = Vec::new();
    for (name, text) in sources("") {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            found.push(format!("{name}: {lines} lines"));
        }
        for (number, line) in text.lines().enumerate() {
            // A string that must not be broken (an SDP line, an address) may run over, and a row
            // of a table in Markdown cannot be.
            let is_row = ["//! |", "/// |"].iter().any(|row| line.trim_start().starts_with(row));
            let unbreakable = line.contains('"') || is_row;
            if line.chars().count() > LINE_CHARS_MAX && !unbreakable {
                found.push(format!("{name}:{}: {} columns", number + 1, line.chars().count()));
            }
        }
    }
    report("files have at most 800 lines of at most 100 columns", &found);
}

#[test]
fn nothing_is_left_to_be_done() {
    // Written in pieces, so that this file does not find itself.
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("#[ign", "ore")];
    let mut found = Vec::new();
    for (name, text) in sources("") {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("no notes of work to do and no ignored test", &found);
}

#[test]
fn only_the_transport_names_the_engine() {
    let mut found = Vec::new();
    for (name, text) in sources("src") {
        if name.starts_with("src/transport/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // Tests may draw: from a seed that stands there.
            let is_test = name.contains("/tests/");
            let words = ["str0m::", "dimpl::", "fastrand::"];
            let words = if is_test { &words[..2] } else { &words[..] };
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("only src/transport names str0m, dimpl or fastrand", &found);
}

#[test]
fn imports_point_down_only() {
    // What each layer must not name, from the lowest layer up.
    let layers = [
        ("src/transport/", &["crate::session", "crate::endpoint", "crate::signaling"][..]),
        ("src/audio/", &["crate::session", "crate::endpoint", "crate::signaling"][..]),
        ("src/video/", &["crate::session", "crate::endpoint", "crate::signaling"][..]),
        ("src/session/", &["crate::endpoint", "crate::signaling"][..]),
        ("src/endpoint/", &["crate::signaling"][..]),
    ];
    let mut found = Vec::new();
    for (name, text) in sources("src") {
        for (layer, above) in layers {
            for word in above {
                if name.starts_with(layer) && text.contains(word) {
                    found.push(format!("{name} names {word}"));
                }
            }
        }
    }
    report("imports point down only", &found);
}

#[test]
fn every_module_says_what_it_is() {
    let mut found = Vec::new();
    for (name, text) in sources("") {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if !first.starts_with("//!") && !first.starts_with("#![") {
            found.push(name);
        }
    }
    report("every file begins with its documentation", &found);
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let mut found = Vec::new();
    let mut manifests = Vec::new();
    collect(root(), "toml", &mut manifests);
    for manifest in manifests.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = fs::read_to_string(manifest).expect("a manifest is UTF-8");
        let package = text.contains("[package]");
        let fuzz = manifest.parent().is_some_and(|folder| folder.ends_with("fuzz"));
        if package && !fuzz && !text.contains("[lints]\nworkspace = true") {
            found.push(manifest.display().to_string());
        }
    }
    report("every crate takes the workspace's lints, which forbid unsafe code", &found);
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there");
    assert!(workspace.contains("unsafe_code = \"forbid\""));
}

#[test]
fn every_file_that_the_documents_name_exists() {
    let mut found = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root().join(document)).expect("the document is there");
        for name in text.split('`').skip(1).step_by(2) {
            let first = name.split('/').next().unwrap_or_default();
            let ours = ["src", "tests", "runtimes", "fuzz", "benches", "examples"].contains(&first);
            let is_path = ours && name.contains('/') && !name.contains(' ');
            if is_path && !root().join(name).exists() {
                found.push(format!("{document}: {name}"));
            }
        }
    }
    report("documents name files that exist", &found);
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_promise_names_tests_a_property_and_fuzz_targets_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the document is there");
    let properties = sources("tests/sim/tests");
    let is_property = |name: &str| {
        let head = format!("fn {name}(");
        let is_drawn = |text: &str| text.contains("proptest") || text.contains("holds(");
        properties.iter().any(|(_, text)| text.contains(&head) && is_drawn(text))
    };
    let is_target = |name: &str| root().join(format!("fuzz/fuzz_targets/{name}.rs")).exists();
    let (mut promises, mut found) = (0, Vec::new());
    for row in readme.lines().filter(|row| row.starts_with("| ") && row.contains(" | `tests/")) {
        let [_, promise, tests, property, targets, _] = row.split('|').collect::<Vec<_>>()[..]
        else {
            continue;
        };
        promises += 1;
        let missing = quoted(property).filter(|name| !is_property(name));
        found.extend(missing.chain(quoted(targets).filter(|name| !is_target(name))));
        assert!(quoted(tests).count() > 0 && quoted(targets).count() > 0, "promise{promise}");
        assert!(!property.trim().is_empty(), "promise{promise}");
    }
    assert_eq!(promises, 5, "rows of the table in README.md");
    let found: Vec<String> = found.into_iter().map(str::to_owned).collect();
    report("what attacks the promises exists", &found);
}

/// Whether a program of the simulator's tests, with this code, has all of them run twice when they
/// are to be: the attribute has to be that of every `#[test]`, of each module.
fn repeats(code: &str) -> bool {
    let takes_part = code.contains("#[macro_use]\nextern crate smallrtc_sim_twice;");
    // An attribute that is named in full is the standard one.
    takes_part && !code.contains("::test]")
}

#[test]
fn every_simulated_test_can_be_run_twice() {
    let (mut programs, mut found) = (0, Vec::new());
    for (name, text) in sources("tests/sim/tests") {
        let inside = name.trim_start_matches("tests/sim/tests/").to_owned();
        let is_program = !inside.contains('/') || inside.ends_with("/main.rs");
        programs += usize::from(is_program);
        if is_program && !repeats(&text) || text.contains("::test]") {
            found.push(name);
        }
    }
    report("programs of simulated tests begin with the attribute that repeats them", &found);
    assert!(programs > 20, "{programs} programs of simulated tests");
}

#[test]
fn a_simulated_program_that_does_not_repeat_is_seen() {
    let attribute = "#[macro_use]\nextern crate smallrtc_sim_twice;\n";
    assert!(repeats(&format!("{attribute}#[test]\nfn a() {{}}")));
    assert!(!repeats("#[test]\nfn a() {}"));
    assert!(!repeats("extern crate smallrtc_sim_twice;\n#[test]\nfn a() {}"));
    assert!(!repeats(&format!("{attribute}#[core::prelude::v1::test]\nfn a() {{}}")));
}

/// Names that exist on some systems only.
const OF_ONE_SYSTEM: [&str; 7] =
    ["std::os::", "mio::unix", "rustix::", "libc::", "AsRawFd", "AsFd", "timerfd_"];

/// Whether an attribute says for which system an item is.
fn names_a_system(line: &str) -> bool {
    let line = line.trim();
    let says = ["unix", "windows", "target_os", "target_family"];
    line.starts_with("#[cfg(") && says.iter().any(|word| line.contains(word))
}

/// Whether an item, or one that it is in, has a condition on the system. Items are told by their
/// indentation, which the formatter keeps.
fn is_conditional(lines: &[&str], mut number: usize) -> bool {
    loop {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let own = indent(lines[number]);
        let attributes = lines[..number].iter().rev();
        let mut attributes = attributes.take_while(|line| {
            let line = line.trim();
            line.starts_with("#[") || line.starts_with("///") || line.starts_with("//")
        });
        if attributes.any(|line| names_a_system(line)) {
            return true;
        }
        let outer = |line: &&str| !line.trim().is_empty() && indent(line) < own;
        let Some(around) = lines[..number].iter().rposition(outer) else { return false };
        number = around;
    }
}

/// The line of a parent that declares a module's file, and the parent's lines.
fn declaration<'a>(name: &str, sources: &'a [(String, String)]) -> Option<(Vec<&'a str>, usize)> {
    let path = Path::new(name);
    let stem = path.file_stem()?.to_str()?;
    let folder = path.parent()?;
    let (module, folder) = if stem == "mod" {
        (folder.file_name()?.to_str()?, folder.parent()?)
    } else {
        (stem, folder)
    };
    let parents = [folder.join("lib.rs"), folder.join("main.rs"), folder.join("mod.rs")];
    let parents = parents.into_iter().chain([folder.with_extension("rs")]);
    for parent in parents {
        let Some((_, text)) = sources.iter().find(|(name, _)| *Path::new(name) == parent) else {
            continue;
        };
        let lines: Vec<&str> = text.lines().collect();
        let declares = |line: &&str| {
            let words = line.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            words == format!("mod {module};")
        };
        if let Some(number) = lines.iter().position(declares) {
            return Some((lines, number));
        }
    }
    None
}

#[test]
fn what_one_system_has_is_used_there_only() {
    let mut found = Vec::new();
    let mut used = 0;
    for under in ["src", "runtimes/udp/src", "runtimes/smol/src", "runtimes/mio/src"]
        .into_iter()
        .chain(["runtimes/files/src", "runtimes/server/src", "tests/sim/src"])
    {
        let sources = sources(under);
        for (name, text) in &sources {
            let for_one = declaration(name, &sources)
                .is_some_and(|(lines, number)| is_conditional(&lines, number));
            let lines: Vec<&str> = text.lines().collect();
            for (number, line) in lines.iter().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if OF_ONE_SYSTEM.iter().any(|word| code.contains(word)) {
                    used += 1;
                    if !for_one && !is_conditional(&lines, number) {
                        found.push(format!("{name}:{}: {}", number + 1, line.trim()));
                    }
                }
            }
        }
    }
    report("what one system has stands under a condition on the system", &found);
    assert!(used > 0, "the alarm names a file descriptor, or this looks at nothing");
}

#[test]
fn a_condition_on_the_system_is_seen_around_an_item_and_before_it() {
    let text = "\
#[cfg(unix)]
use std::os::fd::AsRawFd;
use std::os::fd::AsFd;

#[cfg(target_os = \"linux\")]
/// A timer.
mod timer {
    use std::os::fd::OwnedFd;

    fn inner() {
        let flags = rustix::io::read();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
}";
    let lines: Vec<&str> = text.lines().collect();
    let conditional: Vec<bool> = (0..lines.len())
        .filter(|number| OF_ONE_SYSTEM.iter().any(|word| lines[*number].contains(word)))
        .map(|number| is_conditional(&lines, number))
        .collect();
    assert_eq!(conditional, [true, false, true, true, false]);
}
