//! The tree itself: what nobody should have to remember in a review. Reads files and nothing else; fast, no network.
//!
//! Every test collects all that is wrong and names it with its place.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot read the tree has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;

const CRATES: [&str; 5] = ["common", "directory", "peer", "client", "tests"];
const LINES: usize = 600;

/// Which crates of ours a crate may depend on.
const ARROWS: [(&str, &[&str]); 5] = [
    ("common", &[]),
    ("directory", &["common"]),
    ("peer", &["common"]),
    ("client", &["common"]),
    ("tests", &["common", "directory", "peer", "client"]),
];

/// Who may link what. Directory and peer do not contain the code that could read a file.
const LINKED: [(&str, &[&str]); 14] = [
    ("aes", &["client"]),
    ("aes-gcm-siv", &["client"]),
    ("bincode", &["common"]),
    ("bip39", &["client"]),
    ("cipher", &["client"]),
    ("clap", &["directory", "peer", "client", "tests"]),
    ("ctr", &["client"]),
    ("fastcdc", &["client"]),
    ("quinn", &["common"]),
    ("reed-solomon-simd", &["common"]),
    ("rustls", &["common"]),
    ("sha1", &["common"]),
    ("sled", &["directory"]),
    ("zstd", &["client"]),
];

/// Words that stand in code (comments do not count) below these places only.
const NAMED: [(&str, &str); 5] = [
    ("sha1", "common/src/address.rs"),
    ("Sha1", "common/src/address.rs"),
    ("bincode", "common/src/codec.rs"),
    ("quinn", "common/src/transport/"),
    ("sled", "directory/src/kv/"),
];

/// The one place that may say `unsafe`, once: it calls a function that needs instructions of the CPU.
const UNSAFE: &str = "common/lanes/src/lib.rs";

const BANNED: [(&str, &str); 4] = [
    ("unsafe", "find a safe crate"),
    ("todo!", "finish it, or leave it out and say so in ARCHITECTURE.md"),
    ("unimplemented!", "finish it, or leave it out and say so in ARCHITECTURE.md"),
    ("#[ignore", "a test runs, or says why it skips at run time"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files with this ending below a folder, by their path from the root.
fn files(below: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<String> {
    CRATES.iter().flat_map(|name| files(name, ".rs")).collect()
}

/// The pages that a reader is led to.
fn pages() -> Vec<String> {
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .into_iter()
        .map(str::to_owned)
        .chain(files("docs", ".md"))
        .collect()
}

/// A line without its comment. A `//` inside a string cuts too much off, which only makes a test blind there.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap()
}

fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(part);
        let after = text[at + word.len()..].chars().next().is_some_and(part);
        !before && !after
    })
}

fn nothing_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// What stands between backticks, on one line each.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Dependencies of a crate, with the section that each stands in.
fn dependencies(of: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in read(&format!("{of}/Cargo.toml")).lines() {
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            line.clone_into(&mut section);
        } else if let Some((name, _)) = line.split_once(['=', '.']).filter(|_| section.contains("dependencies")) {
            found.push((section.clone(), name.trim().to_owned()));
        }
    }
    assert!(!found.is_empty(), "{of} has no dependencies at all");
    found
}

#[test]
fn no_file_is_too_long() {
    let wrong: Vec<_> = rust_files()
        .into_iter()
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > LINES)
        .map(|(lines, path)| format!("{path} has {lines} lines, {LINES} are the most: split it by its nouns"))
        .collect();
    nothing_wrong(&wrong);
}

#[test]
fn every_file_says_first_what_it_is() {
    let wrong: Vec<_> = rust_files()
        .into_iter()
        .filter(|path| !read(path).starts_with("//! "))
        .map(|path| format!("{path} does not begin with its module doc (//!)"))
        .collect();
    nothing_wrong(&wrong);
}

#[test]
fn arrows_between_crates_point_down() {
    let mut wrong = Vec::new();
    for (of, allowed) in ARROWS {
        for (section, name) in dependencies(of) {
            if CRATES.contains(&name.as_str()) && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{of} may not depend on {name} ({section})"));
            }
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn dangerous_crates_are_linked_where_they_belong() {
    let mut wrong = Vec::new();
    for of in CRATES {
        for (_, name) in dependencies(of) {
            let rule = LINKED.iter().find(|(linked, allowed)| *linked == name && !allowed.contains(&of));
            wrong.extend(rule.map(|(_, allowed)| format!("{of}/Cargo.toml: {name} belongs in {allowed:?} alone")));
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn sha_1_and_bincode_are_named_in_one_file_each() {
    let mut wrong = Vec::new();
    for path in rust_files().into_iter().filter(|path| path != "tests/tidy.rs") {
        for (number, line) in (1..).zip(read(&path).lines()) {
            for (word, place) in NAMED {
                if has_word(code(line), word) && !path.starts_with(place) {
                    wrong.push(format!("{path}:{number}: {word} is named outside of {place}"));
                }
            }
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn nothing_is_unsafe_unfinished_or_ignored() {
    let mut wrong = Vec::new();
    for path in rust_files().into_iter().filter(|path| path != "tests/tidy.rs") {
        for (number, line) in (1..).zip(read(&path).lines()) {
            for (word, instead) in BANNED.iter().filter(|(word, _)| code(line).contains(word)) {
                if *word != "unsafe" || has_word(code(line), word) && path != UNSAFE {
                    wrong.push(format!("{path}:{number}: {word}: {instead}"));
                }
            }
        }
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    let times = read(UNSAFE).lines().filter(|line| has_word(code(line), "unsafe")).count();
    assert_eq!(times, 1, "{UNSAFE} says it once");
    for of in CRATES {
        if !read(&format!("{of}/Cargo.toml")).contains("[lints]\nworkspace = true") {
            wrong.push(format!("{of}/Cargo.toml does not take the workspace's lints"));
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn every_dependency_has_its_reason_and_its_use() {
    let mut wrong = Vec::new();
    let manifest = read("Cargo.toml");
    let table = manifest.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut listed = BTreeSet::new();
    for group in table.trim().split("\n\n") {
        let ours = |name: &str| CRATES.contains(&name);
        let headed = group.starts_with('#');
        for line in group.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split('=').next().unwrap().trim().to_owned();
            if !headed && !ours(&name) && !line.contains(" # ") {
                wrong.push(format!("Cargo.toml: {name} has neither a comment nor a heading above its group"));
            }
            listed.insert(name);
        }
    }
    let mut used = BTreeSet::new();
    for of in CRATES {
        let everything: String = files(of, ".rs").iter().map(|path| read(path)).collect();
        for (section, name) in dependencies(of) {
            if !listed.contains(&name) {
                wrong.push(format!("{of}/Cargo.toml: {name} is not in the workspace's table"));
            }
            let for_its_features =
                read(&format!("{of}/Cargo.toml")).contains(&format!("{name}.workspace = true # only its features"));
            if !for_its_features && !has_word(&everything, &name.replace('-', "_")) {
                wrong.push(format!("{of}/Cargo.toml: {name} ({section}) is named nowhere in {of}"));
            }
            used.insert(name);
        }
    }
    wrong.extend(listed.difference(&used).map(|name| format!("Cargo.toml: nobody uses {name}")));
    nothing_wrong(&wrong);
}

/// Every test function of the tree, by its path: crate, modules, name. Those of whole test binaries begin with the binary's name.
fn tests_of_the_tree() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in rust_files() {
        let module = path.replacen("/src/", "/", 1);
        let module =
            ["/mod.rs", "/lib.rs", "/main.rs", ".rs"].into_iter().find_map(|end| module.strip_suffix(end)).unwrap();
        let module = module.strip_prefix("tests/").unwrap_or(module).replace('/', "::");
        let text = read(&path);
        let mut lines = text.lines().map(str::trim);
        let mut inner = "";
        while let Some(line) = lines.next() {
            if line.ends_with("mod tests {") {
                inner = "::tests";
            }
            if !(line.starts_with("#[test]") || line.starts_with("#[tokio::test")) {
                continue;
            }
            let Some(signature) = lines.find(|line| line.contains("fn ")) else { break };
            let name: String = signature
                .split("fn ")
                .nth(1)
                .unwrap()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            found.insert(format!("{module}{inner}::{name}"));
        }
    }
    found
}

fn looks_like_a_test(text: &str) -> bool {
    let first = text.split("::").next().unwrap();
    text.matches("::").count() >= 1
        && ["common", "directory", "peer", "client", "bounds", "real", "tidy"].contains(&first)
        && text.chars().all(|c| c.is_alphanumeric() || "_:".contains(c))
}

#[test]
fn every_test_that_a_page_names_exists() {
    let tests = tests_of_the_tree();
    let mut wrong = Vec::new();
    for page in pages() {
        for named in quoted(&read(&page)).filter(|text| looks_like_a_test(text)) {
            if !tests.contains(named) {
                let name = named.rsplit("::").next().unwrap();
                let like: Vec<_> = tests.iter().filter(|test| test.ends_with(&format!("::{name}"))).collect();
                wrong.push(format!("{page}: there is no test {named}; of that name there are {like:?}"));
            }
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn every_invariant_names_a_test() {
    let page = read("ARCHITECTURE.md");
    for number in 1..=9 {
        let row = page.lines().find(|line| line.starts_with(&format!("| {number} | ")));
        let row = row.unwrap_or_else(|| panic!("ARCHITECTURE.md has no invariant {number}"));
        assert!(quoted(row).any(looks_like_a_test), "invariant {number} names no test");
    }
}

#[test]
fn every_link_and_file_of_a_page_is_there() {
    let rust = rust_files();
    let mut wrong = Vec::new();
    for page in pages() {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => Path::new(&page).parent().unwrap().join(file).to_str().unwrap().to_owned(),
            };
            if !root().join(&target).exists() {
                wrong.push(format!("{page}: {link} leads nowhere"));
            } else if !heading.is_empty() && !anchors(&read(&target)).contains(heading) {
                wrong.push(format!("{page}: {target} has no heading #{heading}"));
            }
        }
        for file in quoted(&text).filter(|text| text.ends_with(".rs") && !text.contains(['*', ' '])) {
            if !rust.iter().any(|path| path == file || path.ends_with(&format!("/{file}"))) {
                wrong.push(format!("{page}: there is no file {file}"));
            }
        }
    }
    nothing_wrong(&wrong);
}

/// Headings as links name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    page.lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>())
        .map(|heading| heading.replace(' ', "-"))
        .collect()
}

#[test]
fn every_request_of_the_wire_is_on_the_page_of_formats() {
    let page = read("docs/FORMATS.md");
    let mut wrong = Vec::new();
    for file in ["directory", "enroll", "peer"] {
        let text = read(&format!("common/src/proto/{file}.rs"));
        for line in text.lines().map(str::trim).filter(|line| line.contains(" -> ") && line.ends_with(';')) {
            let (tag, rest) = line.split_once(' ').unwrap();
            let (request, answer) = rest.trim_end_matches(';').split_once(" -> ").unwrap();
            let row = page.lines().find(|row| row.starts_with(&format!("| {tag} | `{request}` |")));
            if !row.is_some_and(|row| row.contains(&format!("`{answer}`"))) {
                wrong.push(format!("docs/FORMATS.md lacks {tag} {request} -> {answer}"));
            }
        }
    }
    nothing_wrong(&wrong);
}

/// Options of each subcommand, long and short, as a file with clap definitions gives them. `""` holds those of all.
/// The verbs of a verb go by both, as in `key verify`.
fn options_in(paths: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let text: String = paths.iter().map(|path| read(path)).collect();
    let mut structs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut current, mut attribute, mut inside) = (String::new(), String::new(), false);
    let mut commands = Vec::new();
    let (mut in_commands, mut flattened, mut taken) = (false, false, Vec::new());
    let mut above = String::new();
    for line in text.lines().map(str::trim) {
        let item = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        if let Some(name) = item.strip_prefix("struct ") {
            current = name.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
            structs.entry(current.clone()).or_default();
        }
        let of_commands = item.strip_prefix("enum ").and_then(|rest| rest.split("Command").next());
        if let Some(verb) = of_commands.filter(|_| item.contains("Command")) {
            above = if verb.is_empty() { String::new() } else { format!("{} ", verb.to_lowercase()) };
            in_commands = true;
        }
        in_commands = in_commands && line != "}";
        if line == "#[command(flatten)]" {
            flattened = true;
        } else if let Some((_, whose)) = item.split_once(": ").filter(|_| std::mem::take(&mut flattened)) {
            taken.push((current.clone(), whose.trim_end_matches(',').to_owned()));
        }
        if let Some((variant, rest)) = item.split_once('(').filter(|_| in_commands && !line.starts_with("//")) {
            commands.push((format!("{above}{}", variant.to_lowercase()), rest.trim_end_matches("),").to_owned()));
        }
        inside = inside || line.starts_with("#[arg(");
        if inside {
            attribute.push_str(line);
            inside = !line.ends_with(']');
        } else if let Some((field, _)) = item.split_once(": ").filter(|_| !attribute.is_empty()) {
            let options = structs.entry(current.clone()).or_default();
            if has_word(&attribute, "long") {
                let named = attribute.split("long = \"").nth(1).and_then(|rest| rest.split('"').next());
                options.insert(format!("--{}", named.map_or_else(|| field.replace('_', "-"), str::to_owned)));
            }
            if has_word(&attribute, "short") {
                options.extend(field.chars().next().map(|c| format!("-{c}")));
            }
            attribute.clear();
        }
    }
    assert!(!commands.is_empty(), "{paths:?} define no command");
    for (who, whose) in taken {
        let options = structs.get(&whose).cloned().unwrap_or_default();
        structs.entry(who).or_default().extend(options);
    }
    let mut all = BTreeMap::from([(String::new(), structs.get("Global").cloned().unwrap_or_default())]);
    all.extend(commands.into_iter().map(|(name, of)| (name, structs.remove(&of).unwrap_or_default())));
    all
}

/// Lines of README that begin with one of our programs, without what a shell or a reader makes of the rest.
fn commands_of_the_readme() -> Vec<Vec<String>> {
    let readme = read("README.md");
    let blocks = readme.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(|block| block.lines().skip(1)).filter(|line| line.starts_with("shoal"));
    lines
        .map(|line| line.split(" #").next().unwrap().split("  ").next().unwrap())
        .map(|line| line.split_whitespace().map(|word| word.trim_matches(['[', ']']).to_owned()).collect())
        .collect()
}

#[test]
fn every_command_in_the_readme_is_one() {
    let of = |path: &str| [vec![path.to_owned()], files(path.trim_end_matches(".rs"), ".rs")].concat();
    let programs = BTreeMap::from([
        ("shoal", options_in(&of("client/src/cli/args.rs"))),
        ("shoal-peer", options_in(&["peer/src/cli/args.rs".to_owned()])),
        ("shoal-directory", options_in(&["directory/src/cli/arguments.rs".to_owned()])),
    ]);
    let commands = commands_of_the_readme();
    assert!(commands.len() > 10, "README names hardly any commands: {commands:?}");
    let mut wrong = Vec::new();
    for words in commands {
        let line = words.join(" ");
        let Some(program) = programs.get(words[0].as_str()) else {
            wrong.push(format!("README: there is no program {line}"));
            continue;
        };
        let nested = words.get(1..3).and_then(|verbs| program.get(&verbs.join(" ")));
        let Some(own) = nested.or_else(|| program.get(words.get(1)?)) else {
            wrong.push(format!("README: there is no command {line}"));
            continue;
        };
        for option in words.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
            if !own.contains(option) && !program[""].contains(option) {
                wrong.push(format!("README: {line}: there is no {option}"));
            }
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn every_example_of_shoal_in_the_readme_is_understood() {
    let readme = read("README.md");
    let blocks = readme.split("```sh").skip(1).filter_map(|block| block.split("```").next());
    for line in blocks.flat_map(str::lines).filter(|line| line.starts_with("shoal ")) {
        let words = line.split(" #").next().unwrap().split_whitespace();
        if let Err(error) = client::cli::args::Cli::try_parse_from(words) {
            panic!("README: {line}: {error}");
        }
    }
}

#[test]
fn the_tree_is_where_this_test_looks_for_it() {
    let missing: Vec<PathBuf> =
        CRATES.iter().map(|name| root().join(name).join("Cargo.toml")).filter(|path| !path.exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(tests_of_the_tree().len() > 200, "hardly any tests were found");
}
