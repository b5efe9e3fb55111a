//! Settings as operators get them wrong: one line that names the key, no secret in it, and the same word from `config check`
//! as from `serve`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Output;

use crate::support::program::Installation;

fn one_line(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("afterword: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(!text.contains("panicked") && !text.contains("geheim"), "{text}");
    lines[0].to_owned()
}

#[test]
fn what_breaks_serve_does_not_pass_the_check() {
    const SMTP: (&str, &str) = ("mail__transport", "smtp");
    let none = ("limits__enabled", "false");
    for (other, key, value, named) in [
        (SMTP, "mail__smtp_url", "nonsense", "mail.smtp_url"),
        (SMTP, "mail__smtp_url", "http://u:geheim@mx.example", "mail.smtp_url"),
        (SMTP, "mail__smtp_url", "smtp://u:ge/geheim@mx.example", "mail.smtp_url"),
        (SMTP, "mail__smtp_url", "smtp://mx.example?tls=maybe", "mail.smtp_url"),
        (none, "database__url", "mysql://x", "database.url"),
        (none, "database__url", "sqlite:", "database.url"),
        (none, "database__url", "postgres://u:geheim@127.0.0.1:1/x?sslmode=bogus", "database.url"),
        (none, "database__url", "postgres://u:geheim@127.0.0.1:port/x", "database.url"),
        (none, "mail__templates", "/nowhere", "mail.templates"),
        (none, "server__public_url", "https://c.example/?a=b", "server.public_url"),
        (none, "server__public_url", "https://c.example/#top", "server.public_url"),
        (none, "server__public_url", "https://ann:geheim@c.example", "server.public_url"),
        (none, "server__workers", "100000000", "server.workers"),
        (none, "database__pool_size", "100000000", "database.pool_size"),
        (none, "database__write_connections", "100000000", "database.write_connections"),
    ] {
        let installation = Installation::new().set(other.0, other.1).set(key, value);
        for command in [&["config", "check"][..], &["serve"]] {
            let line = one_line(&installation.run(command));
            assert!(line.contains(named), "{key}={value}: {line}");
        }
        assert!(!installation.path("data").exists(), "{key}={value}: nothing is made");
    }
    let right = Installation::new().set("mail__transport", "smtp").set("mail__smtp_url", "smtps://u:geheim@mx.example");
    let told = right.run(&["config", "check"]);
    assert!(told.status.success() && String::from_utf8(told.stderr).unwrap().contains("@localhost"));
    let doctor = String::from_utf8({
        right.done(&["migrate"]);
        right.run(&["doctor"]).stdout
    })
    .unwrap();
    assert!(doctor.lines().any(|line| line.starts_with("look mail.from")), "{doctor}");
}

#[test]
fn no_password_is_shown() {
    let installation = Installation::new();
    std::fs::write(
        installation.path("own.toml"),
        "[database]\nurl = \"postgres://u@h/x?password=geheim\"\n[mail]\nsmtp_url = \"smtp://u:ge/heim@mx\"\n",
    )
    .unwrap();
    let shown = installation.done(&["--config", "own.toml", "config", "show"]);
    assert!(!shown.contains("geheim") && !shown.contains("ge/heim"), "{shown}");
    assert!(shown.contains("smtp_url = \"redacted\"") && shown.contains("password=redacted"), "{shown}");
    std::fs::write(installation.path("own.toml"), "[mail]\nsmtp_url = \"smtp://u:geheim@mx\n").unwrap();
    let line = one_line(&installation.run(&["--config", "own.toml", "config", "show"]));
    assert!(line.contains("own.toml") && line.contains("line 2, column"), "{line}");
}

#[test]
fn what_is_not_utf_8_is_no_reason_to_panic() {
    let broken = OsStr::from_bytes(b"caf\xe9");
    let installation = Installation::new();
    let run = |key: &str, arguments: &[&OsStr]| {
        let mut command = installation.command(&[]);
        if !key.is_empty() {
            command.env(key, broken);
        }
        command.args(arguments).output().unwrap()
    };
    let check = [OsStr::new("config"), OsStr::new("check")];
    assert!(run("LESSOPEN", &check).status.success(), "other variables are nobody's business");
    for key in ["AFTERWORD__MAIL__FROM", "afterword__log__level"] {
        let line = one_line(&run(key, &check));
        assert!(line.contains(key) && line.contains("UTF-8"), "{line}");
    }
    for arguments in [&[broken][..], &[OsStr::new("site"), OsStr::new("set"), broken]] {
        let output = run("", arguments);
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let missing = run("AFTERWORD_CONFIG", &check);
    assert!(one_line(&missing).contains("cannot read the settings file"));
    // The first steps print the name under which the program was called.
    let odd = installation.folder.path().join(broken);
    // No copy: while another test starts a program, that one holds the file open for writing, and this one may not run.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_afterword"), &odd).unwrap();
    let shown = std::process::Command::new(&odd).args(check).current_dir(installation.folder.path()).output().unwrap();
    assert!(shown.status.success());
}
