//! The log: standard error, one line per event.
//!
//! What is logged is said by `--log`, else by `MILLSTREAM_LOG`: a level (`info`), or levels by module
//! (`info,millstream=debug`).

use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use millstream_api::{LogLevels, Loggers};
use millstream_metadata::LogLevel;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload;

/// The variable that says what is logged.
pub const VARIABLE: &str = "MILLSTREAM_LOG";

/// What is to be logged does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{origin}: {text:?} is not a level (off, error, warn, info, debug, trace) or a list such as \
     info,millstream=debug"
)]
pub struct LogFilterError {
    origin: &'static str,
    text: String,
}

/// Starts the log. `flag` wins over the environment, and that over `default`.
pub fn init(flag: Option<&str>, default: &str) -> Result<(), LogFilterError> {
    let filter = filter(flag, env::var(VARIABLE).ok().as_deref(), default)?;
    let levels = levels_of(&filter);
    let (filter, handle) = reload::Layer::new(filter);
    let is_coloured = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(is_coloured)
        .with_writer(Lines {
            writer: io::stderr,
            is_coloured,
        });
    // Fails only when a log is running already, as in tests; that one is kept.
    let started = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
    if started.is_ok() {
        let reload = Box::new(move |filter| handle.reload(filter).is_ok());
        let _first_stays = LOG.set(RunningLog { levels, reload });
    }
    Ok(())
}

/// The log of this process.
struct RunningLog {
    levels: LogLevels,
    reload: Box<dyn Fn(Targets) -> bool + Send + Sync>,
}

static LOG: OnceLock<RunningLog> = OnceLock::new();

/// Has clients see the levels that the log began with, and change them.
pub fn hand_over(loggers: &Loggers) {
    let Some(log) = LOG.get() else { return };
    loggers.begin(log.levels.clone(), |levels| {
        let is_taken = LOG
            .get()
            .is_some_and(|log| (log.reload)(targets_of(levels)));
        match is_taken {
            true => tracing::warn!(?levels, "levels of the log were changed by a request"),
            false => tracing::error!("levels of the log could not be changed"),
        }
    });
}

fn levels_of(filter: &Targets) -> LogLevels {
    let modules = filter
        .iter()
        .map(|(module, level)| (module.to_owned(), level_of(level)));
    LogLevels {
        root: filter.default_level().map_or(LogLevel::Fatal, level_of),
        modules: modules.collect(),
    }
}

fn targets_of(levels: &LogLevels) -> Targets {
    let modules = levels.modules.iter();
    Targets::new()
        .with_targets(modules.map(|(module, level)| (module.clone(), filter_of(*level))))
        .with_default(filter_of(levels.root))
}

fn level_of(filter: LevelFilter) -> LogLevel {
    match filter {
        LevelFilter::TRACE => LogLevel::Trace,
        LevelFilter::DEBUG => LogLevel::Debug,
        LevelFilter::INFO => LogLevel::Info,
        LevelFilter::WARN => LogLevel::Warn,
        LevelFilter::ERROR => LogLevel::Error,
        _ => LogLevel::Fatal,
    }
}

fn filter_of(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Fatal => LevelFilter::OFF,
    }
}

fn filter(
    flag: Option<&str>,
    variable: Option<&str>,
    default: &str,
) -> Result<Targets, LogFilterError> {
    let variable = variable.filter(|text| !text.trim().is_empty());
    let (origin, text) = match (flag, variable) {
        (Some(text), _) => ("--log", text),
        (None, Some(text)) => (VARIABLE, text),
        (None, None) => ("by default", default),
    };
    parse(origin, text)
}

/// Reads what is to be logged, as `--log` takes it.
pub fn parse_levels(origin: &'static str, text: &str) -> Result<LogLevels, LogFilterError> {
    parse(origin, text).map(|filter| levels_of(&filter))
}

/// Writes what is logged as `--log` takes it.
pub fn text_of(levels: &LogLevels) -> String {
    let name = |level: LogLevel| filter_of(level).to_string();
    let modules = levels.modules.iter();
    let modules = modules.map(|(module, level)| format!(",{module}={}", name(*level)));
    name(levels.root) + &modules.collect::<String>()
}

fn parse(origin: &'static str, text: &str) -> Result<Targets, LogFilterError> {
    // A word alone would read as the name of a module, logged whole.
    let is_level = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    let invalid = || LogFilterError {
        origin,
        text: text.chars().take(200).collect(),
    };
    if !text.split(',').all(|part| is_level(part.trim())) {
        return Err(invalid());
    }
    text.parse().map_err(|_| invalid())
}

/// Keeps an event on its line, whatever a client has put into a field.
struct Lines<M> {
    writer: M,
    is_coloured: bool,
}

impl<'a, W: Write, M: Fn() -> W + 'a> MakeWriter<'a> for Lines<M> {
    type Writer = Line<W>;

    fn make_writer(&'a self) -> Line<W> {
        Line {
            writer: (self.writer)(),
            is_coloured: self.is_coloured,
        }
    }
}

/// The writer of one event, which arrives in one piece.
struct Line<W> {
    writer: W,
    is_coloured: bool,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = escape(text.strip_suffix('\n').unwrap_or(&text), self.is_coloured);
        self.writer.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Writes control characters as escapes and ends the line; colours may stay.
fn escape(body: &str, is_coloured: bool) -> String {
    let mut line = String::with_capacity(body.len() + 1);
    for (at, c) in body.char_indices() {
        match c {
            '\x1b' if is_coloured && is_colour(&body[at + 1..]) => line.push(c),
            _ if c.is_control() => line.extend(c.escape_default()),
            _ => line.push(c),
        }
    }
    line.push('\n');
    line
}

/// Whether an escape sequence goes on as one that only sets colours: `[`, digits and `;`, `m`.
fn is_colour(rest: &str) -> bool {
    let end = rest.find(|c: char| !matches!(c, '[' | ';' | '0'..='9'));
    rest.starts_with('[') && end.is_some_and(|end| rest[end..].starts_with('m'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_its_fields_hold() {
        let written = Shared::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(Lines {
                writer: move || writer.clone(),
                is_coloured: false,
            });
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(client = %"a\r\n2026 forged \x1b[2J", "joined");
            tracing::warn!("second");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(
            text.contains("joined") && text.contains("a\\r\\n2026 forged"),
            "{text:?}"
        );
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn colours_stay_on_a_terminal_and_other_sequences_do_not() {
        let body = "\x1b[1;32mINFO\x1b[0m a\x1b[2Jb\x07\x1b";
        assert_eq!(
            escape(body, true),
            "\x1b[1;32mINFO\x1b[0m a\\u{1b}[2Jb\\u{7}\\u{1b}\n"
        );
        assert!(!escape(body, false).contains('\x1b'));
    }

    #[test]
    fn flag_wins_over_variable_over_default() {
        let level = |flag, variable| filter(flag, variable, "info").unwrap().default_level();
        assert_eq!(
            level(Some("error"), Some("debug")),
            Some(LevelFilter::ERROR)
        );
        assert_eq!(
            level(None, Some("debug,millstream=trace")),
            Some(LevelFilter::DEBUG)
        );
        assert_eq!(level(None, Some(" ")), Some(LevelFilter::INFO));
        assert_eq!(level(None, None), Some(LevelFilter::INFO));
    }

    #[test]
    fn levels_are_the_same_as_clients_see_them_and_as_the_log_has_them() {
        let text = "warn,millstream=trace,millstream_log=off";
        let levels = levels_of(&filter(Some(text), None, "info").unwrap());
        assert_eq!(levels.root, LogLevel::Warn);
        assert_eq!(levels.modules["millstream"], LogLevel::Trace);
        assert_eq!(levels.modules["millstream_log"], LogLevel::Fatal);
        assert_eq!(levels_of(&targets_of(&levels)), levels);
        let targets = targets_of(&levels);
        assert!(targets.would_enable("millstream_node::flush", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("millstream_log::append", &tracing::Level::ERROR));
        assert!(!targets.would_enable("tokio", &tracing::Level::INFO));
    }

    #[test]
    fn what_does_not_read_is_named_with_its_place() {
        let error = filter(None, Some("lots"), "info").unwrap_err().to_string();
        assert!(
            error.starts_with("MILLSTREAM_LOG: \"lots\" is not a level"),
            "{error}"
        );
        let error = filter(Some("info,millstream=lots"), None, "info")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("--log: "), "{error}");
    }
}
