//! Debian's `PgBouncer` in front of the cluster, in the mode that gives each transaction another session, with fewer
//! sessions than anybody wants.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::postgres;

/// The folder of its socket; none on a server that was there before.
fn socket() -> Option<&'static PathBuf> {
    static POOLER: OnceLock<Option<PathBuf>> = OnceLock::new();
    POOLER.get_or_init(start).as_ref()
}

fn start() -> Option<PathBuf> {
    Some(start_before(postgres::socket()?))
}

/// Starts a pooler before the server with a socket in `server`; returns the folder of its own socket.
fn start_before(server: &Path) -> PathBuf {
    let folder = postgres::server_folder();
    let settings = format!(
        "[databases]\n* = host={} user=afterword\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\nlisten_port = 6432\n\
         auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 1000\n\
         server_round_robin = 1\nadmin_users = afterword\n",
        server.display(),
        folder.display(),
    );
    let file = folder.join("pgbouncer.ini");
    std::fs::write(&file, settings).unwrap();
    postgres::keep_running(&folder, &["pgbouncer", file.to_str().unwrap()]);
    postgres::wait_for(&url(&folder, "postgres"));
    folder
}

/// A pooler whose clients can be led to another server without noticing.
pub struct Movable {
    /// The folder of its socket.
    pub folder: PathBuf,
    server: tempfile::TempDir,
}

impl Movable {
    /// Starts one before the server with a socket in `first`.
    pub fn start(first: &Path) -> Self {
        let server = tempfile::tempdir().unwrap();
        std::fs::set_permissions(server.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(first, server.path().join("now")).unwrap();
        Self { folder: start_before(&server.path().join("now")), server }
    }

    /// Whoever begins a transaction from now on begins it on the server with a socket in `next`.
    pub fn lead_to(&self, next: &Path) {
        let now = self.server.path().join("now");
        std::fs::remove_file(&now).unwrap();
        std::os::unix::fs::symlink(next, &now).unwrap();
        assert!(postgres::psql(&url(&self.folder, "pgbouncer"), "RECONNECT").status.success());
    }

    /// Whether anybody of ours is connected.
    pub fn has_clients(&self) -> bool {
        let clients = postgres::psql(&url(&self.folder, "pgbouncer"), "SHOW CLIENTS");
        String::from_utf8_lossy(&clients.stdout).contains("|afterword_")
    }
}

fn url(folder: &Path, database: &str) -> String {
    format!("postgres:///{database}?host={}&port=6432&user=afterword", folder.display())
}

/// The way to a database through the pooler; none on a server that was there before.
pub fn through(direct: &str) -> Option<String> {
    Some(url(socket()?, postgres::name_of(direct)))
}
