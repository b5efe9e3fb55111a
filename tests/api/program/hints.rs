//! What the command line says when something is missing or wrong, and what its help teaches.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::support::postgres;
use crate::support::program::{Installation, wait_until};

fn complaint(installation: &Installation, arguments: &[&str]) -> String {
    let output = installation.run(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    text
}

/// Commands that need an installation and must not make one.
const LATER: [&[&str]; 9] = [
    &["site", "list"],
    &["site", "set", "blog", "--name", "x"],
    &["account", "list"],
    &["token", "create", "--account", "a@example.org", "--name", "x"],
    &["token", "list", "--account", "a@example.org"],
    &["token", "revoke", "0190a000-0000-7000-8000-000000000001"],
    &["doctor"],
    &["export", "-"],
    // Wrong in itself.
    &["account", "add", "--email", "nobody", "--role", "admin"],
];

#[test]
fn a_command_in_the_wrong_folder_makes_nothing() {
    let installation = Installation::new();
    for command in LATER {
        let line = complaint(&installation, command);
        let teaches = line.contains("data/afterword.db") && line.contains("--config") && line.contains("serve");
        assert!(teaches || line.contains("--email"), "{line}");
        assert!(!installation.path("data").exists(), "{command:?}");
    }
    for command in [
        &["migrate"][..],
        &["site", "add", "blog", "--name", "x"],
        &["account", "add", "--email", "a@example.org", "--role", "admin"],
    ] {
        let fresh = Installation::new();
        fresh.done(command);
        assert!(fresh.path("data/afterword.db").exists(), "{command:?}");
        assert!(fresh.done(&["site", "list"]).contains("default"));
    }
    let empty = Installation::new().set("database__url", &postgres::empty_database());
    for command in &LATER[..8] {
        assert!(complaint(&empty, command).contains("afterword migrate"), "{command:?}");
    }
    empty.done(&["migrate"]);
    empty.done(&["site", "list"]);
}

#[test]
fn only_migrate_and_what_comes_first_migrate() {
    let installation = Installation::new();
    installation.done(&["migrate"]);
    let path = installation.path("data/afterword.db");
    let mut conn = diesel::SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let as_before =
        "CREATE TABLE kept AS SELECT * FROM __diesel_schema_migrations; DELETE FROM __diesel_schema_migrations";
    conn.batch_execute(as_before).unwrap();
    let doctor = installation.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    let told = String::from_utf8(doctor.stdout).unwrap();
    assert!(told.lines().any(|line| line == "look The database is not up to date: afterword migrate"), "{told}");
    for command in &LATER[..6] {
        assert!(complaint(&installation, command).contains("not up to date: afterword migrate"), "{command:?}");
    }
    conn.batch_execute("INSERT INTO __diesel_schema_migrations SELECT * FROM kept").unwrap();
    assert!(
        String::from_utf8(installation.run(&["doctor"]).stdout).unwrap().contains("ok   The database is up to date.")
    );
}

#[test]
fn what_does_not_exist_is_told_in_the_words_of_the_command() {
    let installation = Installation::new();
    installation.done(&["migrate"]);
    for (arguments, told) in [
        (&["site", "set", "nosuch", "--name", "x"][..], "there is no site nosuch; see: afterword site list"),
        (&["token", "create", "--account", "x", "--name", "x"], "--account: It must be an address"),
        (&["token", "list", "--account", "x@example.org"], "there is no account x@example.org; see: afterword account"),
        (&["token", "revoke", "x"], "see: afterword token list"),
        (&["account", "add", "--email", "x", "--role", "admin"], "--email: It must be an address"),
    ] {
        let line = complaint(&installation, arguments);
        assert!(line.contains(told), "{line}");
    }
}

/// Tests run as root, whom no mode stops: the program is run as another user, where there is one.
#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    let installation = Installation::new();
    let folder = installation.folder.path();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let program = folder.join("program");
    // Not copied by this process: what another test starts at that moment would hold the file open for writing, and then
    // nobody may run it ("Text file busy").
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_afterword")).arg(&program).status().unwrap().success());
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let complains = |arguments: &[&str], named: &str| {
        let mut command = if is_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        let output = command.args(arguments).current_dir(folder).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(named), "{arguments:?}: {text}");
    };
    mode(folder, 0o555);
    complains(&["migrate"], "data/afterword.db");
    complains(&["mail", "test", "a@example.org"], "data/mail");
    mode(folder, 0o755);
    installation.done(&["migrate"]);
    for file in ["afterword.db", "secret.key"] {
        mode(&folder.join("data").join(file), 0o444);
    }
    mode(&folder.join("data"), 0o555);
    complains(&["migrate"], "data/afterword.db");
    complains(&["site", "list"], "data/afterword.db");
    mode(&folder.join("data"), 0o755);
}

#[test]
fn the_first_steps_name_the_settings_file() {
    let installation = Installation::new();
    let file = installation.path("my settings.toml");
    std::fs::write(&file, "[secrets]\nkey_file = \"keys/secret.key\"\n").unwrap();
    let log = std::fs::File::create(installation.path("log")).unwrap();
    let mut command = installation.command(&["--config", "my settings.toml", "serve"]);
    let mut child = command.stderr(log).spawn().unwrap();
    wait_until("the first steps are printed", || installation.log().contains("token create"));
    let log = installation.log();
    let steps: Vec<&str> = log.lines().filter(|line| line.contains(" --config 'my settings.toml' ")).collect();
    assert_eq!(steps.len(), 2, "{log}");
    let script = format!("{}\n{}\necho \"$TOKEN\"", steps[0], steps[1]);
    let told = Command::new("sh").args(["-c", &script]).current_dir(installation.folder.path()).output().unwrap();
    assert!(String::from_utf8(told.stdout).unwrap().contains("awt_"), "{}", String::from_utf8_lossy(&told.stderr));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Every command's help has an example that begins with `afterword` and names the command.
#[test]
fn help_teaches() {
    let installation = Installation::new();
    let mut groups = vec![Vec::new()];
    let mut seen = 0;
    while let Some(group) = groups.pop() {
        let arguments: Vec<&str> = group.iter().map(String::as_str).chain(["--help"]).collect();
        let help = installation.done(&arguments);
        let named = format!("  afterword {}", group.join(" "));
        assert!(help.contains("Example") && help.contains(named.trim_end()), "{group:?}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{group:?}: {help}");
        let commands = help.split("Commands:\n").nth(1).map_or("", |rest| rest.split("\n\n").next().unwrap());
        for line in commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
            let name = line.split_whitespace().next().unwrap().to_owned();
            if name != "help" {
                groups.push(group.iter().cloned().chain([name]).collect());
            }
        }
        seen += 1;
    }
    assert!(seen >= 20, "{seen}");
}
