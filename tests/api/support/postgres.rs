//! A `PostgreSQL` cluster of our own: made from the installed server binaries in a temporary folder, reached by a Unix
//! socket alone, run as a user that is not root, ended and deleted with this process whatever becomes of it. Each test
//! gets a clone of a template database in which the migrations have run. With `TEST_DATABASE_URL` in the environment the
//! databases are made on the server that it names, by the role that it names.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use afterword::storage::{DatabaseSettings, Db};

/// Runs a server until the test process is gone, then ends it and deletes its folder: its standard input is a pipe from us.
const KEEPER: &str = r#"
folder=$1; shift
"$@" >"$folder/log" 2>&1 </dev/null &
server=$!
echo started
cat >/dev/null
kill -INT $server; wait $server
rm -rf "$folder"
"#;

struct Cluster {
    /// The socket's folder; none for a server that was there before.
    socket: Option<PathBuf>,
    /// The URL of a database is this with the database's name in the middle.
    url: (String, String),
    template_ready: Mutex<bool>,
    databases: AtomicUsize,
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| match std::env::var("TEST_DATABASE_URL") {
        Ok(url) => given(&url),
        Err(_) => start(),
    })
}

fn given(url: &str) -> Cluster {
    let scheme = url.find("://").expect("TEST_DATABASE_URL is a postgres:// address") + 3;
    let path = url[scheme..].find('/').map_or(url.len(), |at| scheme + at);
    let query = url.find('?').unwrap_or(url.len());
    Cluster::new(None, (format!("{}/", &url[..path.min(query)]), url[query..].to_owned()))
}

impl Cluster {
    fn new(socket: Option<PathBuf>, url: (String, String)) -> Self {
        Self { socket, url, template_ready: Mutex::new(false), databases: AtomicUsize::new(0) }
    }

    fn url(&self, database: &str) -> String {
        format!("{}{database}{}", self.url.0, self.url.1)
    }

    /// A name that no other test, and no other run on the same server, uses.
    fn new_name(&self) -> String {
        format!("afterword_{}_{}", std::process::id(), self.databases.fetch_add(1, Ordering::Relaxed))
    }
}

/// Debian keeps the server's binaries out of the path.
pub(super) fn server_path() -> String {
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
    // Where Debian puts PgBouncer.
    folders.push("/usr/sbin".into());
    std::env::join_paths(folders).unwrap().into_string().unwrap()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

/// The server refuses to run as root; its own user exists where its package is installed.
pub(super) fn as_server_user(program: &str) -> Command {
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

/// A folder for a server, which belongs to the user that runs it.
pub fn server_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("afterword-postgres-").tempdir().unwrap().keep();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    if is_root() {
        // So that the keeper may delete it in the end.
        assert!(Command::new("chown").arg("postgres").arg(&folder).status().unwrap().success());
    }
    folder
}

/// Runs a server, with its arguments, until this process ends; its output goes into `folder/log`.
pub fn keep_running(folder: &Path, server: &[&str]) {
    // The pipe must stay open for as long as this process lives, and closes by itself when it ends.
    std::mem::forget(keep(folder, KEEPER, server));
}

/// Starts a shell script that gets the folder and more, says one line when the server is there, and ends the server and
/// deletes the folder when its standard input, which is the child's, is closed.
pub(super) fn keep(folder: &Path, script: &str, more: &[&str]) -> Child {
    let mut keeper = as_server_user("sh")
        .args(["-c", script, "keeper"])
        .arg(folder)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
    keeper
}

/// Waits until a server answers.
pub fn wait_for(url: &str) {
    let until = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        let answer = psql(url, "SELECT 1");
        if answer.status.success() {
            return;
        }
        assert!(std::time::Instant::now() < until, "{}", String::from_utf8_lossy(&answer.stderr));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A folder in which the server's user has made a cluster, in `data`.
pub(super) fn new_cluster() -> PathBuf {
    let folder = server_folder();
    let made = as_server_user("initdb")
        .args(["--auth=trust", "--username=afterword", "--encoding=UTF8", "--no-sync", "-D"])
        .arg(folder.join("data"))
        .output()
        .expect("PostgreSQL's server binaries are installed: scripts/test does that");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    folder
}

fn start() -> Cluster {
    let folder = new_cluster();
    serve(&folder);
    let url = ("postgres:///".to_owned(), format!("?host={}&user=afterword", folder.display()));
    let cluster = Cluster::new(Some(folder), url);
    wait_for(&cluster.url("postgres"));
    cluster
}

/// Runs the server whose data lies in `folder/data`, with a socket in `folder`.
fn serve(folder: &Path) {
    let (data, socket) = (folder.join("data"), folder.to_str().unwrap());
    let settings = ["listen_addresses=", "fsync=off", "full_page_writes=off", "max_connections=400"];
    let more = ["shared_buffers=64MB", "log_min_messages=fatal", "max_wal_senders=12", "max_slot_wal_keep_size=4GB"];
    let mut server = vec!["postgres", "-D", data.to_str().unwrap(), "-k", socket];
    server.extend(settings.into_iter().chain(more).flat_map(|setting| ["-c", setting]));
    keep_running(folder, &server);
}

/// Runs a statement on the database that a URL names.
pub fn psql(url: &str, sql: &str) -> Output {
    Command::new("psql")
        .env("PATH", server_path())
        .args(["-X", "-q", "-A", "-t", "-d", url, "-c", sql])
        .output()
        .unwrap()
}

/// A statement on the server, not on a database of a test.
fn on_server(cluster: &Cluster, sql: &str) -> Output {
    psql(&cluster.url("postgres"), sql)
}

/// A replica of the cluster, with a socket of its own. None on a server that was there before. The primary keeps for it
/// what it has not read yet: without a slot, the checkpoint of another test took away what was written between the copy
/// and the start of the replica, which then never caught up.
pub fn start_replica() -> Option<PathBuf> {
    let primary = cluster().socket.as_ref()?;
    let folder = server_folder();
    let slot = format!("--slot={}", cluster().new_name());
    let copied = as_server_user("pg_basebackup")
        .args(["-R", "--checkpoint=fast", "--no-sync", "-U", "afterword", "--create-slot", &slot, "-h"])
        .arg(primary)
        .arg("-D")
        .arg(folder.join("data"))
        .output()
        .unwrap();
    assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
    serve(&folder);
    wait_for(&format!("postgres:///postgres?host={}&user=afterword", folder.display()));
    Some(folder)
}

/// The socket's folder of the cluster; none for a server that was there before.
pub fn socket() -> Option<&'static Path> {
    cluster().socket.as_deref()
}

/// The name of the database in a URL.
pub fn name_of(url: &str) -> &str {
    url.split("://").nth(1).unwrap().split('/').nth(1).unwrap().split('?').next().unwrap()
}

/// The URL of a new database in which the migrations have run.
pub fn new_database() -> String {
    let cluster = cluster();
    let mut ready = cluster.template_ready.lock().unwrap();
    if !*ready {
        let template = format!("template_afterword_{}", std::process::id());
        assert!(on_server(cluster, &format!("CREATE DATABASE {template}")).status.success());
        let settings = DatabaseSettings::of(cluster.url(&template));
        drop(Db::open(&settings).unwrap());
        // A template must have no sessions; ours take a moment to end.
        let sessions = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{template}'");
        while !on_server(cluster, &sessions).stdout.trim_ascii().is_empty() {}
        *ready = true;
    }
    let name = cluster.new_name();
    let template = format!("template_afterword_{}", std::process::id());
    let made = on_server(cluster, &format!("CREATE DATABASE {name} TEMPLATE {template}"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    cluster.url(&name)
}

/// The URL of a new database without any table.
pub fn empty_database() -> String {
    let cluster = cluster();
    let name = cluster.new_name();
    assert!(on_server(cluster, &format!("CREATE DATABASE {name}")).status.success());
    cluster.url(&name)
}

/// Takes the database that a URL names away from whoever uses it.
pub fn drop_database(url: &str) {
    assert!(on_server(cluster(), &format!("DROP DATABASE {} WITH (FORCE)", name_of(url))).status.success());
}

/// Ends all sessions of the database that a URL names, as a restart of the server would.
pub fn end_sessions(url: &str) {
    let name = name_of(url);
    let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    assert!(on_server(cluster(), &sql).status.success());
}

/// Runs SQL in the database that a URL names; what it prints.
pub fn run(url: &str, sql: &str) -> String {
    let output =
        Command::new("psql").env("PATH", server_path()).args(["-X", "-q", "-t", "-A", url, "-c", sql]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// How many deadlocks the server found in the database that a URL names. Waits until nobody uses it any more: only then has
/// everybody told.
pub fn deadlocks(url: &str) -> String {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while run(url, others) != "0" {}
    run(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
}

/// The tables of the database that a URL names.
pub fn tables(url: &str) -> Vec<String> {
    let told = run(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    told.split_whitespace().map(str::to_owned).collect()
}
