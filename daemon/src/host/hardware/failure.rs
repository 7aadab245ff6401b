//! How a step fails, in the words that the loop acts upon.

use headstart_core::step::{FailureKind, StepError};
use nix::errno::Errno;

use crate::host::sysfs::SysfsError;

/// A failure with its text, which names the object and says what happened.
pub(crate) fn failure(kind: FailureKind, text: impl Into<String>) -> StepError {
    StepError { kind, text: text.into() }
}

/// A path that could not be read or written, for no reason that the step knows a better word for.
pub(crate) fn unexpected(error: &SysfsError) -> StepError {
    match error.errno() {
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => {
            let hint = "headstartd must be root, and its unit and the security module must let it write there";
            failure(FailureKind::Denied, format!("{error}; {hint}"))
        }
        _ if error.is_absent() => failure(FailureKind::Gone, error.to_string()),
        _ => failure(FailureKind::Transient, error.to_string()),
    }
}
