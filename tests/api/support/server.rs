//! A `PostgreSQL` server that belongs to one test, which may restart it: it writes to disk as a real one does (fsync on),
//! so that a restart in the middle of everything is a real one too.

use std::io::Write;
use std::path::PathBuf;
use std::process::Child;

use super::postgres::{as_server_user, keep, new_cluster, psql};

/// Ends the server and deletes its folder when the test is gone.
const KEEPER: &str = r#"
pg_ctl -D "$1/data" -o "-k $1 -c listen_addresses= -c log_min_messages=fatal -c checkpoint_timeout=30" -l "$1/log" -w start \
    >"$1/keeper" 2>&1
echo started
cat >/dev/null
pg_ctl -D "$1/data" -m immediate stop >>"$1/keeper" 2>&1
rm -rf "$1"
"#;

/// The server; it ends when this is dropped.
pub struct Server {
    folder: PathBuf,
    keeper: Child,
}

impl Server {
    pub fn start() -> Self {
        let folder = new_cluster();
        let keeper = keep(&folder, KEEPER, &[]);
        let server = Self { folder, keeper };
        assert_eq!(server.ask("SHOW fsync"), "on");
        server
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user=afterword", self.folder.display())
    }

    /// What one statement answers, without blanks at the ends.
    pub fn ask(&self, sql: &str) -> String {
        let answer = psql(&self.url(), sql);
        assert!(answer.status.success(), "{sql}: {}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8(answer.stdout).unwrap().trim().to_owned()
    }

    /// Restarts it, `fast` (sessions are ended, everything is written) or `immediate` (as after a crash), and waits until
    /// it takes connections again.
    pub fn restart(&self, mode: &str) {
        let restarted = as_server_user("pg_ctl")
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-m", mode, "-l"])
            .arg(self.folder.join("log"))
            .args(["-w", "restart"])
            .stdout(std::process::Stdio::null())
            .status();
        assert!(restarted.unwrap().success(), "PostgreSQL comes back");
    }

    /// Cuts all connections to its database.
    pub fn end_sessions(&self) {
        self.ask("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'afterword'");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input tells the keeper.
        if let Some(mut input) = self.keeper.stdin.take() {
            let _ = input.flush();
        }
        let _ = self.keeper.wait();
    }
}
