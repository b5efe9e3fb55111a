//! haproxy and nginx as Debian packages them, with the configurations of `deploy/`: only addresses are replaced, so that
//! what is committed is what is tried.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::program::wait_until;

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Haproxy,
    Nginx,
}

/// A proxy that runs; ended when dropped.
pub struct Proxy {
    child: Child,
    pub url: String,
    _folder: tempfile::TempDir,
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy.cfg",
            Self::Nginx => "nginx.conf",
        }
    }

    /// The committed configuration, listening on `port`, with a service at each of `services`.
    fn adapted(self, port: u16, services: &[u16]) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(self.file());
        let text = std::fs::read_to_string(path).unwrap();
        let model = text.lines().find(|line| line.contains("afterword-1:8080")).expect("a line with the first service");
        let place = |(number, service): (usize, &u16)| {
            let line = model.replace("afterword-1:8080", &format!("127.0.0.1:{service}"));
            line.replace("afterword-1", &format!("afterword-{}", number + 1)) + "\n"
        };
        let lines: String = services.iter().enumerate().map(place).collect();
        let others = text.lines().filter(|line| *line != model && line.contains("afterword-2:8080"));
        assert_eq!(others.clone().count(), 1, "two services are committed");
        let other = others.map(str::to_owned).collect::<String>() + "\n";
        let listening = match self {
            Self::Haproxy => (" bind :80\n", format!(" bind 127.0.0.1:{port}\n")),
            Self::Nginx => (" listen 80;\n", format!(" listen 127.0.0.1:{port};\n")),
        };
        assert!(text.contains(listening.0));
        text.replace(&other, "").replace(&format!("{model}\n"), &lines).replace(listening.0, &listening.1)
    }

    fn command(self, folder: &Path) -> Command {
        let file = folder.join(self.file());
        let mut command = Command::new(match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        });
        match self {
            Self::Haproxy => command.arg("-db").arg("-f").arg(file),
            Self::Nginx => command
                .arg("-p")
                .arg(folder)
                .arg("-c")
                .arg(file)
                .args(["-g", "daemon off; pid nginx.pid; error_log stderr;"]),
        };
        // Debian keeps them where only administrators look.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin")).stdin(Stdio::null());
        command
    }

    /// Starts it in front of the services and waits until it listens.
    pub fn start(self, services: &[u16]) -> Proxy {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(folder.path().join(self.file()), self.adapted(port, services)).unwrap();
        let check = match self {
            Self::Haproxy => "-c",
            Self::Nginx => "-t",
        };
        let checked = self.command(folder.path()).arg(check).output().expect("scripts/install-test-tools installs it");
        let said = [checked.stdout, checked.stderr].concat();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut child = self.command(folder.path()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        wait_until("the proxy listens", || {
            let said = || std::fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", said());
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Proxy { child, url: format!("http://127.0.0.1:{port}"), _folder: folder }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx has children of its own, so it is asked.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
