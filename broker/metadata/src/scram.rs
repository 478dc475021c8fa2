//! Credentials of users for SASL/SCRAM (RFC 5802, RFC 7677; KIP-554).
//!
//! A client sends the password salted and hashed many times. What is stored of it is a key to check the
//! client by and a key to prove the server by; neither lets anybody be the user.

use std::collections::BTreeMap;
use std::fmt;

use hmac::{Mac, SimpleHmac};
use millstream_protocol::ErrorCode;
use sha2::digest::core_api::BlockSizeUser;
use sha2::{Digest, Sha256, Sha512};

use crate::controller::{Controller, Decision};
use crate::image::Image;
use crate::record::{Record, ScramCredentialRecord, ScramKeysRecord};

/// How a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramMechanism {
    /// The number of the wire and of the metadata log.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            ScramMechanism::Sha256 => 1,
            ScramMechanism::Sha512 => 2,
        }
    }

    /// The mechanism of this number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<ScramMechanism> {
        match code {
            1 => Some(ScramMechanism::Sha256),
            2 => Some(ScramMechanism::Sha512),
            _ => None,
        }
    }
}

/// What is known of a user's password. Prints no key.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// What the password was salted with.
    pub salt: Vec<u8>,
    /// How often it was hashed.
    pub iterations: i32,
    /// Checks the client: the hash of its key.
    pub stored_key: Vec<u8>,
    /// Proves the server.
    pub server_key: Vec<u8>,
}

impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// The credentials of users, by name.
pub type ScramUsers = BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>;

/// Fewer are too easily tried.
const ITERATIONS_MIN: i32 = 4096;
/// More take too long to check.
const ITERATIONS_MAX: i32 = 16_384;
/// The longest salt and salted password, in bytes.
const BYTES_MAX: usize = 1024;
/// Users that may have credentials.
const USERS_MAX: usize = 100_000;

/// A credential that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramDeletion {
    /// The user.
    pub user: String,
    /// The mechanism's number.
    pub mechanism: i8,
}

/// A credential that is to be.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramUpsertion {
    /// The user.
    pub user: String,
    /// The mechanism's number.
    pub mechanism: i8,
    /// How often the password was hashed.
    pub iterations: i32,
    /// What it was salted with.
    pub salt: Vec<u8>,
    /// The password, salted and hashed.
    pub salted_password: Vec<u8>,
}

impl fmt::Debug for ScramUpsertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramUpsertion")
            .field("user", &self.user)
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

/// What came of a user's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramAlterationResult {
    /// The user.
    pub user: String,
    /// What came of it.
    pub result: Result<(), ScramError>,
}

/// Why a credential is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The request changes the user twice.
    #[error("a user credential cannot be altered twice in the same request")]
    Duplicate,
    /// Nobody has no name.
    #[error("the user name must not be empty")]
    EmptyName,
    /// No mechanism has this number.
    #[error("unknown scram mechanism {0}")]
    UnknownMechanism(i8),
    /// The password is hashed too seldom, or too often.
    #[error("{0} iterations are not between {ITERATIONS_MIN} and {ITERATIONS_MAX}")]
    Iterations(i32),
    /// There is nothing to delete.
    #[error("the credential to be deleted does not exist")]
    NotFound,
    /// Salt or password are no such.
    #[error("salt and salted password must have 1 to {BYTES_MAX} bytes each")]
    Bytes,
    /// There are too many users.
    #[error("{USERS_MAX} users have credentials, which is the limit")]
    TooManyUsers,
}

impl ScramError {
    /// The code a client gets.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            ScramError::Duplicate => ErrorCode::DuplicateResource,
            ScramError::EmptyName | ScramError::Iterations(_) | ScramError::Bytes => {
                ErrorCode::UnacceptableCredential
            }
            ScramError::UnknownMechanism(_) => ErrorCode::UnsupportedSaslMechanism,
            ScramError::NotFound => ErrorCode::ResourceNotFound,
            ScramError::TooManyUsers => ErrorCode::PolicyViolation,
        }
    }
}

impl Controller {
    /// AlterUserScramCredentials: each user on its own. One that is named twice, in whatever way, stays as it
    /// is.
    pub fn decide_alter_scram(
        &self,
        image: &Image,
        deletions: &[ScramDeletion],
        upsertions: &[ScramUpsertion],
    ) -> Decision<Vec<ScramAlterationResult>> {
        let mut outcomes: BTreeMap<&str, Result<ScramCredentialRecord, ScramError>> =
            BTreeMap::new();
        let deleted = deletions
            .iter()
            .map(|deletion| (&*deletion.user, check_deletion(image, deletion)));
        let upserted = upsertions
            .iter()
            .map(|upsertion| (&*upsertion.user, check_upsertion(image, upsertion)));
        for (user, outcome) in deleted.chain(upserted) {
            outcomes
                .entry(user)
                // What is wrong with the first is said, whatever follows.
                .and_modify(|first| {
                    if first.is_ok() {
                        *first = Err(ScramError::Duplicate);
                    }
                })
                .or_insert(outcome);
        }
        let mut records = Vec::new();
        let answer = outcomes.into_iter().map(|(user, outcome)| {
            let user = user.to_owned();
            let result = outcome.map(|record| records.push(record.into()));
            ScramAlterationResult { user, result }
        });
        let answer = answer.collect();
        Decision { records, answer }
    }
}

fn check_user(user: &str, mechanism: i8) -> Result<ScramMechanism, ScramError> {
    if user.is_empty() {
        return Err(ScramError::EmptyName);
    }
    ScramMechanism::from_code(mechanism).ok_or(ScramError::UnknownMechanism(mechanism))
}

fn check_deletion(
    image: &Image,
    deletion: &ScramDeletion,
) -> Result<ScramCredentialRecord, ScramError> {
    let mechanism = check_user(&deletion.user, deletion.mechanism)?;
    let credentials = image.scram_credentials(&deletion.user);
    if !credentials.is_some_and(|credentials| credentials.contains_key(&mechanism)) {
        return Err(ScramError::NotFound);
    }
    Ok(ScramCredentialRecord {
        user: deletion.user.clone(),
        mechanism: i32::from(mechanism.code()),
        keys: None,
    })
}

fn check_upsertion(
    image: &Image,
    upsertion: &ScramUpsertion,
) -> Result<ScramCredentialRecord, ScramError> {
    let mechanism = check_user(&upsertion.user, upsertion.mechanism)?;
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&upsertion.iterations) {
        return Err(ScramError::Iterations(upsertion.iterations));
    }
    let lengths = [&upsertion.salt, &upsertion.salted_password].map(Vec::len);
    if !lengths
        .iter()
        .all(|length| (1..=BYTES_MAX).contains(length))
    {
        return Err(ScramError::Bytes);
    }
    let is_new = image.scram_credentials(&upsertion.user).is_none();
    if is_new && image.scram_users().len() >= USERS_MAX {
        return Err(ScramError::TooManyUsers);
    }
    let (stored_key, server_key) = match mechanism {
        ScramMechanism::Sha256 => keys::<Sha256>(&upsertion.salted_password),
        ScramMechanism::Sha512 => keys::<Sha512>(&upsertion.salted_password),
    };
    Ok(ScramCredentialRecord {
        user: upsertion.user.clone(),
        mechanism: i32::from(mechanism.code()),
        keys: Some(ScramKeysRecord {
            salt: upsertion.salt.clone(),
            iterations: upsertion.iterations,
            stored_key,
            server_key,
        }),
    })
}

/// The records that lead to a user's credentials.
pub(crate) fn records<'a>(
    user: &'a str,
    credentials: &'a BTreeMap<ScramMechanism, ScramCredential>,
) -> impl Iterator<Item = Record> + 'a {
    credentials.iter().map(|(mechanism, credential)| {
        Record::from(ScramCredentialRecord {
            user: user.to_owned(),
            mechanism: i32::from(mechanism.code()),
            keys: Some(ScramKeysRecord {
                salt: credential.salt.clone(),
                iterations: credential.iterations,
                stored_key: credential.stored_key.clone(),
                server_key: credential.server_key.clone(),
            }),
        })
    })
}

/// Applies a record. *Errors*: why it makes no sense.
pub(crate) fn replay(users: &mut ScramUsers, record: &ScramCredentialRecord) -> Result<(), String> {
    let mechanism = i8::try_from(record.mechanism).ok();
    let mechanism = mechanism
        .and_then(ScramMechanism::from_code)
        .ok_or_else(|| format!("unknown mechanism {}", record.mechanism))?;
    match &record.keys {
        Some(keys) => {
            let credential = ScramCredential {
                salt: keys.salt.clone(),
                iterations: keys.iterations,
                stored_key: keys.stored_key.clone(),
                server_key: keys.server_key.clone(),
            };
            let credentials = users.entry(record.user.clone()).or_default();
            credentials.insert(mechanism, credential);
        }
        None => {
            let credentials = users.get_mut(&record.user);
            let credentials = credentials.ok_or("the user has no credentials")?;
            credentials.remove(&mechanism);
            if credentials.is_empty() {
                users.remove(&record.user);
            }
        }
    }
    Ok(())
}

/// The stored key and the server key (RFC 5802, section 3).
fn keys<D: Digest + BlockSizeUser>(salted_password: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mac = |message: &[u8]| {
        let mac = <SimpleHmac<D> as Mac>::new_from_slice(salted_password);
        let mac = mac.expect("hmac takes keys of any length");
        mac.chain_update(message).finalize().into_bytes()
    };
    let stored_key = D::digest(mac(b"Client Key"));
    (stored_key.to_vec(), mac(b"Server Key").to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex
            .chars()
            .filter_map(|digit| digit.to_digit(16))
            .map(|digit| digit as u8)
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    /// The example of RFC 7677: the password "pencil", 4096 iterations.
    #[test]
    fn keys_of_the_example_of_sha_256() {
        let salted = bytes("c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d");
        let (stored, server) = keys::<Sha256>(&salted);
        let expected = "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6";
        assert_eq!(stored, bytes(expected));
        let expected = "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5";
        assert_eq!(server, bytes(expected));
    }

    /// The same password with the salt "salt", worked out by another implementation.
    #[test]
    fn keys_of_sha_512() {
        let salted = bytes(
            "2cfe3a1c151662b1ea49d13f595674a1c666add70df15d3d02254e9905993878
             261da7407fd11c2fee4b0a30df5154b1a752f86a13380ddd4bdd9a7c958ec769",
        );
        let (stored, server) = keys::<Sha512>(&salted);
        let expected = "ff41e86c08f2e525a87285eda3d634d669bae8ab6c2e5b3e09ad0014a691fab9
             eb26557062ff978ee011d9b23e6b87437df366cf7cd4c8747df9277d067fd330";
        assert_eq!(stored, bytes(expected));
        let expected = "a20870894973d9c760b240b7a95060f1e63512b5f21b81f15ecfe996c163b648
             d1af4132eaa2e63b3e89b46bb1592beee5f536c2e1005954521cf37278199629";
        assert_eq!(server, bytes(expected));
    }
}
