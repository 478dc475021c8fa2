//! The systemd unit and the container file start the broker that there is.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const UNIT: &str = include_str!("../../config/millstream.service");
const CONTAINER: &str = include_str!("../../config/Containerfile");
const SETTINGS: &str = include_str!("../../config/millstream.toml");
const TOOLCHAIN: &str = include_str!("../../rust-toolchain.toml");

/// The values of a key of the unit, in order.
fn of_unit(key: &str) -> Vec<&'static str> {
    let lines = UNIT.lines().filter_map(|line| line.split_once('='));
    let named = lines.filter(|(name, _)| *name == key);
    named.map(|(_, value)| value).collect()
}

/// What follows an instruction of the container file, of each of its lines.
fn of_container(instruction: &str) -> Vec<&'static str> {
    let lines = CONTAINER.lines();
    let lines = lines.filter_map(|line| line.trim().strip_prefix(instruction));
    lines.map(str::trim).collect()
}

/// The words of a command in JSON.
fn words(command: &str) -> Vec<String> {
    serde_json::from_str(command).unwrap()
}

/// A broker in a folder of its own, which takes free ports over what it is given.
struct Broker {
    child: Child,
    http: String,
    directory: tempfile::TempDir,
}

impl Broker {
    fn start(arguments: &[String], environment: &[(String, String)]) -> Broker {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("millstream.toml"), SETTINGS).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .envs(environment.iter().cloned())
            .env_remove("MILLSTREAM_LOG")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        if !line.starts_with("millstream ready ") {
            let mut log = String::new();
            let mut stderr = child.stderr.take().unwrap();
            stderr.read_to_string(&mut log).unwrap();
            panic!("{line:?}: {log}");
        }
        let http = line.trim().rsplit_once("http=").unwrap().1.to_owned();
        Broker {
            child,
            http,
            directory,
        }
    }

    fn stop(mut self) {
        let id = self.child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &id]).status();
        assert!(kill.unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    fn has(&self, path: &str) -> bool {
        self.directory.path().join(path).is_dir()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_unit_starts_a_broker_that_keeps_its_data_where_the_unit_says() {
    let start = of_unit("ExecStart");
    let mut arguments: Vec<String> = start[0].split(' ').map(str::to_owned).collect();
    let binary = arguments.remove(0);
    assert_eq!((start.len(), &*binary), (1, "/usr/local/bin/millstream"));
    let config = "/etc/millstream/millstream.toml";
    let place = arguments.iter().position(|word| word == config).unwrap();
    arguments[place] = "millstream.toml".to_owned();
    // The settings name a folder in the working directory, and that is what the broker may write to.
    assert_eq!(of_unit("StateDirectory"), ["millstream"]);
    assert_eq!(of_unit("WorkingDirectory"), ["%S/millstream"]);
    let broker = Broker::start(&arguments, &[]);
    assert!(broker.has("millstream-data"));
    broker.stop();
    // The broker sends nothing to systemd.
    assert_eq!(of_unit("Type"), ["exec"]);
}

#[test]
fn the_container_starts_a_broker_that_answers_its_health_check() {
    assert_eq!(of_container("ENTRYPOINT"), [r#"["millstream"]"#]);
    let settings = of_container("ENV").into_iter();
    let mut environment: Vec<(String, String)> = settings
        .map(|setting| setting.split_once('=').unwrap())
        .filter(|(name, _)| name.starts_with("MILLSTREAM_"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let data = environment
        .iter_mut()
        .find(|(name, _)| name.ends_with("LOG_DIRS"));
    let (_, data) = data.unwrap();
    let volume = of_container("VOLUME")[0];
    let folder = Path::new(&*data).strip_prefix(volume).unwrap();
    let folder = folder.to_str().unwrap().to_owned();
    data.clone_from(&folder);
    let [check, serve] = of_container("CMD")[..] else {
        panic!("a command for the check of health, and one for the broker");
    };
    let broker = Broker::start(&words(serve), &environment);
    assert!(broker.has(&folder));
    let check = words(check);
    let is_healthy = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap();
        let script = check[2].replace("127.0.0.1/9644", &format!("{host}/{port}"));
        assert_ne!(script, check[2]);
        let mut command = Command::new(&check[0]);
        command.args([&check[1], &script]).stderr(Stdio::null());
        command.status().unwrap().success()
    };
    assert!(is_healthy(&broker.http));
    let http = broker.http.clone();
    broker.stop();
    assert!(!is_healthy(&http));
}

#[test]
fn the_container_is_built_by_the_toolchain_of_the_project() {
    let channel = TOOLCHAIN
        .lines()
        .find_map(|line| line.strip_prefix("channel = "));
    let version = channel.unwrap().trim_matches('"');
    let from = of_container("FROM")[0];
    assert!(from.contains(&format!("/rust:{version}-")), "{from}");
    let chosen = format!("RUSTUP_TOOLCHAIN={version}");
    assert!(of_container("ENV").contains(&&*chosen));
}
