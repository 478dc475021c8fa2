//! Installs and builds the clients into a cache folder. What is there already, for the same lock files, is used again.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::client::Client;
use super::console::Console;
use super::driver::Driver;
use super::kcat::Kcat;
use super::record::{Headers, Shape};
use crate::process::{last_lines, output};
use crate::tools::{first_missing, root};

const INSTALL_MAX: Duration = Duration::from_secs(600);

const CODECS: &[&str] = &["gzip", "snappy", "lz4", "zstd"];

/// Why a client is not there.
pub enum Absent {
    /// The machine lacks a program.
    Missing(&'static str),
    /// It was tried and failed.
    Broken(String),
}

const WHOLE: Shape = Shape {
    chooses_partition: true,
    gives_timestamps: true,
    binary: true,
    empty_values: true,
    headers: Headers::Binary { nulls: true },
};

/// Prepares one client in `cache`.
pub fn client(name: &str, cache: &Path) -> Result<Box<dyn Client>, Absent> {
    match name {
        "kcat" => {
            need(&["kcat"])?;
            Ok(Box::new(Kcat))
        }
        "console" => Ok(Box::new(Console { jars: jars(cache)? })),
        "franz-go" => go(cache, "franz-go"),
        "kafkajs" => kafkajs(cache),
        "confluent-python" => python(cache, "confluent-python", true),
        "aiokafka" => python(cache, "aiokafka", true),
        "java" => Ok(Box::new(java(cache)?)),
        "sarama" => go(cache, "sarama"),
        "kafka-python" => python(cache, "kafka-python", false),
        other => Err(Absent::Broken(format!("no client {other}"))),
    }
}

/// The folder with Kafka's jars.
pub fn jars(cache: &Path) -> Result<PathBuf, Absent> {
    need(&["java", "mvn"])?;
    let target = cache.join("kafka-jars");
    copy_jars(cache, &source("console").join("pom.xml"), &target)?;
    Ok(target)
}

/// Has Maven copy the jars that a project names into `target`.
fn copy_jars(cache: &Path, pom: &Path, target: &Path) -> Result<(), Absent> {
    once(target, &[pom], || {
        let mut maven = Command::new("mvn");
        maven
            .args(["-q", "-B", "-f"])
            .arg(pom)
            .arg("dependency:copy-dependencies");
        maven
            .arg(format!("-DoutputDirectory={}", target.display()))
            .arg("-DincludeScope=runtime");
        maven.current_dir(cache);
        vec![maven]
    })
}

/// The Java client's driver, which also runs Kafka Streams.
pub fn java(cache: &Path) -> Result<Driver, Absent> {
    need(&["java", "javac", "mvn"])?;
    let (from, jars, target) = (source("java"), cache.join("java-jars"), cache.join("java"));
    copy_jars(cache, &from.join("pom.xml"), &jars)?;
    let files: Vec<PathBuf> = listed(&from.join("src"), "java").collect();
    let path = compile(&files, &jars, &target)?;
    // The quick compiler alone: these are short lives.
    let options = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp"];
    let mut program: Vec<OsString> = options.iter().map(OsString::from).collect();
    program.extend([path, "Driver".into()]);
    Ok(Driver {
        name: "java",
        shape: WHOLE,
        codecs: CODECS,
        program,
        environment: Vec::new(),
    })
}

/// The class path of the program that runs Kafka's tools, which lies beside the console's list of jars.
pub fn toolbox(cache: &Path) -> Result<OsString, Absent> {
    need(&["java", "javac", "mvn"])?;
    let program = source("console").join("Tools.java");
    compile(&[program], &jars(cache)?, &cache.join("kafka-tools"))
}

/// Compiles Java files to `target`; returns the class path to run them from.
fn compile(files: &[PathBuf], jars: &Path, target: &Path) -> Result<OsString, Absent> {
    let inputs: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    once(target, &inputs, || {
        let mut javac = Command::new("javac");
        javac.args(["-nowarn", "-Xlint:-options", "--release", "17", "-cp"]);
        javac.arg(jars.join("*")).arg("-d").arg(target).args(files);
        vec![javac]
    })?;
    let mut path = OsString::from(target);
    path.push(":");
    path.push(jars.join("*"));
    Ok(path)
}

fn go(cache: &Path, name: &'static str) -> Result<Box<dyn Client>, Absent> {
    need(&["go"])?;
    let (from, target) = (source(name), cache.join(name));
    // What the drivers in Go share is a module beside theirs.
    let files: Vec<PathBuf> = listed(&from, "go")
        .chain(listed(&source("go"), "go"))
        .chain([from.join("go.mod"), from.join("go.sum")])
        .collect();
    once(
        &target,
        &files.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
        || {
            let mut go = Command::new("go");
            go.args(["build", "-mod=readonly", "-o"])
                .arg(target.join("driver"))
                .arg(".");
            go.env("GOTOOLCHAIN", "local").current_dir(&from);
            vec![go]
        },
    )?;
    Ok(Box::new(Driver {
        name,
        shape: WHOLE,
        codecs: CODECS,
        program: vec![target.join("driver").into()],
        environment: Vec::new(),
    }))
}

fn kafkajs(cache: &Path) -> Result<Box<dyn Client>, Absent> {
    need(&["node", "npm"])?;
    let (from, target) = (source("kafkajs"), cache.join("kafkajs"));
    let lists = [from.join("package.json"), from.join("package-lock.json")];
    once(&target, &[&lists[0], &lists[1]], || {
        for list in &lists {
            // A failed copy shows when npm finds no list.
            let _ = fs::copy(list, target.join(list.file_name().unwrap_or_default()));
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
            .current_dir(&target);
        vec![npm]
    })?;
    Ok(Box::new(Driver {
        name: "kafkajs",
        // kafkajs cannot write a header without a value.
        shape: Shape {
            headers: Headers::Binary { nulls: false },
            ..WHOLE
        },
        codecs: &["gzip"],
        program: vec!["node".into(), from.join("driver.js").into()],
        environment: vec![
            ("NODE_PATH", target.join("node_modules").into()),
            ("KAFKAJS_NO_PARTITIONER_WARNING", "1".into()),
        ],
    }))
}

/// `nulls` says whether it can write a header without a value.
fn python(cache: &Path, name: &'static str, nulls: bool) -> Result<Box<dyn Client>, Absent> {
    need(&["python3"])?;
    let (from, target) = (source(name), cache.join(name));
    let list = from.join("requirements.txt");
    let interpreter = target.join("bin").join("python");
    once(&target, &[&list], || {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&target);
        let mut pip = Command::new(&interpreter);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary",
            ":all:",
        ]);
        pip.arg("-r").arg(&list);
        vec![venv, pip]
    })?;
    Ok(Box::new(Driver {
        name,
        shape: Shape {
            headers: Headers::Binary { nulls },
            ..WHOLE
        },
        codecs: CODECS,
        // -B: no byte code is written into the source tree.
        program: vec![
            interpreter.into(),
            "-B".into(),
            OsString::from(from.join("driver.py")),
        ],
        // What the drivers in Python share.
        environment: vec![("PYTHONPATH", source("python").into())],
    }))
}

fn source(name: &str) -> PathBuf {
    root().join("tests/conformance").join(name)
}

fn listed(folder: &Path, suffix: &'static str) -> impl Iterator<Item = PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(move |path| path.extension().is_some_and(|end| end == suffix))
        .collect();
    files.sort();
    files.into_iter()
}

fn need(programs: &[&'static str]) -> Result<(), Absent> {
    first_missing(programs).map_or(Ok(()), |program| Err(Absent::Missing(program)))
}

/// Runs `steps` unless `target` was made from the same content of `inputs` before.
fn once(
    target: &Path,
    inputs: &[&Path],
    steps: impl FnOnce() -> Vec<Command>,
) -> Result<(), Absent> {
    let broken =
        |path: &Path, e: std::io::Error| Absent::Broken(format!("{}: {e}", path.display()));
    let mut wanted = String::new();
    for input in inputs {
        wanted.push_str(&fs::read_to_string(input).map_err(|e| broken(input, e))?);
    }
    let stamp = target.join("made-from");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    if target.exists() {
        fs::remove_dir_all(target).map_err(|e| broken(target, e))?;
    }
    fs::create_dir_all(target).map_err(|e| broken(target, e))?;
    for mut step in steps() {
        let (ok, out, err) = output(&mut step, INSTALL_MAX).map_err(Absent::Broken)?;
        if !ok {
            let program = step.get_program().to_string_lossy().into_owned();
            return Err(Absent::Broken(format!(
                "{program}: {}",
                last_lines(&format!("{out}\n{err}"), 5)
            )));
        }
    }
    fs::write(&stamp, wanted).map_err(|e| broken(&stamp, e))
}
