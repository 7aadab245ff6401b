//! libvirt's errors in the words of the loop: what it has to do about them.

use headstart_core::step::{FailureKind, StepError};
use virt::error::{Error, ErrorNumber};

/// What kind of failure an error is. Codes decide; where libvirt has only one for everything, errno's text at the end of the message.
pub(super) fn kind(error: &Error) -> FailureKind {
    use ErrorNumber as Code;
    let Some(code) = error.code().known() else { return FailureKind::Transient };
    match code {
        Code::NoDomain | Code::DeviceMissing | Code::NoNodeDevice => FailureKind::Gone,
        // "already in use", "domain is not running", "already active".
        Code::OperationInvalid => FailureKind::Conflict,
        Code::OperationDenied | Code::AccessDenied | Code::AuthFailed | Code::AuthCancelled | Code::AuthUnavailable => {
            FailureKind::Denied
        }
        Code::NoSupport
        | Code::ConfigUnsupported
        | Code::OperationUnsupported
        | Code::ArgumentUnsupported
        | Code::XmlInvalidSchema
        | Code::XmlError => FailureKind::Unsupported,
        // QEMU could not open the device: labels, profiles, file modes.
        _ if error.message().contains("Permission denied") || error.message().contains("Operation not permitted") => {
            FailureKind::Denied
        }
        _ => FailureKind::Transient,
    }
}

/// What can be done about it, where that is known.
fn advice(error: &Error) -> &'static str {
    match (error.code().known(), kind(error)) {
        (Some(ErrorNumber::HookScriptFailed), _) => {
            "; see what the hooks in /etc/libvirt/hooks/qemu.d say in the journal"
        }
        (_, FailureKind::Denied) => "; see journalctl for what polkit, AppArmor or SELinux denied",
        (Some(ErrorNumber::DeviceMissing), _) => "; its device is made anew",
        _ => "",
    }
}

/// `NAME: could not WHAT: libvirt's message`.
pub(super) fn step_error(name: &str, what: &str, error: &Error) -> StepError {
    let message = error.message().trim_end_matches(['.', '\n']);
    StepError { kind: kind(error), text: format!("{name}: could not {what}: {message}{}", advice(error)) }
}

/// The host is not as the step relies on.
pub(super) fn conflict(name: &str, what: impl std::fmt::Display) -> StepError {
    StepError { kind: FailureKind::Conflict, text: format!("{name}: {what}") }
}
