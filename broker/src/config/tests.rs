//! The configuration as a whole.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;

use millstream_metadata::{BrokerConfigDef, CompressionType, ConfigType, Durability};

use super::live::LIVE;
use super::*;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/millstream.toml");

fn properties(text: &str) -> Result<Loaded, String> {
    let entries = parse_file(Path::new("s.properties"), text).unwrap();
    Config::from_entries(entries).map_err(|error| error.to_string())
}

fn set(settings: &[&str]) -> Result<Loaded, String> {
    let set = settings.iter().map(|text| (*text).to_owned()).collect();
    let sources = Sources {
        set,
        ..Sources::default()
    };
    Config::load(&sources).map_err(|error| error.to_string())
}

fn refused(settings: &[&str]) -> String {
    set(settings).unwrap_err()
}

fn variables(settings: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    let variables = settings.iter();
    variables
        .map(|(name, value)| {
            (
                format!("{}{name}", environment::PREFIX).into(),
                value.into(),
            )
        })
        .collect()
}

fn listener(name: &str, address: &str, advertised: Option<&str>) -> KafkaListener {
    KafkaListener {
        name: name.to_owned(),
        address: address.parse().unwrap(),
        advertised: advertised.map(|text| text.parse().unwrap()),
    }
}

#[test]
fn defaults_serve_this_machine_and_warn_of_nothing() {
    let loaded = set(&[]).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    let config = loaded.config;
    assert_eq!(config, Config::default());
    assert_eq!(config.node_id, NodeId(1));
    assert_eq!(
        config.listeners,
        [listener("PLAINTEXT", "127.0.0.1:9092", None)]
    );
    assert_eq!(config.http_listen.to_string(), "127.0.0.1:9644");
    assert_eq!(config.log_directories, [PathBuf::from("./millstream-data")]);
    assert_eq!(config.num_partitions, 1);
    assert_eq!(config.groups, GroupConfig::default());
    assert_eq!(config.fetch_wait_max, Duration::from_secs(60));
    assert_eq!(config.queued_request_bytes_max, None);
    assert!(config.given.is_empty());
    assert_eq!(config.topic_config().durability, Durability::Fsync);
}

#[test]
fn reference_file_is_the_table() {
    if std::env::var_os("MILLSTREAM_UPDATE_REFERENCE").is_some() {
        fs::write(REFERENCE, reference_file()).unwrap();
    }
    let text = fs::read_to_string(REFERENCE).unwrap();
    let hint = "rewrite config/millstream.toml with MILLSTREAM_UPDATE_REFERENCE=1 cargo test -p millstream";
    assert!(text == reference_file(), "{hint}");

    let entries = parse_file(Path::new(REFERENCE), &text).unwrap();
    let written: BTreeSet<(String, String)> = entries
        .iter()
        .map(|entry| (entry.name.clone(), entry.value.clone()))
        .collect();
    let with_default = LIVE.iter().filter(|setting| !setting.default.is_empty());
    let table: BTreeSet<(String, String)> = with_default
        .map(|setting| (setting.name.to_owned(), setting.default.to_owned()))
        .collect();
    assert_eq!(written, table);

    let loaded = Config::from_entries(entries).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(
        loaded.config.topic_config(),
        Config::default().topic_config()
    );
    let given = Configs::new();
    assert_eq!(
        Config {
            given,
            ..loaded.config
        },
        Config::default()
    );
}

#[test]
fn flags_win_over_set_and_that_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.toml");
    fs::write(
        &path,
        "[num]\npartitions = 2\n[node]\nid = 2\n[log]\ndirs = [\"/file\"]\n",
    )
    .unwrap();
    let sources = Sources {
        file: Some(path),
        environment: variables(&[("NODE_ID", "9"), ("NUM_PARTITIONS", "7")]),
        set: vec![
            "node.id=3".into(),
            "log.dirs=/set".into(),
            "node.id=4".into(),
        ],
        flags: vec![("--data-dir", "log.dirs", "/flag,/other".into())],
    };
    let config = Config::load(&sources).unwrap().config;
    assert_eq!(config.num_partitions, 7);
    assert_eq!(config.node_id, NodeId(4));
    assert_eq!(
        config.log_directories,
        [PathBuf::from("/flag"), PathBuf::from("/other")]
    );
}

#[test]
fn the_finer_name_counts_unless_the_other_was_set_nearer() {
    let roll = |text: &[&str], set: &[&str]| {
        let mut entries = parse_file(Path::new("s.properties"), &text.join("\n")).unwrap();
        entries.extend(set.iter().map(|text| parse_set(text).unwrap()));
        let config = Config::from_entries(entries).unwrap().config;
        config.topic_config().segment_ms
    };
    assert_eq!(roll(&[], &[]), 168 * 3_600_000);
    assert_eq!(roll(&["log.roll.hours=1", "log.roll.ms=5"], &[]), 5);
    assert_eq!(roll(&["log.roll.ms=5", "log.roll.hours=1"], &[]), 5);
    assert_eq!(roll(&["log.roll.ms=5"], &["log.roll.hours=1"]), 3_600_000);

    let older = set(&["log.dir=/old", "broker.id=7"]).unwrap().config;
    assert_eq!(older.log_directories, [PathBuf::from("/old")]);
    assert_eq!(older.node_id, NodeId(7));
    let unset = set(&["broker.id=-1", "node.id=3"]).unwrap().config;
    assert_eq!(unset.node_id, NodeId(3));
    let both = set(&["log.dir=/old", "log.dirs=/new"]).unwrap().config;
    assert_eq!(both.log_directories, [PathBuf::from("/new")]);
    assert_eq!(
        refused(&["node.id=1", "broker.id=2"]),
        "--set: broker.id=2 differs from node.id=1 at --set; set only node.id"
    );
}

#[test]
fn settings_of_topics_reach_them_typed() {
    let config = set(&[
        "millstream.durability=replicated",
        "message.max.bytes=1000",
        "log.message.timestamp.type=LogAppendTime",
        "log.segment.bytes=2000000",
        "num.partitions=3",
    ])
    .unwrap()
    .config;
    let topic = config.topic_config();
    assert_eq!(topic.durability, Durability::Replicated);
    assert_eq!(topic.max_message_bytes, 1000);
    assert_eq!(topic.segment_bytes, 2_000_000);
    assert_eq!(config.given.len(), 5);
}

#[test]
fn a_server_properties_of_kafka_opens() {
    let loaded = properties(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.bootstrap.servers=localhost:9093\n\
         listeners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
         inter.broker.listener.name=PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL\n\
         num.network.threads=3\n\
         socket.request.max.bytes=104857600\n\
         log.dirs=/var/lib/kafka\n\
         log.retention.hours=168\n",
    )
    .unwrap();
    let expected = [listener(
        "PLAINTEXT",
        "0.0.0.0:9092",
        Some("localhost:9092"),
    )];
    assert_eq!(loaded.config.listeners, expected);
    let warnings = [
        "settings without effect yet: controller.quorum.bootstrap.servers, \
         inter.broker.listener.name, num.network.threads, process.roles",
        "listeners for controllers are not opened: CONTROLLER",
        "listeners opens 0.0.0.0:9092 to other machines, and there is no encryption or \
         authentication yet",
    ];
    assert_eq!(loaded.warnings, warnings);
}

#[test]
fn compression_is_what_the_settings_say() {
    let of = |settings: &[&str]| {
        let loaded = set(settings).unwrap();
        (
            loaded.config.topic_config().compression_type,
            loaded.warnings,
        )
    };
    assert_eq!(of(&[]), (CompressionType::Producer, Vec::new()));
    let zstd = of(&["compression.type=zstd", "compression.zstd.level=-7"]);
    assert_eq!(zstd, (CompressionType::Zstd { level: -7 }, Vec::new()));
    let gzip = |level| of(&["compression.type=gzip", level]).0;
    let level = Some(9);
    assert_eq!(
        gzip("compression.gzip.level=9"),
        CompressionType::Gzip { level }
    );
    let level = None;
    assert_eq!(
        gzip("compression.gzip.level=-1"),
        CompressionType::Gzip { level }
    );
    let (lz4, warnings) = of(&["compression.type=lz4", "compression.lz4.level=17"]);
    assert_eq!(lz4, CompressionType::Lz4);
    assert_eq!(
        warnings,
        ["settings without effect yet: compression.lz4.level"]
    );
    assert!(refused(&["compression.type=brotli"]).contains("zstd"));
    assert!(refused(&["compression.gzip.level=0"]).contains("1"));
}

#[test]
fn several_plain_listeners_have_addresses_of_their_own() {
    let config = set(&[
        "listeners=INSIDE://127.0.0.1:9092,outside://[::1]:0",
        "advertised.listeners=OUTSIDE://broker.example:443",
        "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT",
    ])
    .unwrap()
    .config;
    let expected = [
        listener("INSIDE", "127.0.0.1:9092", None),
        listener("OUTSIDE", "[::1]:0", Some("broker.example:443")),
    ];
    assert_eq!(config.listeners, expected);
}

#[test]
fn every_refusal_names_setting_place_and_way_out() {
    let later = "is refused: TLS, SASL and ACLs come later";
    let cases: &[(&[&str], &str)] = &[
        (
            &["num.partition=3"],
            "--set: unknown setting num.partition; did you mean num.partitions?",
        ),
        (
            &["retention.ms=1"],
            "--set: unknown setting retention.ms; that is a config of topics, its default is log.retention.ms",
        ),
        (
            &["num.partitions=0"],
            "--set: config num.partitions has the value \"0\", but must be between 1 and 1000000",
        ),
        (
            &["num.partitions=many"],
            "--set: config num.partitions has the value \"many\", which is not a whole number of 32 bits",
        ),
        (
            &["num.io.threads=many"],
            "--set: config num.io.threads has the value \"many\", which is not a whole number of 32 bits",
        ),
        (&["nonsense"], "--set \"nonsense\": expected KEY=VALUE"),
        (&["=1"], "--set \"=1\": expected KEY=VALUE"),
        (
            &["super.users=User:a"],
            &format!("--set: super.users {later}"),
        ),
        (
            &["security.inter.broker.protocol=SSL"],
            &format!("--set: security.inter.broker.protocol {later}"),
        ),
        (
            &["ssl.key.pasword=secret"],
            "--set: unknown setting ssl.key.pasword; did you mean ssl.key.password?",
        ),
        (
            &["listener.name.plaintext.max.conections=5"],
            "--set: unknown setting listener.name.plaintext.max.conections; did you mean \
             listener.name.plaintext.max.connections?",
        ),
        (
            &["listener.name.plaintext.num.partitions=5"],
            "--set: unknown setting listener.name.plaintext.num.partitions; that is a setting of \
             the whole broker: num.partitions",
        ),
        (
            &["listener.name.other.max.connections=5"],
            "--set: unknown setting listener.name.other.max.connections; there is no such \
             listener among PLAINTEXT",
        ),
        (
            &["listener.name.plaintext.max.connections=-1"],
            "--set: config listener.name.plaintext.max.connections has the value \"-1\", but must \
             be at least 0",
        ),
        (
            &["max.connections.per.ip.overrides=localhost:5"],
            "--set: config max.connections.per.ip.overrides has the value \"localhost:5\", but must \
             be a list of ADDRESS:COUNT with at most 1000 IP addresses",
        ),
        (
            &["max.connections.per.ip=0"],
            "--set: max.connections.per.ip=0 lets nobody in; max.connections.per.ip.overrides \
             would say whom",
        ),
        (
            &["authorizer.class.name=x.Y"],
            &format!("--set: authorizer.class.name {later}"),
        ),
        (
            &["listeners=SASL_SSL://:9093"],
            &format!("--set: listener SASL_SSL with protocol SASL_SSL {later}"),
        ),
        (
            &["listeners=A://:1", "listener.security.protocol.map=A:SSL"],
            &format!("--set: listener A with protocol SSL {later}"),
        ),
        (
            &["listeners=A://:1"],
            "--set: listeners=A://:1 has the listener A, whose protocol is not known; \
             listener.security.protocol.map=A:PLAINTEXT would say it",
        ),
        (
            &["listeners=127.0.0.1:9092"],
            "--set: listeners=127.0.0.1:9092 has the item \"127.0.0.1:9092\", which is not NAME://HOST:PORT with a port from 0 to 65535",
        ),
        (
            &["listeners=PLAINTEXT://:1,plaintext://:2"],
            "--set: listeners=PLAINTEXT://:1,plaintext://:2 names PLAINTEXT twice; names are unique",
        ),
        (
            &["listeners="],
            "--set: listeners= opens no listener for clients; give one as NAME://HOST:PORT",
        ),
        (
            &["advertised.listeners=OTHER://h:1"],
            "--set: advertised.listeners=OTHER://h:1 names OTHER, which is not among the listeners",
        ),
        (
            &["advertised.listeners=PLAINTEXT://0.0.0.0:1"],
            "--set: advertised.listeners=PLAINTEXT://0.0.0.0:1 must name a host that clients can reach",
        ),
        (
            &["advertised.listeners=PLAINTEXT://h:0"],
            "--set: advertised.listeners=PLAINTEXT://h:0 must name a port that clients can reach",
        ),
        (
            &["millstream.http.listen=9644"],
            "--set: millstream.http.listen=9644 is not HOST:PORT with a port from 0 to 65535; 0.0.0.0 is every interface",
        ),
        (&["log.dirs=,"], "--set: log.dirs= must name a directory"),
        (
            &["group.max.session.timeout.ms=5"],
            "--set: group.max.session.timeout.ms=5 is below group.min.session.timeout.ms=6000",
        ),
        (
            &["group.min.session.timeout.ms=1800001"],
            "by default: group.max.session.timeout.ms=1800000 is below group.min.session.timeout.ms=1800001",
        ),
        (
            &["queued.max.request.bytes=5"],
            "--set: queued.max.request.bytes=5 is below socket.request.max.bytes=104857600, so the longest request would never fit",
        ),
        (
            &["process.roles=controller"],
            "--set: process.roles=controller lacks broker; every Millstream node is a broker with its controller inside",
        ),
        (
            &["millstream.cluster.id=a b"],
            "--set: millstream.cluster.id=a b must be at most 64 of A-Z, a-z, 0-9, - and _",
        ),
    ];
    for (settings, expected) in cases {
        assert_eq!(refused(settings), *expected);
    }
}

#[test]
fn security_that_says_off_is_taken() {
    let off = [
        "security.inter.broker.protocol=PLAINTEXT",
        "authorizer.class.name=",
    ];
    assert_eq!(set(&off).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let load = |name: &str| {
        let file = Some(directory.path().join(name));
        Config::load(&Sources {
            file,
            ..Sources::default()
        })
        .unwrap_err()
        .to_string()
    };
    assert!(load("none.toml").contains("none.toml: No such file"));
    fs::write(
        directory.path().join("long.toml"),
        vec![b'#'; (1 << 20) + 1],
    )
    .unwrap();
    let long = load("long.toml");
    assert!(
        long.contains("long.toml: it has 1048577 bytes, more than the 1048576 that are read"),
        "{long}"
    );
    fs::write(directory.path().join("binary.toml"), [0xff, 0xfe]).unwrap();
    assert!(load("binary.toml").contains("binary.toml: "));
}

#[test]
fn extreme_times_stay_in_range() {
    let config = set(&[&format!("connections.max.idle.ms={}", i64::MAX)])
        .unwrap()
        .config;
    assert_eq!(
        config.connection_idle_max,
        Duration::from_secs(10 * 365 * 24 * 3600)
    );
}

#[test]
fn every_config_of_the_broker_is_documented() {
    let known = Config::known();
    assert!(known.iter().count() > 360);
    for def in known.iter() {
        assert!(def.doc.ends_with('.'), "{}", def.name);
    }
    let port = known.get("listeners").and_then(|def| def.default);
    assert_eq!(port, Some("PLAINTEXT://127.0.0.1:9092"));
}

/// A value that the config takes by itself.
fn some_value(def: &BrokerConfigDef) -> &'static str {
    match (def.name, def.type_) {
        ("advertised.listeners", _) => "PLAINTEXT://broker.example:9092",
        ("process.roles", _) => "broker,controller",
        ("max.connections.per.ip.overrides", _) => "10.0.0.1:5",
        ("listener.security.protocol.map", _) => "PLAINTEXT:PLAINTEXT",
        _ if def.default.is_some() => def.default.unwrap(),
        (_, ConfigType::Boolean) => "true",
        (_, ConfigType::Int | ConfigType::Short | ConfigType::Long | ConfigType::Double) => "1",
        _ => "word",
    }
}

#[test]
fn every_name_of_kafkas_is_taken_from_every_place_and_one_warning_names_those_without_effect() {
    let known = Config::known();
    let all: Vec<(&str, &str)> = known
        .iter()
        .map(|def| (def.name, some_value(def)))
        .collect();
    assert!(all.len() > 360);
    let without_effect = |name: &str| LIVE.iter().all(|live| live.name != name);
    let refused = [
        "authorizer.class.name",
        "config.providers",
        "security.inter.broker.protocol",
    ];
    let expected = |name: &str| without_effect(name) && !refused.contains(&name);
    let write = |names: &[(&str, &str)], quote: &str| -> String {
        let lines = names.iter();
        lines
            .map(|(name, value)| format!("{quote}{name}{quote} = {quote}{value}{quote}\n"))
            .collect()
    };
    let load = |names: &[(&str, &str)]| -> [Loaded; 4] {
        let of_file = |name: &str, text: &str| {
            Config::from_entries(parse_file(Path::new(name), text).unwrap()).unwrap()
        };
        let upper: Vec<_> = names
            .iter()
            .map(|(name, value)| (name.to_uppercase().replace('.', "_"), *value))
            .collect();
        let upper: Vec<_> = upper
            .iter()
            .map(|(name, value)| (&**name, *value))
            .collect();
        let set = names.iter().map(|(name, value)| format!("{name}={value}"));
        let places = [
            Sources {
                environment: variables(&upper),
                ..Sources::default()
            },
            Sources {
                set: set.collect(),
                ..Sources::default()
            },
        ];
        let [environment, set] = places.map(|sources| Config::load(&sources).unwrap());
        [
            of_file("a.toml", &write(names, "\"")),
            of_file("server.properties", &write(names, "")),
            environment,
            set,
        ]
    };
    let mentions = |warning: &str, name: &str| {
        let names = warning.strip_prefix("settings without effect yet: ");
        names.is_some_and(|names| names.split(", ").any(|other| other == name))
    };
    for (name, value) in &all {
        for loaded in load(&[(name, value)]) {
            let is_said = loaded
                .warnings
                .iter()
                .any(|warning| mentions(warning, name));
            assert_eq!(is_said, expected(name), "{name}: {:?}", loaded.warnings);
        }
    }
    // Two names of one thing differ in their defaults.
    let together: Vec<_> = all
        .iter()
        .copied()
        .filter(|(name, _)| *name != "broker.id")
        .collect();
    for loaded in load(&together) {
        let warnings = loaded.warnings.iter();
        let one: Vec<_> = warnings
            .filter(|warning| warning.starts_with("settings without effect"))
            .collect();
        assert_eq!(one.len(), 1, "{:?}", loaded.warnings);
        for (name, _) in &together {
            assert_eq!(mentions(one[0], name), expected(name), "{name}");
        }
    }
}

#[test]
fn the_finest_unit_of_a_time_wins_whatever_the_order() {
    type Look = fn(&TopicConfig) -> i64;
    let retention: Look = |topic| topic.retention_ms.unwrap();
    let families: [(&[(&str, i64)], Look); 3] = [
        (
            &[
                ("log.retention.ms", 7),
                ("log.retention.minutes", 6 * 60_000),
                ("log.retention.hours", 5 * 3_600_000),
            ],
            retention,
        ),
        (
            &[("log.roll.ms", 7), ("log.roll.hours", 5 * 3_600_000)],
            |topic| topic.segment_ms,
        ),
        (
            &[
                ("log.roll.jitter.ms", 7),
                ("log.roll.jitter.hours", 5 * 3_600_000),
            ],
            |topic| topic.segment_jitter_ms,
        ),
    ];
    for (names, look) in families {
        let line = |(name, ms): &(&str, i64)| match name.rsplit('.').next() {
            Some("hours") => format!("{name}={}", ms / 3_600_000),
            Some("minutes") => format!("{name}={}", ms / 60_000),
            _ => format!("{name}={ms}"),
        };
        for first in 0..names.len() {
            let mut lines: Vec<_> = names[first..].iter().map(line).collect();
            let expected = names[first].1;
            assert_eq!(
                look(&properties(&lines.join("\n")).unwrap().config.topic_config()),
                expected
            );
            lines.reverse();
            assert_eq!(
                look(&properties(&lines.join("\n")).unwrap().config.topic_config()),
                expected
            );
        }
        // A coarser one in the environment wins over a finer one in the file.
        let (finest, coarsest) = (names[0], names[names.len() - 1]);
        let mut entries = parse_file(Path::new("s.properties"), &line(&finest)).unwrap();
        let set = line(&coarsest);
        let (name, value) = set.split_once('=').unwrap();
        let variable = name.to_uppercase().replace('.', "_");
        entries.extend(environment::parse(&variables(&[(&variable, value)])).unwrap());
        let config = Config::from_entries(entries).unwrap().config;
        assert_eq!(look(&config.topic_config()), coarsest.1);
    }
    let offsets = set(&["offsets.retention.minutes=3"]).unwrap().config;
    assert_eq!(offsets.groups.offsets_retention, Duration::from_secs(180));
}

#[test]
fn settings_of_single_listeners_are_kept_by_their_names() {
    let loaded = set(&[
        "listeners=INSIDE://127.0.0.1:1,CONTROLLER://127.0.0.1:2",
        "listener.security.protocol.map=INSIDE:PLAINTEXT",
        "controller.listener.names=CONTROLLER",
        "listener.name.inside.max.connections=5",
        "listener.name.INSIDE.max.connection.creation.rate=6",
        "listener.name.controller.ssl.keystore.password=secret",
        "listener.name.inside.plain.sasl.jaas.config=secret",
    ])
    .unwrap();
    let of = |name: &str| loaded.config.given.get(name).map(String::as_str);
    assert_eq!(of("listener.name.inside.max.connections"), Some("5"));
    let rate = "listener.name.inside.max.connection.creation.rate";
    assert_eq!(of(rate), Some("6"));
    let warnings = [
        "settings without effect yet: listener.name.controller.ssl.keystore.password, \
         listener.name.inside.plain.sasl.jaas.config",
        "listeners for controllers are not opened: CONTROLLER",
    ];
    assert_eq!(loaded.warnings, warnings);
}

#[test]
fn what_other_machines_reach_is_warned_of() {
    let warned = |settings: &[&str]| set(settings).unwrap().warnings.len();
    let quiet = [
        "127.0.0.1",
        "127.8.8.8",
        "[::1]",
        "localhost",
        "[::ffff:127.0.0.1]",
    ];
    let open = [
        "0.0.0.0",
        "[::]",
        "10.0.0.1",
        "203.0.113.5",
        "[2001:db8::1]",
        "broker.example",
    ];
    let on = |host: &str| {
        let kafka = format!("listeners=PLAINTEXT://{host}:9092");
        let http = format!("millstream.http.listen={host}:9644");
        (
            warned(&[&kafka]),
            warned(&[&http]),
            warned(&[&kafka, &http]),
        )
    };
    for host in quiet {
        assert_eq!(on(host), (0, 0, 0), "{host}");
    }
    for host in open {
        assert_eq!(on(host), (1, 1, 2), "{host}");
    }
}
