//! Debian's `PgBouncer` in front of the cluster, in the mode that gives each transaction another session, with fewer
//! sessions than anybody wants.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::postgres;

/// The folder of its socket; none on a server that was there before.
fn socket() -> Option<&'static PathBuf> {
    static POOLER: OnceLock<Option<PathBuf>> = OnceLock::new();
    POOLER.get_or_init(start).as_ref()
}

fn start() -> Option<PathBuf> {
    let cluster = postgres::socket()?;
    let folder = postgres::server_folder();
    let settings = format!(
        "[databases]\n* = host={} user=afterword\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\nlisten_port = 6432\n\
         auth_type = any\npool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 1000\n\
         server_round_robin = 1\n",
        cluster.display(),
        folder.display(),
    );
    let file = folder.join("pgbouncer.ini");
    std::fs::write(&file, settings).unwrap();
    postgres::keep_running(&folder, &["pgbouncer", file.to_str().unwrap()]);
    postgres::wait_for(&url(&folder, "postgres"));
    Some(folder)
}

fn url(folder: &std::path::Path, database: &str) -> String {
    format!("postgres:///{database}?host={}&port=6432&user=afterword", folder.display())
}

/// The way to a database through the pooler; none on a server that was there before.
pub fn through(direct: &str) -> Option<String> {
    Some(url(socket()?, postgres::name_of(direct)))
}
