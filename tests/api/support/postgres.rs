//! A `PostgreSQL` cluster of our own: made from the installed server binaries in a temporary folder, reached by a Unix
//! socket alone, run as a user that is not root, ended and deleted with this process whatever becomes of it. Each test
//! gets a clone of a template database in which the migrations have run.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use afterword::storage::{DatabaseSettings, Db};

/// Ends the server and deletes its folder when the test process is gone: its standard input is a pipe from us.
const KEEPER: &str = r#"
postgres -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=400 \
    -c shared_buffers=64MB -c log_min_messages=fatal >"$1/log" 2>&1 &
server=$!
echo started
cat >/dev/null
kill -INT $server; wait $server
rm -rf "$1"
"#;

struct Cluster {
    socket: PathBuf,
    template_ready: Mutex<bool>,
    databases: AtomicUsize,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

/// Debian keeps the server's binaries out of the path.
fn server_path() -> String {
    let mut folders: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|v| v.path().join("bin"))
        .collect();
    folders.sort();
    folders.reverse();
    folders.push("/usr/local/bin".into());
    folders.push("/usr/bin".into());
    folders.push("/bin".into());
    std::env::join_paths(folders).unwrap().into_string().unwrap()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

/// The server refuses to run as root; its own user exists where its package is installed.
fn as_server_user(program: &str) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--", program]);
        command
    } else {
        Command::new(program)
    };
    command.env("PATH", server_path()).env("LC_ALL", "C.UTF-8").current_dir("/");
    command
}

fn start() -> Cluster {
    let folder = tempfile::Builder::new().prefix("afterword-postgres-").tempdir().unwrap().keep();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    if is_root() {
        // So that the keeper may delete it in the end.
        assert!(Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success());
    }
    let made = as_server_user("initdb")
        .args(["--auth=trust", "--username=afterword", "--encoding=UTF8", "--no-sync", "-D"])
        .arg(folder.join("data"))
        .output()
        .expect("PostgreSQL's server binaries are installed: scripts/test does that");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let mut keeper = as_server_user("sh")
        .args(["-c", KEEPER, "keeper"])
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // The pipe must stay open for as long as this process lives, and closes by itself when it ends.
    std::mem::forget(keeper);
    let cluster = Cluster { socket: folder, template_ready: Mutex::new(false), databases: AtomicUsize::new(0) };
    while !psql(&cluster, "SELECT 1").status.success() {
        std::thread::yield_now();
    }
    cluster
}

fn psql(cluster: &Cluster, sql: &str) -> std::process::Output {
    psql_in(cluster, "postgres", sql)
}

fn psql_in(cluster: &Cluster, database: &str, sql: &str) -> std::process::Output {
    Command::new("psql")
        .env("PATH", server_path())
        .args(["-X", "-q", "-t", "-U", "afterword", "-d", database, "-h"])
        .arg(&cluster.socket)
        .args(["-c", sql])
        .output()
        .unwrap()
}

fn url(cluster: &Cluster, database: &str) -> String {
    format!("postgres:///{database}?host={}&user=afterword", cluster.socket.display())
}

/// The URL of a new database in which the migrations have run.
pub fn new_database() -> String {
    let cluster = cluster();
    let mut ready = cluster.template_ready.lock().unwrap();
    if !*ready {
        assert!(psql(cluster, "CREATE DATABASE template_afterword").status.success());
        let settings = DatabaseSettings { url: url(cluster, "template_afterword"), pool_size: 1, write_connections: 1 };
        drop(Db::open(&settings).unwrap());
        // A template must have no sessions; ours take a moment to end.
        let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'template_afterword'";
        while !psql(cluster, sessions).stdout.trim_ascii().is_empty() {}
        *ready = true;
    }
    let name = format!("t{}", cluster.databases.fetch_add(1, Ordering::Relaxed));
    let made = psql(cluster, &format!("CREATE DATABASE {name} TEMPLATE template_afterword"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    url(cluster, &name)
}

/// The URL of a new database without any table.
pub fn empty_database() -> String {
    let cluster = cluster();
    let name = format!("e{}", cluster.databases.fetch_add(1, Ordering::Relaxed));
    assert!(psql(cluster, &format!("CREATE DATABASE {name}")).status.success());
    url(cluster, &name)
}

/// Takes the database that a URL names away from whoever uses it.
pub fn drop_database(url: &str) {
    let name = url.trim_start_matches("postgres:///").split('?').next().unwrap();
    assert!(psql(cluster(), &format!("DROP DATABASE {name} WITH (FORCE)")).status.success());
}

/// Ends all sessions of the database that a URL names, as a restart of the server would.
pub fn end_sessions(url: &str) {
    let name = url.trim_start_matches("postgres:///").split('?').next().unwrap();
    let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    assert!(psql(cluster(), &sql).status.success());
}

/// The tables of the database that a URL names.
pub fn tables(url: &str) -> Vec<String> {
    let name = url.trim_start_matches("postgres:///").split('?').next().unwrap();
    let told = psql_in(cluster(), name, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}
