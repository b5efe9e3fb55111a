//! The shape of the house: who imports whom, twins among the migrations, what may branch on the database, sizes of files.
//! `ARCHITECTURE.md` says the same in words.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join(folder), &mut files);
    files.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The part of a file that is the product: without its unit tests and comments.
fn product(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What each room may name of ours, as `crate::room`, beside itself. `app`, `cli`, `main` and `lib` may name everything;
/// a room that is not here yet has no business in the tree.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("error", &["domain"]),
    ("clock", &["domain"]),
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    ("metrics", &["domain", "error"]),
    ("disk", &[]),
    ("keys", &["domain", "error", "disk"]),
    ("cache", &["domain", "clock"]),
    ("live", &["domain", "storage", "error"]),
    ("outbound", &["domain"]),
    ("storage", &["domain", "error", "disk"]),
    ("mail", &["domain", "error", "config", "disk"]),
    ("limits", &["domain", "config", "clock", "storage", "error"]),
    ("service", &["domain", "storage", "keys", "clock", "error"]),
    ("jobs", &["domain", "storage", "service", "mail", "config", "error", "metrics", "keys", "outbound"]),
    ("http", &["domain", "service", "storage", "limits", "cache", "live", "error", "metrics"]),
];

const EVERYWHERE: &[&str] = &["app", "cli", "main", "lib"];

/// Libraries that a room must not name.
const FOREIGN: &[(&str, &[&str])] = &[
    ("domain", &["actix_web::", "diesel::", "tokio::", "getrandom::", "lettre::"]),
    ("disk", &["actix_web::", "diesel::", "tokio::", "getrandom::", "lettre::"]),
    ("storage", &["actix_web::", "lettre::"]),
    ("mail", &["actix_web::", "diesel::"]),
    ("limits", &["actix_web::", "diesel::"]),
    ("keys", &["actix_web::", "diesel::", "tokio::"]),
    ("cache", &["actix_web::", "diesel::"]),
    ("live", &["actix_web::", "diesel::", "db.write("]),
    ("metrics", &["actix_web::", "diesel::"]),
    ("outbound", &["actix_web::", "diesel::", "lettre::"]),
    ("service", &["actix_web::", "diesel::", "lettre::"]),
    // What dials an address that somebody typed is outbound.rs alone.
    ("jobs", &["actix_web::", "diesel::", "hyper::", "tokio::net"]),
    // What http writes goes through a use case.
    ("http", &["diesel::", "lettre::", "db.write("]),
];

/// `src/http/mod.rs` is in `http`, `src/keys.rs` in `keys`.
fn room_of(name: &str) -> &str {
    name.strip_prefix("src/").unwrap().split('/').next().unwrap().trim_end_matches(".rs")
}

/// The rooms that a text names: `crate::room::…` and `use crate::{room, other::…}`.
fn named(text: &str) -> BTreeSet<&str> {
    let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
    let word = |text: &str| text.find(|c| !is_letter(c)).unwrap_or(text.len());
    let mut rooms = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        assert!(!rest.starts_with('{'), "one `use` for each room, so that this test can read it");
        rooms.insert(&rest[..word(rest)]);
    }
    rooms
}

#[test]
fn rooms_import_only_what_they_may() {
    let mut broken = Vec::new();
    for (name, text) in sources("src") {
        let room = room_of(&name);
        if EVERYWHERE.contains(&room) {
            continue;
        }
        let text = product(&text);
        match ROOMS.iter().find(|(known, _)| *known == room) {
            None => broken.push(format!("{name}: nobody has said what `{room}` may use")),
            Some((_, allowed)) => broken.extend(
                named(&text)
                    .iter()
                    .filter(|other| **other != room && !allowed.contains(other))
                    .map(|other| format!("{name} names crate::{other}")),
            ),
        }
        let joined = text.replace(char::is_whitespace, "");
        let foreign = FOREIGN.iter().filter(|(known, _)| *known == room).flat_map(|(_, libraries)| *libraries);
        broken.extend(foreign.filter(|word| joined.contains(**word)).map(|word| format!("{name} names {word}")));
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Files that may tell one database from the other; everything else is written once for both.
const MAY_BRANCH: &[&str] = &[
    "src/storage/conn.rs",
    "src/storage/copy/tables.rs",
    "src/storage/follow.rs",
    "src/storage/listener.rs",
    "src/storage/migrations.rs",
    "src/storage/mod.rs",
    "src/storage/neighbours.rs",
    "src/storage/outbox.rs",
    "src/storage/queue.rs",
    "src/storage/arrivals.rs",
    "src/storage/shared_limits/mod.rs",
    "src/storage/shared_limits/rows.rs",
    "src/storage/sqlite.rs",
    "src/storage/postgres.rs",
    "src/storage/types.rs",
    "src/storage/webhook_queue.rs",
    "src/storage/words.rs",
];

#[test]
fn few_files_branch_on_the_database() {
    let branching: BTreeSet<String> = sources("src")
        .into_iter()
        .filter(|(_, text)| product(text).contains("Conn::Sqlite") || product(text).contains("sqlite::Sqlite>"))
        .map(|(name, _)| name)
        .collect();
    let surplus: Vec<_> = branching.iter().filter(|name| !MAY_BRANCH.contains(&name.as_str())).collect();
    assert!(surplus.is_empty(), "{surplus:?}");
}

#[test]
fn no_sql_is_put_together_from_text() {
    for (name, text) in sources("src") {
        let text = product(&text).replace(char::is_whitespace, "");
        for bad in ["sql_query(format!", "sql_query(&format!", "batch_execute(&format!", "batch_execute(format!"] {
            assert!(!text.contains(bad), "{name} formats SQL");
        }
    }
}

#[test]
fn migrations_are_twins() {
    let names = |database: &str| -> BTreeSet<String> {
        let folder = root().join("migrations").join(database);
        let folders = std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_dir());
        let entries: Vec<_> = folders.collect();
        for entry in &entries {
            assert!(
                entry.path().join("up.sql").is_file() && entry.path().join("down.sql").is_file(),
                "{:?}",
                entry.path()
            );
        }
        entries.iter().map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

/// The tables and columns of both databases have the same names, but for what only one of them needs.
#[test]
fn both_databases_have_the_same_tables() {
    let (sqlite, postgres) = (columns_of("sqlite"), columns_of("postgres"));
    let different: Vec<_> = sqlite.symmetric_difference(&postgres).collect();
    let only_here = [
        "comment_words.comment_id",
        "comment_words.words",
        "comments.seq",
        "events.tx",
        "rate_limits.arrival",
        "rate_limits.key",
    ];
    assert_eq!(different, only_here);
}

/// The columns that all migrations of a database make in the end, read as text.
fn columns_of(database: &str) -> BTreeSet<String> {
    let folder = root().join("migrations").join(database);
    let mut ups: Vec<_> =
        std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path().join("up.sql")).collect();
    ups.retain(|path| path.exists());
    ups.sort();
    let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for up in ups {
        let mut table = String::new();
        for line in std::fs::read_to_string(up).unwrap().lines() {
            let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || c == ';').collect();
            match words.as_slice() {
                ["CREATE", "TABLE", name, ..] | ["CREATE", "UNLOGGED", "TABLE", name, ..] => {
                    (*name).clone_into(&mut table);
                }
                ["DROP", "TABLE", name, ..] => drop(tables.remove(*name)),
                ["ALTER", "TABLE", name, "RENAME", "TO", new, ..] => {
                    let columns = tables.remove(*name).unwrap();
                    tables.insert((*new).to_owned(), columns);
                }
                ["ALTER", "TABLE", name, "ADD", "COLUMN", column, ..] => {
                    tables.get_mut(*name).unwrap().insert((*column).to_owned());
                }
                ["ALTER", "TABLE", name, "DROP", "COLUMN", column, ..] => {
                    assert!(tables.get_mut(*name).unwrap().remove(*column));
                }
                _ if line.starts_with(')') => table.clear(),
                ["", "", "", "", "PRIMARY" | "UNIQUE" | "FOREIGN" | "CHECK", ..] => {}
                ["", "", "", "", column, ..] if !table.is_empty() => {
                    tables.entry(table.clone()).or_default().insert((*column).to_owned());
                }
                _ => {}
            }
        }
    }
    let named = |(table, columns): (String, BTreeSet<String>)| -> Vec<String> {
        columns.into_iter().map(|column| format!("{table}.{column}")).collect()
    };
    tables.into_iter().flat_map(named).collect()
}

#[test]
fn files_answer_one_question() {
    for folder in ["src", "tests", "benches", "examples"] {
        for (name, text) in sources(folder) {
            let lines = product(&text).lines().count();
            // The list of all columns is one question, however many there are.
            assert!(
                lines <= 420 || name.ends_with("storage/schema.rs"),
                "{name} has {lines} lines: it answers more than one question"
            );
            assert!(text.starts_with("//!"), "{name} does not say what it is for");
            let bad = ["utils", "helpers", "common", "misc", "manager"];
            let room = Path::new(&name).file_stem().unwrap().to_str().unwrap();
            assert!(!bad.contains(&room), "{name} has no name of its own");
        }
    }
}

/// The PostgreSQL arm is pure Rust, TLS is rustls with ring: nothing that needs a system library.
#[test]
fn no_system_library_is_linked() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--all-features", "-e", "normal,build", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    assert!(text.contains("actix-web v4"));
    for unwanted in
        ["pq-sys", "openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "cmake", "actix-governor"]
    {
        let found = text.lines().any(|line| line.split(' ').next() == Some(unwanted));
        assert!(!found, "{unwanted} is in the tree");
    }
    // HTTP/2 stays off: actix's is bound to h2 0.3 (RUSTSEC-2026-0258).
    assert!(!text.lines().any(|line| line.starts_with("h2 v0.3")), "h2 0.3 is in the tree");
}

/// What is logged about a comment is what webhooks are told: both happen in one place.
#[test]
fn one_place_records_events() {
    for (name, text) in sources("src/service") {
        assert!(!product(&text).contains("tx.log(") || name.ends_with("/webhooks.rs"), "{name}: use Service::record");
    }
}

/// `actix_web::http` and `tracing` know nothing of people: no log line takes a field that could be one.
#[test]
fn logs_take_ids_and_counts() {
    for (name, text) in sources("src") {
        let text = product(&text);
        for call in text.split("tracing::").skip(1) {
            let call = call.split(");").next().unwrap();
            if !["error!", "warn!", "info!", "debug!", "trace!"].iter().any(|level| call.starts_with(level)) {
                continue;
            }
            for person in ["email", "body", "address", "token", "name =", "comment.", "author", "query_string", "uri()"]
            {
                assert!(!call.contains(person) || call.contains("migration = name"), "{name} logs {person}: {call}");
            }
        }
    }
}

/// Columns of text and bytes that hold nothing of a person; each other one is in docs/privacy.md. A new column is in one of
/// the two, or the test below fails.
const IMPERSONAL: &[&str] = &[
    "meta.key",
    "meta.value",
    "sites.key",
    "sites.name",
    "sites.url",
    "sites.origins",
    "sites.language",
    "sites.settings",
    "articles.key",
    "articles.title",
    "articles.url",
    "comments.path",
    "comments.article_title",
    "comments.article_url",
    "outbox.dedupe_key",
    "outbox.last_error",
    "idempotency_keys.key_hash",
    "idempotency_keys.request_hash",
    "accounts.time_zone",
    "accounts.language",
    "accounts.totp_sealed",
    "accounts.totp_pending",
    "recovery_codes.code_hash",
    "one_time_links.token_hash",
    "reactions.reaction",
    "reaction_counts.reaction",
    "sessions.token_hash",
    "tokens.name",
    "tokens.token_hash",
    "tokens.scope",
    "rules.definition",
    "rules.words",
    "webhooks.events",
    "webhooks.private_sealed",
    "webhooks.disabled_reason",
    "webhook_deliveries.error",
];

#[test]
fn the_document_names_every_personal_column() {
    let schema = std::fs::read_to_string(root().join("src/storage/schema.rs")).unwrap();
    let mut columns = BTreeSet::from(["comment_words.words".to_owned()]);
    for table in schema.split("table! {").skip(1) {
        let lines = || table.lines().map(str::trim);
        let name = lines().find(|line| line.ends_with(") {")).unwrap().split(' ').next().unwrap();
        for (column, kind) in lines().filter_map(|line| line.split_once(" -> ")) {
            if kind.contains("Text") || kind.contains("Binary") {
                columns.insert(format!("{name}.{column}"));
            }
        }
    }
    let document = std::fs::read_to_string(root().join("docs/privacy.md")).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let named: BTreeSet<String> = rows.map(str::to_owned).collect();
    let impersonal: BTreeSet<String> = IMPERSONAL.iter().map(|column| (*column).to_owned()).collect();
    let missing: Vec<_> =
        columns.iter().filter(|column| !named.contains(*column) && !impersonal.contains(*column)).collect();
    let surplus: Vec<_> = named.union(&impersonal).filter(|column| !columns.contains(*column)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "neither personal nor not: {missing:?}; no column: {surplus:?}");
    assert!(named.is_disjoint(&impersonal));
}
