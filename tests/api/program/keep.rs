//! Keeping data: export, backup while comments come, restore, and everything that these refuse.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use reqwest::blocking::Client;
use serde_json::json;

use crate::support::postgres;
use crate::support::program::{Installation, wait_until};

/// Fails with 1 and one line, which is returned.
fn refused(installation: &Installation, arguments: &[&str]) -> String {
    let output = installation.run(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    text
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// An empty place with the key of another installation.
fn place_with_key_of(other: &Installation) -> Installation {
    let place = Installation::new();
    std::fs::create_dir(place.path("data")).unwrap();
    std::fs::copy(other.path("data/secret.key"), place.path("data/secret.key")).unwrap();
    place
}

fn comments_in(export: &str) -> usize {
    export.lines().filter(|line| line.starts_with("{\"kind\":\"comment\"")).count()
}

/// Ends the thread that sends, also when the test fails: nobody would wait for its end otherwise.
struct Enough<'a>(&'a AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Everything but mail, which goes nowhere in tests.
fn assert_healthy(installation: &Installation) {
    let told = String::from_utf8(installation.run(&["doctor"]).stdout).unwrap();
    for line in ["ok   The database is whole", "ok   The counters agree"] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn a_backup_made_while_comments_come_restores_to_the_same() {
    let installation = Installation::new().set("limits__enabled", "false");
    installation.done(&["account", "add", "--email", "ann@example.org", "--role", "moderator"]);
    let running = installation.start();
    let (url, stop) = (format!("{}/api/v1/sites/default/comments", running.url), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let enough = Enough(&stop);
        scope.spawn(|| {
            let client = Client::new();
            for n in 0.. {
                let comment =
                    json!({"article": "/hello", "name": "Ada", "email": "ada@example.org", "body": format!("{n}")});
                assert_eq!(client.post(&url).json(&comment).send().unwrap().status(), 202);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let count = || comments_in(&installation.done(&["export", "-"]));
        wait_until("comments are coming", || count() > 20);
        let before = count();
        let said = installation.done(&["backup", "busy.db"]);
        let in_backup: usize = said.split(' ').next().unwrap().parse().unwrap();
        wait_until("comments still come", || count() > in_backup);
        drop(enough);
        assert!(in_backup >= before, "{in_backup} of {before}");

        let second = place_with_key_of(&installation);
        second.done(&["restore", installation.path("busy.db").to_str().unwrap()]);
        assert_eq!(comments_in(&second.done(&["export", "-"])), in_backup);
        assert_healthy(&second);
    });
    assert!(running.stop().success());

    let told = installation.run(&["backup", "quiet.db"]);
    assert!(told.status.success());
    let remark = String::from_utf8(told.stderr).unwrap();
    assert!(remark.contains("data/secret.key") && remark.contains("another place"), "{remark}");
    installation.done(&["export", "one.jsonl"]);
    let second = place_with_key_of(&installation);
    second.done(&["restore", installation.path("quiet.db").to_str().unwrap()]);
    second.done(&["export", "other.jsonl"]);
    let one = std::fs::read_to_string(installation.path("one.jsonl")).unwrap();
    assert!(one == std::fs::read_to_string(second.path("other.jsonl")).unwrap(), "the exports differ");
    assert!(one.contains("\"email\":\"ada@example.org\"") && one.contains("\"email\":\"ann@example.org\""));
    for made in ["quiet.db", "busy.db", "one.jsonl"] {
        assert_eq!(mode(&installation.path(made)), 0o600, "{made}");
    }
    assert_eq!(mode(&second.path("data/afterword.db")), 0o600);
    for folder in [installation.folder.path(), second.folder.path(), &second.path("data")] {
        let parts = std::fs::read_dir(folder).unwrap().flatten();
        assert!(!parts.into_iter().any(|entry| entry.file_name().to_string_lossy().contains(".part")));
    }
    // It serves.
    second.start();
}

#[test]
fn what_backup_and_export_refuse() {
    let installation = Installation::new();
    assert!(refused(&installation, &["backup", "x.db"]).contains("there is no database"));
    assert!(refused(&installation, &["export", "x.jsonl"]).contains("there is no database"));
    assert!(!installation.path("data").exists() && !installation.path("x.db").exists());
    for command in ["export", "backup", "restore"] {
        assert_eq!(installation.run(&[command]).status.code(), Some(2), "{command} without a file");
    }
    installation.done(&["migrate"]);
    std::fs::write(installation.path("x.db"), "mine").unwrap();
    assert!(refused(&installation, &["backup", "x.db"]).contains("not written over"));
    assert_eq!(std::fs::read(installation.path("x.db")).unwrap(), b"mine");
    std::fs::write(installation.path("y.db.part"), "another one's").unwrap();
    for command in ["backup", "export"] {
        let line = refused(&installation, &[command, "y.db"]);
        assert!(line.contains("y.db.part") && line.contains("delete it"), "{line}");
        assert!(refused(&installation, &[command, "nowhere/z.db"]).contains("nowhere/z.db"));
    }
    assert_eq!(std::fs::read(installation.path("y.db.part")).unwrap(), b"another one's");
    // An export is replaced when the new one is whole.
    installation.done(&["export", "x.db"]);
    assert!(std::fs::read_to_string(installation.path("x.db")).unwrap().starts_with("{\"kind\":\"site\""));
}

#[test]
fn what_restore_refuses() {
    let installation = Installation::new();
    let running = installation.start();
    installation.done(&["backup", "good.db"]);
    let (good, data) = (installation.path("good.db"), installation.path("data/afterword.db"));
    assert!(refused(&installation, &["restore", "good.db"]).contains("data/afterword.db is there"));
    // Its database is moved away under it.
    for ending in ["", "-wal", "-shm"] {
        let name = format!("data/afterword.db{ending}");
        let _ = std::fs::rename(installation.path(&name), installation.path(&format!("moved{ending}")));
    }
    assert!(refused(&installation, &["restore", "good.db"]).contains("stop the service"));
    running.kill();
    std::fs::write(installation.path("data/afterword.db-wal"), "old").unwrap();
    assert!(refused(&installation, &["restore", "good.db"]).contains("afterword.db-wal is there"));
    std::fs::remove_file(installation.path("data/afterword.db-wal")).unwrap();
    assert!(refused(&installation, &["restore", "missing.db"]).contains("missing.db"));

    let bad = |name: &str, spoil: &dyn Fn(&Path)| {
        let path = installation.path(name);
        std::fs::copy(&good, &path).unwrap();
        spoil(&path);
        let line = refused(&installation, &["restore", name]);
        assert!(line.contains(name) || line.contains("secrets.key_file"), "{line}");
        assert!(!data.exists() && !installation.path("data/afterword.db.part").exists(), "{name}");
        line
    };
    let sql = |path: &Path, sql: &str| {
        diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap().batch_execute(sql).unwrap();
    };
    let torn = bad("torn.db", &|path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 4096].fill(0xaa);
        std::fs::write(path, bytes).unwrap();
    });
    assert!(torn.contains("damaged") || torn.contains("malformed"), "{torn}");
    bad("cut.db", &|path| std::fs::File::options().write(true).open(path).unwrap().set_len(20_000).unwrap());
    assert!(bad("text.db", &|path| std::fs::write(path, "no database".repeat(900)).unwrap()).contains("database"));
    assert!(bad("empty.db", &|path| std::fs::write(path, "").unwrap()).contains("no database of afterword"));
    let newer = "UPDATE meta SET value = '999' WHERE key = 'oldest_binary'";
    assert!(bad("newer.db", &|path| sql(path, newer)).contains("newer afterword"));
    let in_use = |path: &Path| std::fs::write(format!("{}-wal", path.display()), "frames").unwrap();
    assert!(bad("used.db", &in_use).contains("used.db-wal"));

    let key = installation.path("data/secret.key");
    let own = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    assert!(bad("keyless.db", &|_| ()).contains("is missing"));
    assert!(!key.exists(), "no key is made");
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    assert!(bad("other-key.db", &|_| ()).contains("another key"));
    std::fs::write(&key, own).unwrap();
    // A copy made by SQLite's own shell keeps the WAL's mark.
    let wal = installation.path("wal.db");
    std::fs::copy(&good, &wal).unwrap();
    sql(&wal, "PRAGMA journal_mode = WAL");
    installation.done(&["restore", "wal.db"]);
    assert_healthy(&installation);
}

#[test]
fn postgres_has_its_own_tools_and_the_recipe_works() {
    let url = postgres::new_database();
    let installation = Installation::new().set("database__url", &url);
    for (command, tool) in [("backup", "pg_dump"), ("restore", "pg_restore")] {
        let line = refused(&installation, &[command, "x.db"]);
        assert!(line.contains(tool) && line.contains("docs/operations.md"), "{line}");
    }
    installation.done(&["site", "add", "blog", "--name", "Blog"]);
    installation.done(&["account", "add", "--email", "ann@example.org", "--role", "admin"]);
    let tool = |name: &str, arguments: &[&str]| {
        let output = Command::new(name).current_dir(installation.folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    };
    tool("pg_dump", &["--format=custom", "--file=afterword.dump", &format!("--dbname={url}")]);
    let empty = postgres::empty_database();
    tool("pg_restore", &["--exit-on-error", "--no-owner", &format!("--dbname={empty}"), "afterword.dump"]);
    let mut restored = installation.command(&["export", "-"]);
    let restored = restored.env("AFTERWORD__DATABASE__URL", &empty).output().unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let own = installation.done(&["export", "-"]);
    assert_eq!(String::from_utf8(restored.stdout).unwrap().trim_end(), own);
    assert!(own.contains("ann@example.org"));
}
