//! How the process ends: 0 clean stop, 1 failure, 2 configuration, 3 data directory refused,
//! 4 data directory damaged (`millstream log` only).

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::log_command::LogCommandError;
use crate::logging::LogFilterError;
use crate::server::ServeError;

/// Why the process does not end with 0. The text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something went wrong while running.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
    /// The configuration cannot be used.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// What is to be logged does not read.
    #[error(transparent)]
    LogFilter(#[from] LogFilterError),
    /// The broker could not start or run.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A data directory cannot be looked at, or is damaged.
    #[error(transparent)]
    Log(#[from] LogCommandError),
}

impl Failure {
    /// The code of the process.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Configuration(_) | Failure::LogFilter(_) => 2,
            Failure::Serve(error) if error.is_directory_refused() => 3,
            Failure::Serve(_) => 1,
            Failure::Log(error) => error.code(),
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> ExitCode {
        ExitCode::from(failure.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::Sources;

    #[test]
    fn codes_are_the_documented_ones() {
        assert_eq!(Failure::from(anyhow::anyhow!("no")).code(), 1);
        let set = vec!["nonsense".to_owned()];
        let error = Config::load(&Sources {
            set,
            ..Sources::default()
        })
        .expect_err("nonsense");
        assert_eq!(Failure::from(error).code(), 2);
        let refused = ServeError::DirectoryRefused {
            path: "/data".into(),
            reason: "in use".into(),
        };
        assert_eq!(Failure::from(refused).code(), 3);
        let bind = ServeError::Bind {
            address: "127.0.0.1:1".to_owned(),
            setting: "listeners",
            source: std::io::Error::from(std::io::ErrorKind::AddrInUse),
        };
        assert_eq!(Failure::from(bind).code(), 1);
    }
}
