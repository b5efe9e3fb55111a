//! `copy` as an operator meets it: to PostgreSQL and back, cut short in the middle, and everything that it refuses.

use std::path::Path;
use std::process::Output;

use afterword::service::copy::{Found, open_source, open_target};
use afterword::storage::copy::TABLES;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use reqwest::blocking::Client;
use serde_json::json;

use crate::support::postgres;
use crate::support::program::Installation;

fn sqlite(installation: &Installation, file: &str) -> String {
    let folder = installation.folder.path().canonicalize().unwrap();
    format!("sqlite:{}", folder.join(file).display())
}

fn copy(installation: &Installation, from: &str, to: &str) -> Output {
    installation.run(&["copy", "--from", from, "--to", to])
}

fn copied(installation: &Installation, from: &str, to: &str) -> (String, String) {
    let output = copy(installation, from, to);
    let (out, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{told}");
    (out, told)
}

/// Fails with this code and one line, which is returned.
fn refused(installation: &Installation, from: &str, to: &str, code: i32) -> String {
    let output = copy(installation, from, to);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(code), 1), "{told}");
    told
}

/// What a command says when the settings name this database.
fn with(installation: &Installation, url: &str, arguments: &[&str]) -> Output {
    installation.command(arguments).env("AFTERWORD__DATABASE__URL", url).output().unwrap()
}

fn exported(installation: &Installation, url: &str) -> Vec<u8> {
    let output = with(installation, url, &["export", "-"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Comments on a running service, one of them approved, and a moderator who is to be told.
fn installation() -> Installation {
    let installation = Installation::new().set("limits__enabled", "false");
    let token = installation.token("admin");
    installation.done(&["account", "add", "--email", "ann@example.org", "--role", "moderator"]);
    let running = installation.start();
    let client = Client::new();
    for n in 0..20 {
        let comment = json!({"article": "/a", "name": "Ünï", "email": "a@example.org", "body": format!("{n}\n漢字")});
        let sent = client.post(format!("{}/api/v1/sites/default/comments", running.url)).json(&comment).send().unwrap();
        assert_eq!(sent.status(), 202);
        let id = sent.json::<serde_json::Value>().unwrap()["comment"]["id"].as_str().unwrap().to_owned();
        if n == 0 {
            let approve = format!("{}/api/v1/moderation/comments/{id}/approve", running.url);
            assert_eq!(client.post(approve).bearer_auth(&token).send().unwrap().status(), 200);
        }
    }
    let told = refused(&installation, &sqlite(&installation, "data/afterword.db"), "sqlite:two.db", 1);
    assert!(told.contains("stop the service"), "{told}");
    assert!(!installation.path("two.db").exists());
    assert!(running.stop().success());
    installation
}

#[test]
fn to_postgres_and_back_the_exports_are_equal() {
    let installation = installation();
    let (from, server) = (sqlite(&installation, "data/afterword.db"), postgres::empty_database());
    let back = sqlite(&installation, "new/back.db");
    let (out, told) = copied(&installation, &from, &server);
    assert!(out.lines().any(|line| line.starts_with("comments") && line.contains(" 20  ")), "{out}");
    assert!(out.trim_end().ends_with("checked"), "{out}");
    assert!(told.contains("data/secret.key") && told.contains("database.url"), "{told}");
    copied(&installation, &server, &back);
    let own = exported(&installation, &from);
    assert!(String::from_utf8(own.clone()).unwrap().contains("\"email\":\"ann@example.org\""));
    for url in [&server, &back] {
        assert!(own == exported(&installation, url), "{url}");
    }
    let again = refused(&installation, &from, &server, 1);
    assert!(again.contains("finished copy") && again.contains("already"), "{again}");
    // The doctor looks at all counters; and it serves.
    let doctor = String::from_utf8(with(&installation, &server, &["doctor"]).stdout).unwrap();
    assert!(doctor.contains("ok   The counters agree"), "{doctor}");
    let installation = installation.set("database__url", &server);
    let running = installation.start();
    let list = format!("{}/api/v1/sites/default/comments?article=/a", running.url);
    assert!(reqwest::blocking::get(list).unwrap().text().unwrap().contains("漢字"));
}

/// Begins a copy in this process and leaves it in the middle.
fn half_a_copy(from: &str, to: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let source = open_source(from.to_owned()).await.unwrap();
        let Found::Copy(mut copy) = open_target(source, from.to_owned(), to.to_owned()).await.unwrap() else {
            panic!("it is new")
        };
        for _ in 0..4 {
            copy.copy_page().await.unwrap();
        }
    });
}

#[test]
fn half_a_copy_is_not_served_and_the_same_command_ends_it() {
    let installation = Installation::new();
    installation.done(&["site", "add", "blog", "--name", "Blog"]);
    let from = sqlite(&installation, "data/afterword.db");
    for to in [postgres::empty_database(), sqlite(&installation, "two.db")] {
        half_a_copy(&from, &to);
        for command in [&["serve"][..], &["doctor"], &["export", "-"], &["site", "list"], &["migrate"]] {
            let output = with(&installation, &to, command);
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
            assert!(told.contains("an unfinished copy of sqlite:") && told.contains("again"), "{command:?}: {told}");
        }
        let (_, told) = copied(&installation, &from, &to);
        assert!(told.contains("A copy was begun, and goes on"), "{told}");
        assert!(with(&installation, &to, &["site", "list"]).status.success());
    }
}

#[test]
fn a_source_that_differs_in_the_end_is_told_and_the_copy_begins_anew() {
    let installation = Installation::new();
    installation.done(&["site", "add", "blog", "--name", "Blog"]);
    let (from, to) = (sqlite(&installation, "data/afterword.db"), sqlite(&installation, "two.db"));
    half_a_copy(&from, &to);
    installation.done(&["site", "set", "blog", "--name", "Another name"]);
    let output = copy(&installation, &from, &to);
    let (out, told) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert!(out.contains("\n  in the copy ") && !out.contains("checked"), "{out}");
    assert!(
        told.contains(&format!("2 of {} tables differ", TABLES.len())) && told.contains("begins anew"),
        "meta and sites: {told}"
    );
    assert!(String::from_utf8(with(&installation, &to, &["serve"]).stderr).unwrap().contains("unfinished copy"));
    let (_, told) = copied(&installation, &from, &to);
    assert!(told.contains("the copy begins anew"), "{told}");
    assert!(exported(&installation, &from) == exported(&installation, &to));
}

#[test]
fn what_copy_refuses() {
    let installation = Installation::new();
    let own = sqlite(&installation, "data/afterword.db");
    assert!(refused(&installation, &own, "sqlite:two.db", 1).contains("there is no database"));
    assert!(!installation.path("data").exists() && !installation.path("two.db").exists());
    installation.done(&["migrate"]);
    assert_eq!(installation.run(&["copy", "--from", &own]).status.code(), Some(2));
    assert!(refused(&installation, &own, "mysql://host/two", 2).contains("--to starts with sqlite: or postgres://"));
    assert!(refused(&installation, "two.db", &own, 2).contains("--from starts with"));
    assert!(refused(&installation, &own, "sqlite:data/../data/afterword.db", 2).contains("both name"));
    let secret = "postgres://me:geheim@127.0.0.1:1/x?sslmode=disable";
    for (from, to, flag) in [(own.as_str(), secret, "--to"), (secret, own.as_str(), "--from")] {
        let told = refused(&installation, from, to, 1);
        assert!(told.contains(flag) && told.contains("cannot reach PostgreSQL"), "{told}");
        assert!(!told.contains("geheim") && !told.contains("database.url"), "{told}");
    }
    // Another installation's data.
    let other = Installation::new();
    other.done(&["site", "add", "blog", "--name", "Blog"]);
    let told = refused(&installation, &own, &sqlite(&other, "data/afterword.db"), 1);
    assert!(told.contains("holds data already") && told.contains("name an empty database"), "{told}");
    assert!(other.done(&["site", "list"]).contains("blog"));

    let sql = |file: &Path, sql: &str| {
        SqliteConnection::establish(file.to_str().unwrap()).unwrap().batch_execute(sql).unwrap();
    };
    let spoiled = |text: &str| {
        let file = installation.path("spoiled.db");
        std::fs::copy(installation.path("data/afterword.db"), &file).unwrap();
        sql(&file, text);
        let told = refused(&installation, &sqlite(&installation, "spoiled.db"), "sqlite:two.db", 1);
        assert!(!installation.path("two.db").exists());
        told
    };
    let old = spoiled("DELETE FROM __diesel_schema_migrations");
    assert!(old.contains("not up to date") && old.contains("afterword migrate"), "{old}");
    assert!(spoiled("UPDATE meta SET value = '999' WHERE key = 'oldest_binary'").contains("newer afterword"));
    assert!(spoiled("DROP TABLE meta").contains("there is no database"));
}

#[test]
fn the_variables_name_the_databases_too() {
    let installation = Installation::new();
    installation.done(&["migrate"]);
    let mut command = installation.command(&["copy"]);
    command.env("AFTERWORD_COPY_FROM", "sqlite:data/afterword.db").env("AFTERWORD_COPY_TO", "sqlite:two.db");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(installation.path("two.db").exists());
}
